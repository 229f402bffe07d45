"""What rules look at: a profile, and what is known about its engine, GPU, model and cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from runners.checks.drafting import Drafting, drafting_of
from runners.checks.model_shape import model_facts
from runners.checks.models import ModelFacts
from runners.checks.tables import GpuFacts, VllmRelease, gpu, vllm_release
from runners.profiles.document import Node
from runners.profiles.model import Profile

Version = tuple[int, ...]


@dataclass(frozen=True)
class ClusterFacts:
    """What a reachable cluster said; None where it was not asked or may not be read.

    free: resource name → how much of it the namespace's quotas still allow.
    """

    kserve_version: str | None = None
    free: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One profile under examination.

    tree: the resolved profile with places. folder: where the profile's file is; relative
    paths start there.
    """

    profile: Profile
    tree: Node
    folder: Path
    cluster: ClusterFacts | None = None

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self.profile.engine.name

    @property
    def backend(self) -> str:
        """The way it is served."""
        return self.profile.engine.backend or self.engine

    @property
    def version(self) -> str:
        """The engine's version as written, without a local suffix such as +cpu."""
        return self.profile.engine.version.partition("+")[0]

    @property
    def kserve_version(self) -> str:
        """KServe's: what the cluster said, else what the profile says."""
        asked = self.cluster.kserve_version if self.cluster else None
        return asked or self.profile.serving.kserve_version

    def at_least(self, *version: int) -> bool:
        """Whether the engine's version is that or newer."""
        return _numbers(self.version) >= version

    @cached_property
    def args(self) -> dict[str, Any]:
        """Engine arguments with underscores; null ones are left out, as they set nothing."""
        return {k: v for k, v in self.profile.engine.args.items() if v is not None}

    @cached_property
    def speculation(self) -> dict[str, Any] | None:
        """speculative_config with underscores in its keys; None without one.

        A value that is no mapping (JSON text is read) gives an empty one.
        """
        return self.section("speculative_config")

    @cached_property
    def drafting(self) -> Drafting | None:
        """Speculative decoding as vLLM will understand it; None without."""
        return drafting_of(self)

    def section(self, name: str) -> dict[str, Any] | None:
        """An engine argument that is a mapping or JSON text; None where it is not set."""
        value = self.args.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            value = _json(value)
        if not isinstance(value, Mapping):
            return {}
        return {str(key).replace("-", "_"): item for key, item in value.items() if item is not None}

    def number(self, name: str, default: int | None = None) -> int | None:
        """An engine argument that is a whole number; `default` where it is unset or is not."""
        return _whole(self.args.get(name, default))

    @property
    def tensor_parallel(self) -> int:
        """Tensor parallel size; 1 where unset or no number."""
        return self.number("tensor_parallel_size", 1) or 1

    @property
    def pipeline_parallel(self) -> int:
        """Pipeline parallel size; 1 where unset or no number."""
        return self.number("pipeline_parallel_size", 1) or 1

    @property
    def data_parallel(self) -> int:
        """Data parallel size; 1 where unset or no number."""
        return self.number("data_parallel_size", 1) or 1

    @property
    def on_cpu(self) -> bool:
        """Whether the engine runs without a GPU: target local takes what is installed."""
        return self.profile.resources.gpu.count == 0

    @cached_property
    def release(self) -> VllmRelease:
        """What the engine's version of vLLM (or the nearest older known) accepts."""
        return vllm_release(self.version)

    @cached_property
    def gpu(self) -> GpuFacts | None:
        """The GPU that the profile names; None for none, or one that is not known here."""
        named = self.profile.resources.gpu
        return gpu(named.type) if named.type and not self.on_cpu else None

    @cached_property
    def model(self) -> ModelFacts | None:
        """The model's shape, from its config.json or the table of known models."""
        return model_facts(self.profile.model.uri, self.folder)

    @cached_property
    def draft(self) -> ModelFacts | None:
        """The draft model's shape, where one is named and known."""
        named = (self.speculation or {}).get("model")
        return model_facts(named, self.folder) if isinstance(named, str) else None

    @cached_property
    def environment(self) -> dict[str, str]:
        """The engine's environment variables."""
        return dict(self.profile.engine.env)


def _numbers(version: str) -> Version:
    from runners.profiles.features import version_of

    return version_of(version)


def _whole(value: Any) -> int | None:
    """A whole number, also written as text; engines read `8k` style themselves."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    return None


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return None

"""A TensorRT-LLM settings file as it was read, and the vLLM that it is converted for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from runners.checks.models import ModelFacts
from runners.checks.tables import GpuFacts, VllmRelease, version_key, vllm_release
from runners.errors import UsageError
from runners.profiles.document import Node, kind_of, node_of, parse, shown_path
from runners.profiles.engine_section import ENGINE_VERSIONS
from runners.profiles.error import ProfileError

MAX_BYTES = 1_000_000
Role = Literal["decode", "prefill"]


@dataclass(frozen=True)
class Target:
    """What is converted to.

    gpu, model: for what depends on memory; None where they are not known. role: of this
    engine in a disaggregated pair. model_named: as the user wrote it.
    """

    version: str = ENGINE_VERSIONS["vllm"]
    gpu: GpuFacts | None = None
    model: ModelFacts | None = None
    role: Role | None = None
    model_named: str | None = None

    @property
    def release(self) -> VllmRelease:
        """What that version takes."""
        return vllm_release(self.version)

    def at_least(self, *version: int) -> bool:
        """Whether the version is that or newer."""
        return version_key(self.version) >= (*version, 0, 0, 0, 0)[:4]

    @property
    def legacy(self) -> bool:
        """Whether speculation is asked for by flags of its own: 0.8.2 and older."""
        return not self.at_least(0, 8, 3)


@dataclass(frozen=True)
class Settings:
    """The file's content with the place of every key. at: the key under conversion."""

    tree: Node
    target: Target = field(default_factory=Target)
    file: str = ""
    at: str = ""

    @property
    def values(self) -> Mapping[str, Any]:
        """The whole content, plain."""
        found: Mapping[str, Any] = self.tree.plain()
        return found

    def get(self, *path: str) -> Any:
        """The value below, None where the path ends early."""
        node = self.tree.get(*path)
        return None if node is None else node.plain()

    def under(self, key: str) -> "Settings":
        """The same, with another key under conversion."""
        return replace(self, at=key)

    def error(self, why: str, key: str = "") -> UsageError:
        """One line: place, key, why."""
        key = key or self.at
        node, place = self.tree, None
        for name in key.split("."):
            below = node.mapping.get(name)
            if below is None:
                break
            node, place = below, below.key_where or place
        where = f"{place.file}:{place.line}: " if place else f"{self.file}: " if self.file else ""
        return UsageError(f"{where}{key}: {why}")

    def whole(self, value: Any, least: int = 0) -> int:
        """A whole number of at least `least`, or the error that says otherwise."""
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(f"takes a whole number of at least {least}, not {_shown(value)}")
        return value

    def share(self, value: Any) -> float:
        """A number above 0 and at most 1."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise self.error(f"takes a number above 0 and at most 1, not {_shown(value)}")
        return float(value)

    def truth(self, value: Any) -> bool:
        """true or false."""
        if not isinstance(value, bool):
            raise self.error(f"takes true or false, not {_shown(value)}")
        return value

    def text(self, value: Any) -> str:
        """Text."""
        if not isinstance(value, str) or not value:
            raise self.error(f"takes text, not {_shown(value)}")
        return value

    def size(self, name: str) -> int:
        """A parallel size of the file; 1 where it is unset."""
        value = self.get(name)
        return 1 if value is None else self.under(name).whole(value, 1)


def read_settings(path: Path, target: Target | None = None) -> Settings:
    """A settings file. Raises UsageError: one line with its place."""
    file = shown_path(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{file} is larger than 1 MB; is it a settings file?")
    try:
        root = parse(raw.decode("utf-8-sig"), file)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text in UTF-8; give the YAML file") from error
    except ProfileError as error:
        finding = error.findings[0]
        line = finding.where.line if finding.where else 1
        raise UsageError(f"{file}:{line}: {finding.why} {finding.fix}".strip()) from error
    if root is None:
        raise UsageError(f"{file} is empty; give the YAML that trtllm-serve --config takes")
    if not isinstance(root.value, dict):
        raise UsageError(f"{file}:1: holds {kind_of(root.value)}, not keys with values")
    return Settings(root, target or Target(), file)


def settings_of(values: Mapping[str, Any], target: Target | None = None) -> Settings:
    """Settings that no file holds."""
    return Settings(node_of(dict(values)), target or Target())


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float) else kind_of(value)

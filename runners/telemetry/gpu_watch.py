"""What is looked at beside the load, besides the metrics of pods that can be reached."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

from runners.profiles.model import Profile
from runners.targets.endpoint import Endpoint
from runners.telemetry.dcgm import Dcgm
from runners.telemetry.nvml import Nvml
from runners.telemetry.prometheus import ENGINE, Prometheus
from runners.telemetry.scrape import Row

NO_SOURCE = (
    "no GPU telemetry; add `telemetry: {prometheus_url: …}` or `telemetry: {dcgm_url: …}` "
    "to the profile"
)


class Source(Protocol):
    """One way to look at GPUs, while its context is open; it never raises into the run."""

    @property
    def source(self) -> str: ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def missing(self) -> str | None: ...

    def rows(self, t0_monotonic_ns: int, t0_unix_ns: int) -> Iterator[Row]: ...


def source_for(profile: Profile, endpoint: Endpoint) -> Source | str:
    """The source that the profile names, NVML for an engine on this machine; or why none."""
    asked = profile.telemetry
    if asked.prometheus_url is not None:
        uuids = asked.gpus or ()
        return Prometheus(asked.prometheus_url, endpoint.facts, uuids, asked.prometheus_token_env)
    if asked.dcgm_url is not None:
        return Dcgm(asked.dcgm_url)
    if not profile.resources.gpu.count:
        return "no GPU telemetry: the profile uses no GPU"
    return Nvml() if endpoint.target == "local" else NO_SOURCE


def engine_source(profile: Profile, endpoint: Endpoint) -> Source | None:
    """Prometheus for the engine too, where no pod's own metrics can be reached."""
    asked = profile.telemetry
    if asked.prometheus_url is None or endpoint.metrics_url is not None:
        return None
    token = asked.prometheus_token_env
    return Prometheus(asked.prometheus_url, endpoint.facts, (), token, wanted=ENGINE)


class Watch:
    """Looks at GPUs, and at engines through Prometheus, while the context is open."""

    def __init__(self, profile: Profile, endpoint: Endpoint) -> None:
        found = source_for(profile, endpoint)
        self._gpus = None if isinstance(found, str) else found
        self._why = found if isinstance(found, str) else None
        self._engine = engine_source(profile, endpoint)
        self._idle_s = profile.telemetry.idle_s
        self._open = ExitStack()

    def __enter__(self) -> "Watch":
        with ExitStack() as opening:
            for source in filter(None, (self._gpus, self._engine)):
                opening.enter_context(source)
            if self._gpus is not None:
                time.sleep(self._idle_s)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def rows(self, t0_monotonic_ns: int, t0_unix_ns: int) -> list[Row]:
        """What was seen, for server.parquet; t0: the start of load on two clocks."""
        sources = filter(None, (self._engine, self._gpus))
        return [row for source in sources for row in source.rows(t0_monotonic_ns, t0_unix_ns)]

    @property
    def facts(self) -> dict[str, Any]:
        """For environment.json: the sources, and why one told nothing where it did not."""
        facts: dict[str, Any] = {
            "gpu_telemetry": {
                "source": self._gpus and self._gpus.source,
                "missing": self._gpus.missing() if self._gpus else self._why,
            }
        }
        if self._engine is not None:
            facts["engine_telemetry"] = {
                "source": self._engine.source,
                "missing": self._engine.missing(),
            }
        return facts

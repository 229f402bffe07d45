"""Which source of GPU telemetry a run has, and what it tells beside the load."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

from runners.profiles.model import Profile
from runners.targets.endpoint import Endpoint
from runners.telemetry.dcgm import Dcgm
from runners.telemetry.nvml import Nvml
from runners.telemetry.prometheus import Prometheus
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


class GpuWatch:
    """Looks at the GPUs while the context is open, where there is a way to."""

    def __init__(self, profile: Profile, endpoint: Endpoint) -> None:
        found = source_for(profile, endpoint)
        self._source = None if isinstance(found, str) else found
        self._why = found if isinstance(found, str) else None
        self._idle_s = profile.telemetry.idle_s

    def __enter__(self) -> "GpuWatch":
        if self._source is not None:
            self._source.__enter__()
            time.sleep(self._idle_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._source is not None:
            self._source.__exit__(kind, error, trace)

    def rows(self, t0_monotonic_ns: int, t0_unix_ns: int) -> list[Row]:
        """What was seen, for server.parquet."""
        if self._source is None:
            return []
        return list(self._source.rows(t0_monotonic_ns, t0_unix_ns))

    @property
    def facts(self) -> dict[str, Any]:
        """For environment.json: the source, and why it told nothing where it did not."""
        if self._source is None:
            return {"source": None, "missing": self._why}
        return {"source": self._source.source, "missing": self._source.missing()}

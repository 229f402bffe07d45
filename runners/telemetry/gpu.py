"""GPUs in server.parquet: which there are, whose they are, and the energy each has drawn.

Names on the wire are those of the DCGM exporter, of Triton, and of our own NVML reader.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runners.telemetry.counters import GPU_SOURCE, Series, read_series
from runners.telemetry.scrape import UP

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

# Metric → joules (or watts) of one of its units; the first that is there is taken.
ENERGY = {
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 1e-3,
    "nvml_total_energy_consumption_mj": 1e-3,
    "nv_energy_consumption": 1.0,
    "nv_energy_consumption_total": 1.0,  # a counter, as our parser calls it
}
POWER = {
    "DCGM_FI_DEV_POWER_USAGE": 1.0,
    "nvml_power_usage_mw": 1e-3,
    "nv_gpu_power_usage": 1.0,
}
# Under Prometheus the exporter's own pod may have taken the plain names.
_POD, _NAMESPACE = ("exported_pod", "pod"), ("exported_namespace", "namespace")
_UUIDS = ("UUID", "uuid", "gpu_uuid")


@dataclass(frozen=True)
class Samples:
    """One metric of one GPU: ns from the start of load, joules or watts."""

    t_ns: Times
    value: Floats


@dataclass(frozen=True)
class Gpu:
    """One GPU as one source sees it.

    energy: of a counter; power: of a gauge; each None where the source lacks it. owners:
    (namespace, pod) of those that use it. sliced: a MIG slice is told of.
    """

    uuid: str
    index: str | None
    model: str | None
    owners: frozenset[tuple[str | None, str]]
    sliced: bool
    energy: Samples | None
    power: Samples | None


@dataclass(frozen=True)
class GpuMetrics:
    """What the best source tells. scrapes and gaps: of that source, None: it counts none."""

    source: str
    gpus: tuple[Gpu, ...]
    scrapes: int | None
    gaps: int | None


def read_gpus(path: Path) -> GpuMetrics | None:
    """The GPUs of server.parquet; None where nothing in it tells of a GPU's energy.

    A source for GPUs alone goes before what a server tells of the GPUs it sees.
    """
    every = read_series(path, {UP, *ENERGY, *POWER})
    told = [one for name in (*ENERGY, *POWER) for one in every.get(name, ())]
    if not told:
        return None
    sources = sorted(
        {one.source for one in told}, key=lambda name: (not name.startswith(GPU_SOURCE), name)
    )
    # Replicas of a server each see their own GPUs; a source for GPUs sees all.
    chosen = {sources[0]} if sources[0].startswith(GPU_SOURCE) else set(sources)
    up = [one for one in every.get(UP, ()) if one.source in chosen]
    return GpuMetrics(
        source=", ".join(sorted(chosen)),
        gpus=tuple(_gpus(every, chosen)),
        scrapes=sum(int((one.value == 1).sum()) for one in up) if up else None,
        gaps=sum(int((one.value == 0).sum()) for one in up) if up else None,
    )


def _gpus(every: Mapping[str, tuple[Series, ...]], sources: set[str]) -> Iterable[Gpu]:
    of_gpu: dict[str, dict[str, list[Series]]] = {}
    for name in (*ENERGY, *POWER):
        for one in every.get(name, ()):
            if one.source in sources:
                of_gpu.setdefault(_key(one), {}).setdefault(name, []).append(one)
    for uuid in sorted(of_gpu):
        known = of_gpu[uuid]
        labels = [one.labels for many in known.values() for one in many]
        yield Gpu(
            uuid=uuid,
            index=next((each["gpu"] for each in labels if "gpu" in each), None),
            model=next((each["modelName"] for each in labels if "modelName" in each), None),
            owners=frozenset(owner for each in labels if (owner := _owner(each)) is not None),
            sliced=any(each.get("GPU_I_ID") for each in labels),
            energy=_samples(known, ENERGY),
            power=_samples(known, POWER),
        )


def _key(one: Series) -> str:
    """A GPU's UUID, else the place that a source without UUIDs gives it."""
    found = next((one.labels[name] for name in _UUIDS if one.labels.get(name)), None)
    place = (one.source, one.labels.get("Hostname"), one.labels.get("gpu"))
    return found or " ".join(str(part) for part in place if part)


def _owner(labels: Mapping[str, str]) -> tuple[str | None, str] | None:
    pod = next((labels[name] for name in _POD if labels.get(name)), None)
    namespace = next((labels[name] for name in _NAMESPACE if labels.get(name)), None)
    return (namespace, pod) if pod else None


def _samples(known: Mapping[str, list[Series]], units: Mapping[str, float]) -> Samples | None:
    """All label sets of a GPU as one series: labels change when a pod takes it."""
    name = next((name for name in units if name in known), None)
    if name is None:
        return None
    t_ns = np.concatenate([one.t_ns for one in known[name]])
    value = np.concatenate([one.value for one in known[name]]) * units[name]
    kept = np.isfinite(value)
    # A sliced GPU is told of once per slice, at the same instants.
    t_ns, first = np.unique(t_ns[kept], return_index=True)
    return Samples(t_ns, value[kept][first])


def refreshed(counter: Samples) -> Samples | None:
    """Where a counter was seen anew; None where it went down or was not renewed twice.

    Exporters show the same value until they look again (every 30 s by default), so that a
    value is true of the instant at which it first appears. Nothing is known of how old the
    very first one is, unless every later one was new.
    """
    change = np.diff(counter.value)
    if np.any(change < 0):
        return None
    fresh = np.flatnonzero(change > 0) + 1
    if len(fresh) == len(change):
        fresh = np.concatenate([[0], fresh])
    if len(fresh) < 2:
        return None
    return Samples(counter.t_ns[fresh], counter.value[fresh])


def integrated(power: Samples) -> Samples | None:
    """Joules since the first sample, by the trapezoidal rule; None for less than two."""
    if len(power.t_ns) < 2:
        return None
    seconds = np.diff(power.t_ns) / 1e9
    each = (power.value[1:] + power.value[:-1]) / 2 * seconds
    return Samples(power.t_ns, np.concatenate([[0.0], np.cumsum(each)]))

"""Reading server.parquet: counters between two instants, gauges over time, restarts."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from runners.telemetry.scrape import SCRAPE_DURATION, UP

# Sources that tell of GPUs alone; a server's may do so too.
GPU_SOURCE = "gpu:"

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """One label set of one metric at one source, in order of time (ns from start of load)."""

    source: str
    labels: Mapping[str, str]
    t_ns: Times
    value: Floats

    def has(self, labels: Mapping[str, str]) -> bool:
        return all(self.labels.get(key) == word for key, word in labels.items())


@dataclass(frozen=True)
class ServerMetrics:
    """scrapes: instants of the successful scrapes per source; gaps: failed scrapes.

    took_s: how long each GET took.
    """

    scrapes: Mapping[str, Times]
    gaps: int
    series: Mapping[str, tuple[Series, ...]]
    took_s: Floats = field(default_factory=lambda: np.empty(0))

    def present(self, names: tuple[str, ...]) -> str | None:
        """The first of `names` that the server has."""
        return next((name for name in names if name in self.series), None)

    @property
    def instants(self) -> Times:
        """Scrape instants of the first source; other sources are read nearest to them."""
        return next(iter(self.scrapes.values()), np.empty(0, np.int64))


@dataclass(frozen=True)
class Restart:
    """A counter that went down."""

    metric: str
    t_ns: int
    before: float
    after: float


@dataclass(frozen=True)
class HistogramDelta:
    """What a histogram saw between two instants; mean in the histogram's unit."""

    count: float
    mean: float | None


@dataclass(frozen=True)
class GaugeOverTime:
    """Over the scrapes between two instants."""

    mean: float
    max: float


def read_server(path: Path) -> ServerMetrics | None:
    """The server's metrics of a run; None without a file or a successful scrape in it."""
    every = read_series(path)
    series = {
        name: kept
        for name, many in every.items()
        if (kept := tuple(one for one in many if not one.source.startswith(GPU_SOURCE)))
    }
    up = series.pop(UP, ())
    answered = {one.source: one.t_ns[one.value == 1] for one in up}
    scrapes = {source: times for source, times in answered.items() if len(times)}
    if not scrapes:
        return None
    gaps = sum(int((one.value == 0).sum()) for one in up)
    took = [one.value for one in series.pop(SCRAPE_DURATION, ())]
    return ServerMetrics(scrapes, gaps, series, np.concatenate(took) if took else np.empty(0))


def read_series(
    path: Path, metrics: Collection[str] | None = None
) -> dict[str, tuple[Series, ...]]:
    """The series of server.parquet by their metric; empty without a file. metrics: only these."""
    import pyarrow.parquet as pq

    if not path.exists():
        return {}
    chosen = None if metrics is None else [("metric", "in", sorted(metrics))]
    table = pq.read_table(path, read_dictionary=["source", "metric", "labels"], filters=chosen)
    if not table.num_rows:
        return {}
    t_ns = table["t_ns"].to_numpy()
    value = table["value"].to_numpy()
    codes: list[npt.NDArray[np.int64]] = []
    words: list[list[str]] = []
    for name in ("metric", "source", "labels"):
        column = table[name].unify_dictionaries().combine_chunks()
        codes.append(column.indices.to_numpy().astype(np.int64))
        words.append(column.dictionary.to_pylist())
    order = np.lexsort((t_ns, codes[2], codes[1], codes[0]))
    keys = np.stack([code[order] for code in codes])
    starts = np.flatnonzero(np.any(np.diff(keys, axis=1, prepend=-1) != 0, axis=0))
    series: dict[str, list[Series]] = {}
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        metric, source, labels = (words[i][keys[i, start]] for i in range(3))
        rows = order[start:end]
        one = Series(source, json.loads(labels), t_ns[rows], value[rows])
        series.setdefault(metric, []).append(one)
    return {name: tuple(many) for name, many in series.items()}


def totals(
    server: ServerMetrics, names: tuple[str, ...], instants: Times, where: Mapping[str, str] = {}
) -> Floats | None:
    """A metric summed over its label sets and sources at each instant; None: not there.

    Each source is read at its scrape nearest to the instant. A label set that appears later
    counts as 0 before: counters are born at 0.
    """
    name = server.present(names)
    if name is None:
        return None
    total = np.zeros(len(instants))
    for one in server.series[name]:
        if not one.has(where):
            continue
        at = _nearest(server.scrapes[one.source], instants)
        position = np.searchsorted(one.t_ns, at, side="right") - 1
        total += np.where(position >= 0, one.value[np.maximum(position, 0)], 0.0)
    return total


def _nearest(sorted_times: Times, instants: Times) -> Times:
    right = np.clip(np.searchsorted(sorted_times, instants), 0, len(sorted_times) - 1)
    left = np.maximum(right - 1, 0)
    closer = np.abs(sorted_times[left] - instants) <= np.abs(sorted_times[right] - instants)
    return np.where(closer, sorted_times[left], sorted_times[right])


def increase(
    server: ServerMetrics,
    names: tuple[str, ...],
    start_ns: int,
    end_ns: int,
    where: Mapping[str, str] = {},
) -> float | None:
    """How much a counter grew between two instants; None where the server has no such one."""
    both = totals(server, names, np.array([start_ns, end_ns], np.int64), where)
    return None if both is None else float(both[1] - both[0])


def increase_by_label(
    server: ServerMetrics, names: tuple[str, ...], label: str, start_ns: int, end_ns: int
) -> dict[str, float] | None:
    """The same per value of `label`."""
    name = server.present(names)
    if name is None:
        return None
    words = sorted({one.labels[label] for one in server.series[name] if label in one.labels})
    grown = {word: increase(server, (name,), start_ns, end_ns, {label: word}) for word in words}
    return {word: amount for word, amount in grown.items() if amount is not None}


def steps(server: ServerMetrics, names: tuple[str, ...], start_ns: int, end_ns: int) -> Floats:
    """Growth of a counter from scrape to scrape between two instants; empty: not there."""
    instants = server.instants
    inside = instants[(instants >= start_ns) & (instants <= end_ns)]
    total = totals(server, names, inside)
    return np.empty(0) if total is None else np.diff(total)


def gauge_over_time(
    server: ServerMetrics,
    names: tuple[str, ...],
    combine: Literal["sum", "mean"],
    start_ns: int,
    end_ns: int,
    where: Mapping[str, str] = {},
) -> GaugeOverTime | None:
    """Mean and maximum over the scrapes in between; None where there is none."""
    instants = server.instants
    inside = instants[(instants >= start_ns) & (instants <= end_ns)]
    name = server.present(names)
    many = [one for one in server.series[name] if one.has(where)] if name is not None else []
    total = totals(server, names, inside, where)
    if total is None or not many or not len(total) or not np.all(np.isfinite(total)):
        return None
    if combine == "mean":
        total = total / len(many)
    return GaugeOverTime(float(total.mean()), float(total.max()))


def histogram_delta(
    server: ServerMetrics, names: tuple[str, ...], start_ns: int, end_ns: int
) -> HistogramDelta | None:
    """Count and mean of what a histogram saw in between."""
    count = increase(server, tuple(f"{name}_count" for name in names), start_ns, end_ns)
    total = increase(server, tuple(f"{name}_sum" for name in names), start_ns, end_ns)
    if count is None or total is None:
        return None
    return HistogramDelta(count, total / count if count > 0 else None)


def restarts(server: ServerMetrics, counters: tuple[str, ...] = ()) -> tuple[Restart, ...]:
    """Every decrease of a counter, and every change of the process's start time, in time order.

    counters: sample names that count although their name does not end in _total.
    """
    found: list[Restart] = []
    for metric, many in server.series.items():
        started = metric == "process_start_time_seconds"
        if not (started or metric.endswith("_total") or metric in counters):
            continue
        for one in many:
            change = np.diff(one.value)
            for index in np.flatnonzero(change != 0 if started else change < 0):
                before, after = float(one.value[index]), float(one.value[index + 1])
                found.append(Restart(metric, int(one.t_ns[index + 1]), before, after))
    return tuple(sorted(found, key=lambda restart: restart.t_ns))

"""The records of a run as series to draw. Statistics come from results.json, never from here.

Times are seconds since the start of load. Long series are thinned for drawing only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import ArrowException

from runners.measure.chunks import Chunks
from runners.measure.chunks import read_chunks as chunks_of
from runners.rundir import RunDirectory
from runners.telemetry.engine_names import names_spoken

MAX_POINTS = 5000
_MAX_STEPS = 1500
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Requests:
    """One entry per request; NaN where it did not get so far.

    begun_s: when it was sent; its intended time where it never got so far.
    measured: inside the window and successful, as the latency statistics take them.
    failed: begun inside the window, without an answer.
    """

    request_id: npt.NDArray[np.int64]
    intended_s: Floats
    begun_s: Floats
    sent_s: Floats
    first_s: Floats
    last_s: Floats
    end_s: Floats
    prompt_tokens: Floats
    output_tokens: Floats
    measured: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.bool_]
    error: list[str | None]
    error_detail: list[str | None]


def _read(run: RunDirectory, name: str) -> pd.DataFrame | None:
    try:
        return pd.read_parquet(run / name)
    except (OSError, ArrowException):
        return None


def _seconds(table: pd.DataFrame, column: str) -> Floats:
    return _numbers(table, column) / 1e9


def _numbers(table: pd.DataFrame, column: str) -> Floats:
    if column not in table:
        return np.full(len(table), np.nan)
    found = table[column].to_numpy(dtype="float64", na_value=np.nan)
    return np.asarray(found, dtype="float64")


def _texts(table: pd.DataFrame, column: str) -> list[str | None]:
    if column not in table:
        return [None] * len(table)
    found = table[column].astype("object")
    return list(found.where(found.notna(), None))


def read_requests(run: RunDirectory, window: Mapping[str, Any]) -> Requests | None:
    """Every request of the run, or None without requests.parquet."""
    table = _read(run, "requests.parquet")
    if table is None:
        return None
    sent, intended = _seconds(table, "sent_ns"), _seconds(table, "intended_ns")
    begun = np.where(np.isnan(sent), intended, sent)
    errors = _texts(table, "error")
    good = np.array([error is None for error in errors], dtype=bool)
    inside = np.ones(len(table), dtype=bool)
    if "warmup" in table:
        inside &= ~table["warmup"].to_numpy(dtype=bool)
    if (start := window.get("start_s")) is not None:
        inside &= begun >= start
    if (end := window.get("end_s")) is not None:
        inside &= begun <= end
    return Requests(
        request_id=table["request_id"].to_numpy(dtype="int64"),
        intended_s=intended,
        begun_s=begun,
        sent_s=sent,
        first_s=_seconds(table, "first_content_ns"),
        last_s=_seconds(table, "last_content_ns"),
        end_s=_seconds(table, "end_ns"),
        prompt_tokens=_numbers(table, "prompt_tokens"),
        output_tokens=_numbers(table, "output_tokens"),
        measured=good & inside & ~np.isnan(sent),
        failed=~good & inside,
        error=errors,
        error_detail=_texts(table, "error_detail"),
    )


def read_chunks(run: RunDirectory, requests: Requests | None) -> Chunks | None:
    """The chunks of these requests, or None where they were not kept or cannot be read."""
    ids = np.empty(0, np.int64) if requests is None else requests.request_id
    try:
        return chunks_of(run / "chunks.parquet", int(ids.max(initial=-1)) + 1)
    except (OSError, KeyError, ValueError, ArrowException):
        return None


def read_server(run: RunDirectory) -> pd.DataFrame | None:
    table = _read(run, "server.parquet")
    return None if table is None or table.empty else table


def thin(values: npt.NDArray[Any], points: int) -> npt.NDArray[np.int64]:
    """Positions of at most `points` of the values, evenly spread, both ends kept."""
    if len(values) <= points:
        return np.arange(len(values))
    return np.unique(np.linspace(0, len(values) - 1, points).round().astype("int64"))


def distribution(values: Floats, points: int = 600) -> tuple[Floats, Floats]:
    """(sorted values, the share of values at or below each), dense towards the tail."""
    values = values[np.isfinite(values)]
    values.sort()
    size = len(values)
    share = (np.arange(size) + 0.5) / size if size else np.empty(0)
    if size <= points:
        return values, share
    # Even steps in log(1 - share), as the figure's axis has them.
    tail = np.logspace(0, np.log10(0.5 / size), points)
    keep = np.unique(np.clip(np.round((1 - tail) * size - 0.5), 0, size - 1).astype("int64"))
    return values[keep], share[keep]


def chunk_gaps_ms(chunks: Chunks, requests: Requests | None) -> Floats:
    """Gaps between successive content arrivals of each measured request, pooled."""
    wanted = np.zeros(len(chunks.chunks), dtype=bool)
    if requests is not None:
        wanted[requests.request_id[requests.measured]] = True
    return chunks.gaps(wanted)


def tokens_per_second(chunks: Chunks) -> tuple[Floats, Floats, float] | None:
    """(bin starts, tokens/s in each, bin width in s); None where tokens are unknown."""
    first, last = np.inf, -np.inf
    for arrival, _ in chunks.arrivals():
        first, last = min(first, arrival.min() / 1e9), max(last, arrival.max() / 1e9)
    if first > last:
        return None
    first, last = np.floor(first), np.floor(last)
    width = float(max(1.0, np.ceil((last - first + 1) / _MAX_STEPS)))
    sums = np.zeros(int((last - first) // width) + 1)
    for arrival, tokens in chunks.arrivals():
        place = ((arrival / 1e9 - first) // width).astype("int64")
        sums += np.bincount(place, weights=tokens, minlength=len(sums))
    return first + np.arange(len(sums)) * width, sums / width, width


def in_flight(requests: Requests) -> tuple[Floats, Floats]:
    """(instants, requests sent and not yet ended), exact at each instant drawn."""
    known = np.isfinite(requests.sent_s)
    sent = np.sort(requests.sent_s[known])
    ended = np.sort(requests.end_s[known & np.isfinite(requests.end_s)])
    instants = np.unique(np.concatenate([sent, ended]))
    instants = instants[thin(instants, _MAX_STEPS)]
    running = np.searchsorted(sent, instants, "right") - np.searchsorted(ended, instants, "right")
    return instants, running.astype("float64")


def _wide(server: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame | None:
    """A column per source and label set of the first of the names that is there."""
    present = set(server["metric"])
    name = next((name for name in names if name in present), None)
    if name is None:
        return None
    rows = server[server["metric"] == name]
    wide = rows.pivot_table(index="t_ns", columns=["source", "labels"], values="value")
    return wide.sort_index().ffill()


def gauge(server: pd.DataFrame, word: str) -> tuple[Floats, Floats]:
    """(times, levels) of a server's gauge; its label sets and replicas put together.

    word: ours, as in `EngineNames.gauges`; empty where the server has no such gauge.
    """
    spoken = names_spoken(set(server["metric"]))
    declared = spoken.gauges.get(word) if spoken else None
    wide = None if declared is None else _wide(server, declared.names)
    if declared is None or wide is None:
        return np.empty(0), np.empty(0)
    level = wide.agg(declared.combine, axis=1)
    times = level.index.to_numpy(dtype="float64") / 1e9
    keep = thin(times, _MAX_STEPS)
    return times[keep], level.to_numpy(dtype="float64")[keep]


def counter_rate(server: pd.DataFrame, word: str) -> tuple[Floats, Floats]:
    """(times, growth per second since the time before) of a server's counter.

    word: ours, as in `EngineNames.counters`. A counter that began anew grew by what it shows.
    """
    spoken = names_spoken(set(server["metric"]))
    wide = _wide(server, spoken.counters.get(word, ())) if spoken else None
    if wide is None or len(wide) < 2:
        return np.empty(0), np.empty(0)
    keep = thin(wide.index.to_numpy(), _MAX_STEPS)
    wide = wide.iloc[keep]
    grown = wide.diff().where(lambda step: step >= 0, wide).sum(axis=1).to_numpy(dtype="float64")
    times = wide.index.to_numpy(dtype="float64") / 1e9
    return times[1:], grown[1:] / np.diff(times)

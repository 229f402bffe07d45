"""Latencies: one declaration per metric, and how samples become a summary."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runners.measure.records import Bools, Chunks, Floats, Requests
from runners.measure.statistics import (
    MIN_SAMPLES,
    Estimate,
    Intervals,
    intervals,
    rank,
    samples_for_interval,
    samples_for_value,
)
from runners.measure.window import Window

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
ADJUSTED = "adjusted_p99"


@dataclass(frozen=True)
class Latency:
    """One value per request, in ms; NaN where a request has none.

    needs: what a request must have for it, said where none has.
    """

    name: str
    formula: str
    of: Callable[[Requests], Floats]
    needs: str
    unit: str = "ms"


def _tpot(requests: Requests) -> Floats:
    later = requests.output_tokens - 1
    streamed = (later > 0) & ~np.isnan(requests.first)
    each = (requests.last - requests.first) / np.where(streamed, later, 1.0)
    return np.where(streamed, each, np.nan) / 1e6


LATENCIES = (
    Latency(
        "ttft_ms",
        "first content arrival - sent",
        lambda requests: (requests.first - requests.sent) / 1e6,
        "a streamed answer",
    ),
    Latency(
        "ttft_from_intended_ms",
        "first content arrival - intended",
        lambda requests: (requests.first - requests.intended) / 1e6,
        "a streamed answer",
    ),
    Latency(
        "e2e_latency_ms",
        "last content arrival - sent",
        lambda requests: (requests.last - requests.sent) / 1e6,
        "content",
    ),
    Latency(
        "e2e_latency_from_intended_ms",
        "last content arrival - intended",
        lambda requests: (requests.last - requests.intended) / 1e6,
        "content",
    ),
    Latency(
        "tpot_ms",
        "(last content arrival - first content arrival) / (output tokens - 1)",
        _tpot,
        "a streamed answer of 2 tokens or more with a known token count",
    ),
)
INTER_CHUNK = "inter_chunk_latency_ms"


@dataclass
class Summary:
    """A metric as results.json shows it; `metric` None when nothing was measured.

    missing: key below the metric ("" for all of it) to the reason.
    """

    metric: dict[str, Any] | None = None
    missing: dict[str, str] = field(default_factory=dict)
    method: dict[str, Any] | None = None


def summarise(values: Floats, seed: int, nothing: str) -> Summary:
    """Count, mean, percentiles and maximum of finite samples in order of time."""
    if not len(values):
        return Summary(missing={"": nothing})
    summary = Summary(metric={"count": len(values), "mean": None})
    assert summary.metric is not None
    count = len(values)
    found: Intervals | None = None
    if count >= MIN_SAMPLES:
        found = intervals(values, tuple(QUANTILES.values()), seed)
        batches = dict(zip(QUANTILES, found.batches, strict=True))
        summary.method = {**found.method, "samples": count, "percentile_batches": batches}
    bounds = found.mean if found is not None else None
    _put(summary, "mean", float(values.mean()), bounds, MIN_SAMPLES, count)
    order = sorted({rank(count, quantile) for quantile in QUANTILES.values()})
    ordered = np.partition(values, order)
    for place, (name, quantile) in enumerate(QUANTILES.items()):
        if count < samples_for_value(quantile):
            summary.metric[name] = None
            summary.missing[name] = f"{count} samples, {samples_for_value(quantile)} needed"
            continue
        enough = found is not None and count >= samples_for_interval(quantile)
        bounds = found.quantiles[place] if found is not None and enough else None
        value = float(ordered[rank(count, quantile)])
        _put(summary, name, value, bounds, samples_for_interval(quantile), count)
    summary.metric["max"] = float(values.max())
    return summary


def _put(
    summary: Summary,
    name: str,
    value: float,
    bounds: tuple[float, float] | None,
    needed: int,
    count: int,
) -> None:
    assert summary.metric is not None
    low, high = bounds if bounds is not None else (None, None)
    summary.metric[name] = {"value": value, "low": low, "high": high}
    if bounds is None:
        summary.missing[f"{name}.interval"] = f"{count} samples, {needed} needed for an interval"


def add_adjusted(summary: Summary, values: Floats, seed: int) -> None:
    """Put the p99 with failed requests as infinite beside the others.

    values: in order of time, +inf for each failed request.
    """
    if summary.metric is None:
        return
    if not np.isinf(values).any():
        summary.metric[ADJUSTED] = summary.metric["p99"]
        for key in ("p99", "p99.interval"):
            if key in summary.missing:
                summary.missing[key.replace("p99", ADJUSTED)] = summary.missing[key]
        return
    estimate, reason = _with_failures(values, seed)
    summary.metric[ADJUSTED] = (
        None
        if estimate is None
        else {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    )
    if reason is not None:
        key = ADJUSTED if estimate is None else f"{ADJUSTED}.interval"
        summary.missing[key] = reason


def _with_failures(values: Floats, seed: int) -> tuple[Estimate | None, str | None]:
    quantile, count = QUANTILES["p99"], len(values)
    if count < samples_for_value(quantile):
        return None, f"{count} samples, {samples_for_value(quantile)} needed"
    at = rank(count, quantile)
    value = float(np.partition(values, at)[at])
    if np.isinf(value):
        failed = np.isinf(values).mean()
        return None, f"infinite: {failed:.1%} of the requests failed"
    needed = samples_for_interval(quantile)
    if count < needed:
        return Estimate(value), f"{count} samples, {needed} needed for an interval"
    low, high = intervals(values, (quantile,), seed).quantiles[0]
    if np.isinf(high):
        return Estimate(value, low), "its upper end reaches into the failed requests"
    return Estimate(value, low, high), None


def latency_metric(
    latency: Latency, requests: Requests, chosen: Bools, failed: Bools, seed: int, nothing: str
) -> Summary:
    """One latency over the ok requests `chosen`; `failed` ones count in the adjusted p99."""
    values = latency.of(requests)
    used = chosen & ~np.isnan(values)
    if chosen.any() and not used.any():
        nothing = f"no request had {latency.needs}"
    summary = summarise(values[used], seed, nothing)
    counted = used | failed
    add_adjusted(summary, np.where(failed, np.inf, values)[counted], seed)
    return summary


def inter_chunk_metric(
    chunks: Chunks | None, requests: Requests, chosen: Bools, seed: int, nothing: str
) -> Summary:
    """Gaps between successive content arrivals of the requests `chosen`, pooled."""
    if chunks is None:
        return Summary(missing={"": "chunks.parquet was not kept"})
    wanted = np.zeros(_size(chunks, requests), np.bool_)
    wanted[requests.request_id[chosen]] = True
    kept = wanted[chunks.request_id]
    owner, arrival = chunks.request_id[kept], chunks.arrival[kept]
    step = np.diff(owner)
    if (step < 0).any() or (np.diff(arrival)[step == 0] < 0).any():
        order = np.lexsort((arrival, owner))
        owner, arrival = owner[order], arrival[order]
        step = np.diff(owner)
    same = step == 0
    gaps = np.diff(arrival)[same] / 1e6
    by_time = np.argsort(arrival[1:][same], kind="stable")
    if chosen.any() and not len(gaps):
        nothing = "no answer came in two chunks or more"
    summary = summarise(gaps[by_time], seed, nothing)
    if summary.metric is not None:
        summary.metric["tokens_per_chunk"] = tokens_per_chunk(requests, chosen)
        if summary.metric["tokens_per_chunk"] is None:
            summary.missing["tokens_per_chunk"] = "token counts are not known for every answer"
    return summary


def tokens_per_chunk(requests: Requests, chosen: Bools) -> float | None:
    """Mean output tokens per content chunk; more than 1 is normal under speculation."""
    tokens, chunks = requests.output_tokens[chosen].sum(), requests.chunks[chosen].sum()
    return float(tokens / chunks) if chunks > 0 and np.isfinite(tokens) else None


def _size(chunks: Chunks, requests: Requests) -> int:
    highest = max(int(chunks.request_id.max(initial=-1)), int(requests.request_id.max(initial=-1)))
    return highest + 1


def window_requests(requests: Requests, window: Window | None) -> tuple[Bools, Bools]:
    """(ok, failed) measured requests that began inside the window."""
    if window is None:
        none = np.zeros(len(requests), np.bool_)
        return none, none
    inside = ~requests.warmup & window.began(requests.begun)
    return inside & requests.ok, inside & requests.failed

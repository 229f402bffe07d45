"""Latencies: one declaration per metric, and how samples become a summary."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runners.measure.chunks import Chunks
from runners.measure.records import Bools, Floats, Requests
from runners.measure.statistics import (
    BATCHES,
    MIN_SAMPLES,
    Estimate,
    mean_bounds,
    quantile_bounds,
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


def summarise(values: Floats, nothing: str) -> Summary:
    """Count, mean, percentiles and maximum of finite samples in order of time."""
    if not len(values):
        return Summary(missing={"": nothing})
    count = len(values)
    mean: dict[str, float | None] = {"value": float(values.mean()), "low": None, "high": None}
    metric: dict[str, Any] = {"count": count, "mean": mean}
    summary = Summary(metric)
    if count >= MIN_SAMPLES:
        mean["low"], mean["high"] = mean_bounds(values)
        summary.method = batch_means(count)
    else:
        summary.missing["mean.interval"] = _too_few(count, MIN_SAMPLES)
    ordered = np.sort(values)
    for name, quantile in QUANTILES.items():
        found, reason = _percentile(values, ordered, quantile)
        metric[name] = None if found is None else vars(found)
        if reason is not None:
            summary.missing[name if found is None else f"{name}.interval"] = reason
    metric["max"] = float(ordered[-1])
    return summary


def batch_means(count: int) -> dict[str, Any]:
    """The method of intervals as results.json states it, for `count` samples."""
    batches = min(BATCHES, count)
    length = count // batches
    return {"method": "batch_means", "samples": count, "batches": batches, "block_length": length}


def _too_few(count: int, needed: int) -> str:
    return f"{count} samples, {needed} needed for an interval"


def _percentile(
    values: Floats, ordered: Floats, quantile: float
) -> tuple[Estimate | None, str | None]:
    """A percentile as far as the samples carry it, and why not further.

    values: in order of time, failed requests +inf; ordered: the same, sorted.
    """
    count, needed = len(values), samples_for_interval(quantile)
    if count < samples_for_value(quantile):
        return None, f"{count} samples, {samples_for_value(quantile)} needed"
    value = float(ordered[rank(count, quantile)])
    if np.isinf(value):
        return None, f"infinite: {np.isinf(values).mean():.1%} of the requests failed"
    if count < needed:
        return Estimate(value), _too_few(count, needed)
    bounds = quantile_bounds(values, ordered, quantile)
    if bounds.high is None:
        return Estimate(value, bounds.low), (
            f"{count} samples that depend on each other count as {math.floor(bounds.effective)}, "
            f"{needed} needed to bound it from above"
        )
    if np.isinf(bounds.high):
        return Estimate(value, bounds.low), "its upper end reaches into the failed requests"
    return Estimate(value, bounds.low, bounds.high), None


def add_adjusted(summary: Summary, values: Floats) -> None:
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
    found, reason = _percentile(values, np.sort(values), QUANTILES["p99"])
    summary.metric[ADJUSTED] = None if found is None else vars(found)
    if reason is not None:
        summary.missing[ADJUSTED if found is None else f"{ADJUSTED}.interval"] = reason


def latency_metric(
    latency: Latency, requests: Requests, chosen: Bools, failed: Bools, nothing: str
) -> Summary:
    """One latency over the ok requests `chosen`; `failed` ones count in the adjusted p99."""
    values = latency.of(requests)
    used = chosen & ~np.isnan(values)
    if chosen.any() and not used.any():
        nothing = f"no request had {latency.needs}"
    summary = summarise(values[used], nothing)
    counted = used | failed
    add_adjusted(summary, np.where(failed, np.inf, values)[counted])
    return summary


def inter_chunk_metric(
    chunks: Chunks | None, requests: Requests, chosen: Bools, nothing: str
) -> Summary:
    """Gaps between successive content arrivals of the requests `chosen`, pooled."""
    if chunks is None:
        return Summary(missing={"": "chunks.parquet was not kept"})
    wanted = np.zeros(len(chunks.chunks), np.bool_)
    wanted[requests.request_id[chosen]] = True
    gaps = chunks.gaps(wanted)
    if chosen.any() and not len(gaps):
        nothing = "no answer came in two chunks or more"
    summary = summarise(gaps, nothing)
    if summary.metric is not None:
        summary.metric["tokens_per_chunk"] = tokens_per_chunk(requests, chosen)
        if summary.metric["tokens_per_chunk"] is None:
            summary.missing["tokens_per_chunk"] = "token counts are not known for every answer"
    return summary


def tokens_per_chunk(requests: Requests, chosen: Bools) -> float | None:
    """Mean output tokens per content chunk; more than 1 is normal under speculation."""
    tokens, chunks = requests.output_tokens[chosen].sum(), requests.chunks[chosen].sum()
    return float(tokens / chunks) if chunks > 0 and np.isfinite(tokens) else None


def window_requests(requests: Requests, window: Window | None) -> tuple[Bools, Bools]:
    """(ok, failed) measured requests that began inside the window."""
    if window is None:
        none = np.zeros(len(requests), np.bool_)
        return none, none
    inside = ~requests.warmup & window.began(requests.begun)
    return inside & requests.ok, inside & requests.failed

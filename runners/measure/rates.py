"""Throughput and goodput: what happened inside the window, divided by its length."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.measure.events import Events, output_tokens, served, total_tokens
from runners.measure.latency import LATENCIES, Summary, batch_means
from runners.measure.records import Bools, Recorded
from runners.measure.statistics import BATCHES, MIN_SAMPLES, Estimate, ratio, share
from runners.measure.window import STEADY_PATTERNS, Window

NO_SLO = (
    "the profile names no limit; add for example `slo: {ttft_ms: 500, tpot_ms: 50}` to the profile"
)


@dataclass(frozen=True)
class Rate:
    """A sum of events inside the window per second. of: the events, or why there are none."""

    name: str
    unit: str
    formula: str
    of: Callable[[Recorded], Events | str]


def _good(run: Recorded) -> Events | str:
    met = met_slo(run)
    if isinstance(met, str):
        return met
    return served(run, met)


def _answered(run: Recorded) -> Events:
    return served(run, run.requests.ok)


RATES = (
    Rate(
        "request_throughput_req_s", "req/s", "ok requests, by their time in the window", _answered
    ),
    Rate("output_throughput_tok_s", "tok/s", "tokens that arrived in the window", output_tokens),
    Rate(
        "total_throughput_tok_s",
        "tok/s",
        "the same, and prompt tokens by their request's time in the window",
        total_tokens,
    ),
    Rate("goodput_req_s", "req/s", "the same of those within every SLO", _good),
)
GOODPUT_FRACTION = "goodput_fraction"


def met_slo(run: Recorded) -> Bools | str:
    """Which requests met every limit of the profile; or why that cannot be said.

    A failed request never met them. An answer of one token has no time per output token and
    so cannot miss that limit.
    """
    limits = {
        name: limit
        for name, limit in run.profile.slo.model_dump(exclude={"limits"}).items()
        if limit is not None
    }
    if not limits:
        return NO_SLO
    met = run.requests.ok.copy()
    for latency in LATENCIES:
        if latency.name not in limits:
            continue
        values = latency.of(run.requests)
        exempt = (run.requests.output_tokens <= 1) & (latency.name == "tpot_ms")
        judged = ~np.isnan(values) | exempt
        if not judged[run.requests.ok].all():
            missing = int((~judged & run.requests.ok).sum())
            return f"{latency.name} of {missing} requests is not known: they lack {latency.needs}"
        met &= exempt | (values <= limits[latency.name])
    return met


def rate_metric(rate: Rate, run: Recorded, window: Window) -> Summary:
    """One rate over a window that has a length; its interval from batches of equal time."""
    events = rate.of(run)
    if isinstance(events, str):
        return Summary(missing={"": events})
    sums, count = events.sums(window.start_ns, window.end_ns, BATCHES)
    estimate, batches = ratio(sums, np.full(BATCHES, window.length_s / BATCHES))
    if run.pattern not in STEADY_PATTERNS:
        reason = f"load pattern {run.pattern} changes by plan: there is no one rate to be sure of"
        return Summary(as_json(Estimate(estimate.value)), {"interval": reason})
    if count < MIN_SAMPLES:
        reason = f"{count} events, {MIN_SAMPLES} needed for an interval"
        return Summary(as_json(Estimate(estimate.value)), {"interval": reason})
    stretch = window.length_s / BATCHES
    method = {
        "method": "batch_means",
        "samples": count,
        "batches": batches,
        "block_s": round(stretch, 6),
    }
    return Summary(as_json(estimate, least=0.0), {}, method)


def goodput_fraction(run: Recorded, counted: Bools) -> Summary:
    """Share of the requests `counted` (ok and failed ones) that met every limit."""
    met = met_slo(run)
    if isinstance(met, str):
        return Summary(missing={"": met})
    estimate = share(met[counted])
    count = int(counted.sum())
    if estimate.low is None:
        reason = f"{count} requests, {MIN_SAMPLES} needed for an interval"
        return Summary(as_json(estimate), {"interval": reason})
    return Summary(as_json(estimate), {}, batch_means(count) | {"method": "wilson"})


def as_json(estimate: Estimate, least: float | None = None) -> dict[str, Any]:
    """An estimate as results.json shows it; `least`: no bound may be below it."""
    low = estimate.low
    if low is not None and least is not None:
        low = max(low, least)
    return {"value": estimate.value, "low": low, "high": estimate.high}

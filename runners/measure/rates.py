"""Throughput and goodput: what happened inside the window, divided by its length."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.measure.latency import LATENCIES, Summary
from runners.measure.records import Bools, Floats, Ints, Recorded
from runners.measure.statistics import MAX_BATCHES, MIN_SAMPLES, Estimate, batch_sums, ratio, share
from runners.measure.window import Window

NO_SLO = (
    "the profile names no limit; add for example `slo: {ttft_ms: 500, tpot_ms: 50}` to the profile"
)


@dataclass(frozen=True)
class Events:
    """Things that happened: when (ns) and how much each counts."""

    times: Floats | Ints
    amounts: Floats


@dataclass(frozen=True)
class Rate:
    """A sum of events inside the window per second. of: the events, or why there are none."""

    name: str
    unit: str
    formula: str
    of: Callable[[Recorded], Events | str]


def _ended(run: Recorded) -> Events:
    ends = run.requests.end[run.requests.ok]
    return Events(ends, np.ones(len(ends)))


def _output_tokens(run: Recorded) -> Events | str:
    requests = run.requests
    if not run.profile.workload.stream:
        return _known(requests.last[requests.ok], requests.output_tokens[requests.ok], "answers")
    if run.chunks is None:
        return "chunks.parquet was not kept, so it is not known when tokens arrived"
    chunks = run.chunks
    tokens = chunks.tokens.astype(np.float64)
    unknown = np.isnan(tokens)
    if unknown.any():
        ok = np.zeros(int(max(chunks.request_id.max(), requests.request_id.max())) + 1, np.bool_)
        ok[requests.request_id[requests.ok]] = True
        # A broken stream never told its count: what it is not known to have brought is left out.
        kept = ~unknown | ok[chunks.request_id]
        return _known(chunks.arrival[kept], tokens[kept], "chunks")
    return Events(chunks.arrival, tokens)


def _known(times: Floats | Ints, amounts: Floats, what: str) -> Events | str:
    unknown = int(np.isnan(amounts).sum())
    if unknown:
        return f"{unknown} of {len(amounts)} {what} have no token count"
    return Events(times, amounts)


def _total_tokens(run: Recorded) -> Events | str:
    output = _output_tokens(run)
    if isinstance(output, str):
        return output
    requests = run.requests
    arrived = ~np.isnan(requests.arrived) & (requests.ok | ~np.isnan(requests.prompt_tokens))
    prompts = _known(requests.arrived[arrived], requests.prompt_tokens[arrived], "prompts")
    if isinstance(prompts, str):
        return prompts
    return Events(
        np.concatenate([output.times, prompts.times]),
        np.concatenate([output.amounts, prompts.amounts]),
    )


def _good(run: Recorded) -> Events | str:
    met = met_slo(run)
    if isinstance(met, str):
        return met
    ends = run.requests.end[met]
    return Events(ends, np.ones(len(ends)))


RATES = (
    Rate("request_throughput_req_s", "req/s", "ok requests that ended in the window", _ended),
    Rate("output_throughput_tok_s", "tok/s", "tokens that arrived in the window", _output_tokens),
    Rate(
        "total_throughput_tok_s",
        "tok/s",
        "the same, and the prompt tokens of requests whose first content arrived in it",
        _total_tokens,
    ),
    Rate("goodput_req_s", "req/s", "ok requests within every SLO that ended in the window", _good),
)
GOODPUT_FRACTION = "goodput_fraction"


def met_slo(run: Recorded) -> Bools | str:
    """Which requests met every limit of the profile; or why that cannot be said.

    A failed request never met them. An answer of one token has no time per output token and
    so cannot miss that limit.
    """
    limits = {
        name: limit for name, limit in run.profile.slo.model_dump().items() if limit is not None
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
    inside = window.holds(events.times)
    sums = batch_sums(events.times[inside], events.amounts[inside], window.start_ns, window.end_ns)
    estimate, batches = ratio(sums, np.full(MAX_BATCHES, window.length_s / MAX_BATCHES))
    count = int(inside.sum())
    if count < MIN_SAMPLES:
        reason = f"{count} events, {MIN_SAMPLES} needed for an interval"
        return Summary(as_json(Estimate(estimate.value)), {"interval": reason})
    method = {"method": "batch_means", "batches": batches, "samples": count}
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
    return Summary(as_json(estimate), {}, {"method": "wilson", "samples": count})


def as_json(estimate: Estimate, least: float | None = None) -> dict[str, Any]:
    """An estimate as results.json shows it; `least`: no bound may be below it."""
    low = estimate.low
    if low is not None and least is not None:
        low = max(low, least)
    return {"value": estimate.value, "low": low, "high": estimate.high}

"""The server's own counters over the window, and whether client and server agree."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.measure.latency import Summary, batch_means
from runners.measure.rates import as_json
from runners.measure.records import Recorded
from runners.measure.statistics import BATCHES, MIN_BATCHES, Estimate, batch_firsts, ratio
from runners.measure.window import Window
from runners.telemetry.counters import (
    Restart,
    ServerMetrics,
    gauge_over_time,
    histogram_delta,
    increase,
    increase_by_label,
    restarts,
    steps,
)
from runners.telemetry.engine_names import EngineNames, names_spoken

NO_METRICS = "no server metrics were scraped"


@dataclass(frozen=True)
class CounterRatio:
    """offset + increase of `numerator` / increase of `denominator`, words of EngineNames."""

    name: str
    unit: str
    formula: str
    numerator: str
    denominator: str
    unused: str
    offset: float = 0.0


RATIOS = (
    CounterRatio(
        "acceptance_rate",
        "1",
        "accepted / drafted tokens",
        "accepted_tokens",
        "draft_tokens",
        "the server drafted no tokens",
    ),
    CounterRatio(
        "mean_acceptance_length",
        "tokens",
        "1 + accepted tokens / drafts",
        "accepted_tokens",
        "drafts",
        "the server made no drafts",
        offset=1.0,
    ),
    CounterRatio(
        "prefix_cache_hit_rate",
        "1",
        "prompt tokens found in the prefix cache / looked up",
        "prefix_cache_hits",
        "prefix_cache_queries",
        "the server looked nothing up in a prefix cache",
    ),
)


@dataclass(frozen=True)
class Span:
    """The two instants between which counters are taken."""

    start_ns: int
    end_ns: int
    edges: str


@dataclass(frozen=True)
class TokenCheck:
    """Tokens of the whole load, warm-up included, as client and server counted them.

    limited: why server tokens beyond the client's are not a disagreement; None otherwise.
    difference: (client - server) / server.
    """

    client: int
    server: int
    difference: float
    limited: str | None


def span_of(server: ServerMetrics, window: Window) -> Span | None:
    """The window where its edges are scrapes, else the scrapes just around it."""
    if window.snapped:
        return Span(window.start_ns, window.end_ns, "the window's edges")
    instants = server.instants
    before = instants[instants <= window.start_ns]
    after = instants[instants >= window.end_ns]
    start = int(before[-1]) if len(before) else int(instants[0])
    end = int(after[0]) if len(after) else int(instants[-1])
    return Span(start, end, "the scrapes around the window") if end > start else None


def counter_ratio(
    declared: CounterRatio, server: ServerMetrics, names: EngineNames, span: Span
) -> Summary:
    """A ratio of two counters; its interval from the steps between scrapes."""
    top = names.counters.get(declared.numerator, ())
    bottom = names.counters.get(declared.denominator, ())
    if server.present(top) is None or server.present(bottom) is None:
        return Summary(missing={"": "the server does not count it"})
    whole = increase(server, bottom, span.start_ns, span.end_ns)
    part = increase(server, top, span.start_ns, span.end_ns)
    if not whole or part is None or whole < 0 or part < 0:
        return Summary(missing={"": declared.unused if whole == 0 else "a counter went down"})
    numerators = steps(server, top, span.start_ns, span.end_ns)
    denominators = steps(server, bottom, span.start_ns, span.end_ns)
    value = declared.offset + part / whole
    estimate, batches = _ratio_of_steps(numerators, denominators)
    if estimate is None or estimate.low is None or estimate.high is None:
        reason = f"{batches} steps between scrapes, {MIN_BATCHES} needed for an interval"
        return Summary(as_json(Estimate(value)), {"interval": reason})
    low = declared.offset + max(0.0, estimate.low)
    method = batch_means(len(numerators)) | {"batches": batches}
    return Summary(as_json(Estimate(value, low, declared.offset + estimate.high)), {}, method)


def _ratio_of_steps(top: Any, bottom: Any) -> tuple[Estimate | None, int]:
    if not len(bottom) or bottom.sum() <= 0:
        return None, len(bottom)
    firsts = batch_firsts(len(bottom), BATCHES)
    return ratio(np.add.reduceat(top, firsts), np.add.reduceat(bottom, firsts))


def server_section(run: Recorded, window: Window | None) -> dict[str, Any] | None:
    """The `server` part of results.json, flat; None without metrics or without a window.

    What this server does not count has no key.
    """
    server = run.server
    if server is None or window is None:
        return None
    names = names_spoken(server.series.keys())
    span = span_of(server, window)
    section: dict[str, Any] = {
        "sources": sorted(server.scrapes),
        "names_of": names.engine if names else None,
        "scrapes": sum(len(times) for times in server.scrapes.values()),
        "gaps": server.gaps,
    }
    if len(server.took_s):
        section["scrape_ms_mean"] = float(server.took_s.mean() * 1e3)
        section["scrape_ms_max"] = float(server.took_s.max() * 1e3)
    if names is None or span is None:
        return section
    section["span"] = {
        "start_s": span.start_ns / 1e9,
        "end_s": span.end_ns / 1e9,
        "edges": span.edges,
    }
    section |= _counters(server, names, span)
    section |= _latencies(server, names, span)
    section |= _gauges(server, names, span)
    check = token_check(run)
    if isinstance(check, TokenCheck):
        section["token_check"] = vars(check)
    return section


def _counters(server: ServerMetrics, names: EngineNames, span: Span) -> dict[str, Any]:
    grown: dict[str, Any] = {
        word: increase(server, alias, span.start_ns, span.end_ns)
        for word, alias in names.counters.items()
    }
    for word, one in names.labelled.items():
        grown[word] = increase_by_label(server, one.names, one.label, span.start_ns, span.end_ns)
    accepted = grown.pop("accepted_by_position", None)
    grown["acceptance_per_position"] = _per_position(accepted, grown.get("drafts"))
    return {word: amount for word, amount in grown.items() if amount is not None}


def _latencies(server: ServerMetrics, names: EngineNames, span: Span) -> dict[str, float]:
    """Mean and count of the engine's own histograms, in ms."""
    seen: dict[str, float] = {}
    for word, alias in names.histograms.items():
        delta = histogram_delta(server, alias, span.start_ns, span.end_ns)
        if delta is not None and delta.mean is not None:
            seen[f"{word}_mean_ms"] = delta.mean * 1e3
            seen[f"{word}_count"] = delta.count
    return seen


def _gauges(server: ServerMetrics, names: EngineNames, span: Span) -> dict[str, float]:
    seen: dict[str, float] = {}
    for word, gauge in names.gauges.items():
        over = gauge_over_time(
            server, gauge.names, gauge.combine, span.start_ns, span.end_ns, gauge.where
        )
        if over is not None:
            seen[f"{word}_mean"], seen[f"{word}_max"] = over.mean, over.max
    return seen


def _per_position(accepted: dict[str, float] | None, drafts: float | None) -> list[float] | None:
    """Accepted at each position / drafts, by position."""
    if not accepted or not drafts or not all(position.isdigit() for position in accepted):
        return None
    return [accepted[position] / drafts for position in sorted(accepted, key=int)]


def token_check(run: Recorded) -> TokenCheck | str:
    """Output tokens of all requests against the server's counter; or why not compared."""
    server, requests = run.server, run.requests
    names = names_spoken(server.series.keys()) if server is not None else None
    if server is None or names is None:
        return NO_METRICS
    sent = requests.sent[~np.isnan(requests.sent)]
    instants = server.instants
    ends = requests.end[~np.isnan(requests.end)]
    if not len(sent) or not len(ends):
        return "no request was sent"
    if instants[0] > sent.min() or instants[-1] < ends.max():
        return "the scrapes do not enclose the load"
    counter = names.counters.get("generation_tokens", ())
    counted = increase(server, counter, int(instants[0]), int(instants[-1]))
    if counted is None or counted <= 0:
        return "the server counted no output tokens"
    unknown = np.isnan(requests.output_tokens)
    if (unknown & requests.ok).any():
        return f"{int((unknown & requests.ok).sum())} answers have no token count"
    client = float(np.nansum(requests.output_tokens))
    broken = int((~requests.ok & ~np.isnan(requests.sent)).sum())
    limited = None
    if broken:
        limited = f"{broken} requests did not finish; what they produced is not known to the client"
    return TokenCheck(int(client), int(counted), (client - counted) / counted, limited)


def restart_of(run: Recorded) -> Restart | None:
    """The first sign that a counter began anew during the load; None without one."""
    if run.server is None:
        return None
    names = names_spoken(run.server.series.keys())
    counting = (
        ()
        if names is None
        else tuple(f"{alias}_count" for many in names.histograms.values() for alias in many)
    )
    found = restarts(run.server, counting)
    return found[0] if found else None

"""The series by which a run is judged steady: throughput, latencies, requests in flight."""

from dataclasses import dataclass

import numpy as np

from runners.measure.events import output_tokens
from runners.measure.records import Floats, Recorded, Requests

MOST_INTERVALS, FEWEST_INTERVALS = 400, 50
# Fewer, and an interval shows single requests instead of the load.
REQUESTS_PER_INTERVAL = 5


@dataclass(frozen=True)
class Series:
    """values in order of time. starts, ends: ns in which each point lies (equal: an instant).

    interval_s: length of a point, None where each is one request.
    of_load: where it falls at the end, the load went away, whatever the server did.
    """

    name: str
    values: Floats
    starts: Floats
    ends: Floats
    interval_s: float | None
    of_load: bool

    def within(self, start: float, end: float) -> "Series":
        """The points that lie wholly inside [start, end]."""
        first = int(np.searchsorted(self.starts, start, side="left"))
        last = max(first, int(np.searchsorted(self.ends, end, side="right")))
        part = slice(first, last)
        return Series(
            self.name,
            self.values[part],
            self.starts[part],
            self.ends[part],
            self.interval_s,
            self.of_load,
        )


def load_series(run: Recorded, start: float, end: float) -> tuple[list[Series], dict[str, str]]:
    """The series over (start, end] ns, and why one is missing by its name."""
    series: list[Series] = []
    missing: dict[str, str] = {}
    sent = run.requests.sent
    count = int(((sent >= start) & (sent <= end)).sum()) // REQUESTS_PER_INTERVAL
    count = min(max(count, FEWEST_INTERVALS), MOST_INTERVALS)
    edges = np.linspace(start, end, count + 1)
    interval_s = (end - start) / count / 1e9
    tokens = output_tokens(run)
    if isinstance(tokens, str):
        missing["output_throughput_tok_s"] = tokens
    else:
        sums, _ = tokens.sums(start, end, count)
        rate = sums / interval_s
        name = "output_throughput_tok_s"
        series.append(Series(name, rate, edges[:-1], edges[1:], interval_s, False))
    flying = in_flight(run.requests, edges)
    series.append(Series("in_flight", flying, edges[:-1], edges[1:], interval_s, True))
    requests = run.requests
    arrivals = {"ttft_ms": requests.first, "e2e_latency_ms": requests.last}
    for name, arrived in arrivals.items():
        latency = (arrived - sent) / 1e6
        inside = requests.ok & ~requests.warmup & (sent >= start) & (sent <= end)
        used = inside & ~np.isnan(latency)
        if used.any():
            series.append(Series(name, latency[used], sent[used], sent[used], None, False))
        else:
            missing[name] = "no request has it"
    return series, missing


def in_flight(requests: Requests, edges: Floats) -> Floats:
    """Mean number of requests in flight between successive edges (ns); all requests count."""
    sent = requests.sent[~np.isnan(requests.sent)]
    ended = requests.end[~np.isnan(requests.sent) & ~np.isnan(requests.end)]
    area = _area(sent, edges) - _area(ended, edges)
    return np.asarray(np.diff(area) / np.diff(edges), np.float64)


def _area(times: Floats, edges: Floats) -> Floats:
    """Sum over times of how long ago each was at every edge (0 before it)."""
    ordered = np.sort(times - edges[0])
    at = edges - edges[0]
    before = np.searchsorted(ordered, at, side="right")
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return np.asarray(at * before - sums[before], np.float64)

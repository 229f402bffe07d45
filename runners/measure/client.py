"""How the client itself did: what it was to send, what it sent, and how late."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runners.measure.records import Floats, Recorded
from runners.measure.statistics import rank
from runners.measure.window import Window

LAST_SENDS = 10


@dataclass(frozen=True)
class Offered:
    """Plan against deed of an open loop, over the measured part of the schedule.

    shortfall: share of the planned rate that was not reached.
    """

    planned: int
    sent: int
    planned_req_s: float
    sent_req_s: float
    shortfall: float


@dataclass(frozen=True)
class SendLag:
    """Sent minus intended over requests that did not wait for the concurrency cap, in ms."""

    count: int
    p50: float
    p99: float
    max: float


def offered(run: Recorded) -> Offered | None:
    """The rate that was offered; None in a closed loop, or for fewer than two planned sends.

    The rate sent is the share of requests sent, times planned time / (planned time + lag) of
    the last ten sends (their median, so that one late send is not a lower rate): a client
    that falls behind shows although it sends every request in the end.
    """
    requests = run.requests
    if not run.open_loop or run.interrupted:
        return None
    measured = ~requests.warmup
    if run.plan is not None:
        ids, intended = run.plan.request_id, run.plan.intended
    else:
        order = np.argsort(requests.intended[measured], kind="stable")
        ids, intended = requests.request_id[measured][order], requests.intended[measured][order]
    if len(ids) < 2 or intended[-1] <= intended[0]:
        return None
    gone = np.full(int(max(ids.max(), requests.request_id.max(initial=0))) + 1, np.nan)
    # A refused connection was an attempt in time: it is a failure, not a missing send.
    tried = np.where(np.isnan(requests.sent) & requests.failed, requests.intended, requests.sent)
    gone[requests.request_id] = tried
    lag, due = gone[ids] - intended, intended - intended[0]
    was_sent = ~np.isnan(lag)
    sent = int(was_sent.sum())
    kept_up = 1.0
    if sent > 1:
        last = slice(-min(LAST_SENDS, sent // 2), None)
        due, late = due[was_sent][last], np.maximum(lag[was_sent][last], 0.0)
        kept_up = float(np.median(due / np.maximum(due + late, 1.0)))
    planned_rate = (len(ids) - 1) / (intended[-1] - intended[0]) * 1e9
    share = sent / len(ids) * kept_up
    return Offered(len(ids), sent, planned_rate, planned_rate * share, 1 - share)


def send_lag(run: Recorded, window: Window | None) -> SendLag | None:
    """Send lag inside the window; None in a closed loop or without such sends."""
    if not run.open_loop or window is None:
        return None
    requests = run.requests
    chosen = ~requests.warmup & ~requests.capped & window.began(requests.sent)
    lags: Floats = np.sort((requests.sent - requests.intended)[chosen] / 1e6)
    if not len(lags):
        return None
    middle, tail = lags[rank(len(lags), 0.5)], lags[rank(len(lags), 0.99)]
    return SendLag(len(lags), float(middle), float(tail), float(lags[-1]))


@dataclass(frozen=True)
class UsageCheck:
    """Tokens counted chunk by chunk against the final usage of the same answers.

    difference: (chunks - usage) / usage.
    """

    chunks: int
    usage: int
    difference: float


def usage_check(run: Recorded) -> UsageCheck | None:
    """Over ok requests with usage; None where chunks have no count of their own.

    Tokens without a chunk were added to the last one, so only chunks that carry more
    tokens than usage admits can disagree.
    """
    requests, chunks = run.requests, run.chunks
    if chunks is None or run.load.get("token_split") != "continuous_usage":
        return None
    counted = requests.ok & (requests.output_tokens > 0)
    usage = float(requests.output_tokens[counted].sum())
    if not usage or not chunks.count:
        return None
    carried = float(chunks.tokens[requests.request_id[counted]].sum())
    return UsageCheck(round(carried), round(usage), carried / usage - 1)


def client_section(
    run: Recorded, plan: Offered | None, lag: SendLag | None, usage: UsageCheck | None
) -> dict[str, Any]:
    """The `client` part of results.json."""
    requests, load = run.requests, run.load
    sources = {
        name: int((requests.token_source == code).sum())
        for code, name in enumerate(requests.token_sources)
    }
    return {
        "pattern": load.get("pattern"),
        "arrival_stamp": load.get("arrival_stamp"),
        "token_split": load.get("token_split"),
        "token_sources": sources,
        "usage_check": None if usage is None else asdict(usage),
        "read_lag_p99_ms": load.get("read_lag_p99_ms"),
        "loop_stall_p99_ms": load.get("loop_stall_p99_ms"),
        "loop_stalls": load.get("loop_stalls"),
        "gc_pauses": load.get("gc_pauses"),
        "worker_cpu_share": load.get("worker_cpu_share"),
        "reconnects": load.get("reconnects"),
        "capped": int((requests.capped & ~requests.warmup).sum()),
        "connect_ms": _quantiles_ms(requests.connect[~requests.warmup]),
        "tls_ms": _quantiles_ms(requests.tls[~requests.warmup]),
        "dns_ms": load.get("dns_ms"),
        "offered": None if plan is None else asdict(plan),
        "send_lag_ms": None if lag is None else asdict(lag),
    }


def _quantiles_ms(nanoseconds: Floats) -> dict[str, float] | None:
    """p50, p99 and max in ms; None where nothing was timed."""
    known = nanoseconds[~np.isnan(nanoseconds)] / 1e6
    if not len(known):
        return None
    p50, p99 = np.quantile(known, (0.5, 0.99), method="inverted_cdf")
    return {"p50": float(p50), "p99": float(p99), "max": float(known.max()), "count": len(known)}

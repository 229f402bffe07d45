"""A run judges itself: every signal, its thresholds, and what it makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from runners.measure.client import Offered, SendLag
from runners.measure.records import Recorded
from runners.measure.server import TokenCheck
from runners.telemetry.counters import Restart

READ_LAG_DEGRADED_MS = 5.0
CLOCK_STEP_NS = 50_000_000
FEW_CORES = 4

Level = Literal["degraded", "invalid"]


@dataclass(frozen=True)
class Reason:
    """One sentence with the figure and its threshold."""

    level: Level
    text: str


@dataclass(frozen=True)
class Evidence:
    """What the verdict rests on; None where a signal was not seen.

    samples: ok requests inside the window. ok, failed, by_error: measured requests of the
    whole run, those cut off by an interrupt apart. median_ttft_ms: of the window.
    """

    run: Recorded
    samples: int
    ok: int
    failed: int
    by_error: dict[str, int]
    median_ttft_ms: float | None
    offered: Offered | None
    send_lag: SendLag | None
    tokens: TokenCheck | None
    restart: Restart | None


def verdict(evidence: Evidence) -> dict[str, Any]:
    """{"status": valid | degraded | invalid, "reasons": [...]}, the gravest reasons first."""
    reasons = [reason for signal in SIGNALS for reason in signal(evidence)]
    invalid = [reason.text for reason in reasons if reason.level == "invalid"]
    degraded = [reason.text for reason in reasons if reason.level == "degraded"]
    status = "invalid" if invalid else "degraded" if degraded else "valid"
    return {"status": status, "reasons": invalid + degraded}


def _interrupted(evidence: Evidence) -> Iterator[Reason]:
    if evidence.run.interrupted:
        yield Reason("invalid", "interrupted")


def _worker_lost(evidence: Evidence) -> Iterator[Reason]:
    for lost in evidence.run.load.get("workers_lost") or ():
        yield Reason("invalid", f"a load worker was lost: {lost}")


def _failed(evidence: Evidence) -> Iterator[Reason]:
    total = evidence.ok + evidence.failed
    if not evidence.failed:
        return
    classes = ", ".join(f"{name}: {count}" for name, count in evidence.by_error.items())
    part = evidence.failed / total
    limits = evidence.run.profile.validity
    said = f"{evidence.failed} of {total} requests failed ({part:.2%}; {classes})"
    if not evidence.ok:
        yield Reason("invalid", f"all {total} requests failed ({classes})")
    elif part > limits.error_budget:
        yield Reason("invalid", f"{said}, above the error budget of {limits.error_budget:.2%}")
    elif part > limits.failed_degraded:
        yield Reason("degraded", f"{said}, above {limits.failed_degraded:.2%}")


def _samples(evidence: Evidence) -> Iterator[Reason]:
    if not evidence.samples and (evidence.ok or not evidence.failed):
        yield Reason("invalid", "no request that was sent in the measured window was answered")


def _offered_rate(evidence: Evidence) -> Iterator[Reason]:
    rate = evidence.offered
    if rate is None:
        return
    limits = evidence.run.profile.validity
    capped = int((evidence.run.requests.capped & ~evidence.run.requests.warmup).sum())
    why = f"; {capped} requests waited for the concurrency cap" if capped else ""
    said = (
        f"offered {rate.sent_req_s:.4g} of {rate.planned_req_s:.4g} planned requests/s, "
        f"{rate.shortfall:.1%} below the plan"
    )
    if rate.shortfall > limits.offered_rate_invalid:
        yield Reason("invalid", f"{said}, above {limits.offered_rate_invalid:.1%}{why}")
    elif rate.shortfall > limits.offered_rate_degraded:
        yield Reason("degraded", f"{said}, above {limits.offered_rate_degraded:.1%}{why}")


def _send_lag(evidence: Evidence) -> Iterator[Reason]:
    lag, median = evidence.send_lag, evidence.median_ttft_ms
    if lag is None:
        return
    limits = evidence.run.profile.validity
    said = f"send lag p99 was {lag.p99:.1f} ms"
    if median is not None and lag.p99 > limits.send_lag_invalid_share * median:
        share = limits.send_lag_invalid_share
        yield Reason("invalid", f"{said}, above {share:.0%} of the median TTFT ({median:.1f} ms)")
    elif lag.p99 > limits.send_lag_degraded_ms:
        yield Reason("degraded", f"{said}, above {limits.send_lag_degraded_ms:g} ms")
    elif median is not None and lag.p99 > limits.send_lag_degraded_share * median:
        share = limits.send_lag_degraded_share
        yield Reason("degraded", f"{said}, above {share:.0%} of the median TTFT ({median:.1f} ms)")


def _read_lag(evidence: Evidence) -> Iterator[Reason]:
    lag = evidence.run.load.get("read_lag_p99_ms")
    if isinstance(lag, int | float) and lag > READ_LAG_DEGRADED_MS:
        yield Reason(
            "degraded", f"client read lag p99 was {lag:.1f} ms, above {READ_LAG_DEGRADED_MS:g} ms"
        )


def _tokens(evidence: Evidence) -> Iterator[Reason]:
    check = evidence.tokens
    if check is None or (check.limited is not None and check.difference <= 0):
        return
    limits = evidence.run.profile.validity
    said = (
        f"client counted {check.client} output tokens, the server {check.server} "
        f"({check.difference:+.2%})"
    )
    apart = abs(check.difference)
    if apart > limits.token_mismatch_invalid:
        yield Reason("invalid", f"{said}, more than {limits.token_mismatch_invalid:.2%} apart")
    elif apart > limits.token_mismatch_degraded:
        yield Reason("degraded", f"{said}, more than {limits.token_mismatch_degraded:.2%} apart")


def _restart(evidence: Evidence) -> Iterator[Reason]:
    restart = evidence.restart
    if restart is not None:
        yield Reason(
            "invalid",
            f"server restarted, or several servers answer at its address: {restart.metric} went "
            f"from {restart.before:.15g} to {restart.after:.15g} at {restart.t_ns / 1e9:.1f} s",
        )


def _clock(evidence: Evidence) -> Iterator[Reason]:
    step = evidence.run.load.get("clock_step_ns")
    if isinstance(step, int | float) and abs(step) > CLOCK_STEP_NS:
        yield Reason(
            "invalid", f"the clock stepped by {step / 1e6:.0f} ms, above {CLOCK_STEP_NS / 1e6:g} ms"
        )


def _shared_host(evidence: Evidence) -> Iterator[Reason]:
    cores = evidence.run.load.get("client_cores")
    if evidence.run.load.get("shared_host") and isinstance(cores, int) and cores <= FEW_CORES:
        yield Reason(
            "degraded",
            f"client and engine share {cores} cores; more than {FEW_CORES} would keep them apart",
        )


SIGNALS = (
    _interrupted,
    _worker_lost,
    _failed,
    _samples,
    _restart,
    _clock,
    _offered_rate,
    _send_lag,
    _read_lag,
    _tokens,
    _shared_host,
)

"""A run judges itself: every signal, its thresholds, and what it makes of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from runners.measure.client import Offered, SendLag, UsageCheck
from runners.measure.records import Recorded
from runners.measure.server import TokenCheck
from runners.measure.window import Window
from runners.profiles.model import Validity
from runners.telemetry.counters import Restart

_SENDS_FOR_P99 = 100
_PROMPTS_OFF = 0.05
_PREFIX_HITS = 0.10

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
    prefix_hits: share of prompt tokens that the server had in its prefix cache.
    """

    run: Recorded
    samples: int
    ok: int
    failed: int
    by_error: dict[str, int]
    median_ttft_ms: float | None
    offered: Offered | None
    send_lag: SendLag | None
    usage: UsageCheck | None
    tokens: TokenCheck | None
    window: Window | None
    restart: Restart | None
    prefix_hits: float | None = None


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


def _stopped(evidence: Evidence) -> Iterator[Reason]:
    if evidence.run.load.get("stopped"):
        yield Reason("invalid", f"the load stopped early: {evidence.run.load['stopped']}")


def _failed(evidence: Evidence) -> Iterator[Reason]:
    total = evidence.ok + evidence.failed
    if not evidence.failed:
        return
    classes = ", ".join(f"{name}: {count}" for name, count in evidence.by_error.items())
    part = evidence.failed / total
    limits = _limits(evidence)
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
    limits = _limits(evidence)
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
    limits = _limits(evidence)
    said = f"send lag p99 was {lag.p99:.1f} ms"
    if median is not None and lag.p99 > limits.send_lag_invalid_share * median:
        share = limits.send_lag_invalid_share
        # Of fewer sends the p99 is the one latest: no ground to throw the run away.
        level: Level = "invalid" if lag.count >= _SENDS_FOR_P99 else "degraded"
        yield Reason(level, f"{said}, above {share:.0%} of the median TTFT ({median:.1f} ms)")
    elif lag.p99 > limits.send_lag_degraded_ms:
        yield Reason("degraded", f"{said}, above {limits.send_lag_degraded_ms:g} ms")
    elif median is not None and lag.p99 > limits.send_lag_degraded_share * median:
        share = limits.send_lag_degraded_share
        yield Reason("degraded", f"{said}, above {share:.0%} of the median TTFT ({median:.1f} ms)")


def _read_lag(evidence: Evidence) -> Iterator[Reason]:
    lag, limit = _fact(evidence, "read_lag_p99_ms"), _limits(evidence).read_lag_degraded_ms
    if lag is not None and lag > limit:
        yield Reason("degraded", f"client read lag p99 was {lag:.1f} ms, above {limit:g} ms")


def _loop_stalls(evidence: Evidence) -> Iterator[Reason]:
    stall, limit = _fact(evidence, "loop_stall_p99_ms"), _limits(evidence).loop_stall_degraded_ms
    if stall is not None and stall > limit:
        often = _fact(evidence, "loop_stalls")
        count = "" if often is None else f" ({often:.0f} stalls)"
        said = f"a load worker's event loop stalled for {stall:.1f} ms at p99{count}"
        yield Reason("degraded", f"{said}, above {limit:g} ms")


def _worker_cpu(evidence: Evidence) -> Iterator[Reason]:
    used, limit = _fact(evidence, "worker_cpu_share"), _limits(evidence).worker_cpu_degraded
    if used is not None and used > limit:
        said = f"the busiest load worker used {used:.0%} of a core, above {limit:.0%}"
        yield Reason("degraded", f"{said}; more load.workers would help")


def _reconnects(evidence: Evidence) -> Iterator[Reason]:
    again, limit = _fact(evidence, "reconnects"), _limits(evidence).reconnects_degraded
    sent = int((~np.isnan(evidence.run.requests.sent)).sum())
    if again is not None and sent and again / sent > limit:
        said = f"{again:.0f} connections were made anew for {sent} requests ({again / sent:.1%})"
        yield Reason("degraded", f"{said}, above {limit:.1%}")


def _steady_state(evidence: Evidence) -> Iterator[Reason]:
    window = evidence.window
    if window is not None and window.steady is False:
        yield Reason("degraded", f"steady state not found: {', '.join(window.unsteady)}")


def _fact(evidence: Evidence, name: str) -> float | None:
    """A number the driver noted; None where it did not."""
    value = evidence.run.load.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _limits(evidence: Evidence) -> Validity:
    return evidence.run.profile.validity


def _usage(evidence: Evidence) -> Iterator[Reason]:
    check = evidence.usage
    if check is not None:
        said = f"chunks carried {check.chunks} output tokens, usage says {check.usage}"
        yield from _apart(evidence, said, check.difference)


def _tokens(evidence: Evidence) -> Iterator[Reason]:
    check = evidence.tokens
    if check is None or (check.limited is not None and check.difference <= 0):
        return
    said = f"client counted {check.client} output tokens, the server {check.server}"
    yield from _apart(evidence, said, check.difference)


def _apart(evidence: Evidence, said: str, difference: float) -> Iterator[Reason]:
    limits, said = _limits(evidence), f"{said} ({difference:+.2%})"
    if abs(difference) > limits.token_mismatch_invalid:
        yield Reason("invalid", f"{said}, more than {limits.token_mismatch_invalid:.2%} apart")
    elif abs(difference) > limits.token_mismatch_degraded:
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
    step, limit = _fact(evidence, "clock_step_ns"), _limits(evidence).clock_step_invalid_ms
    if step is not None and abs(step) / 1e6 > limit:
        yield Reason("invalid", f"the clock stepped by {step / 1e6:.0f} ms, above {limit:g} ms")
    drift = _fact(evidence, "clock_drift_ns")
    if drift is not None and abs(drift) / 1e6 > limit:
        yield Reason(
            "invalid",
            f"a load worker's clock drifted by {drift / 1e6:.0f} ms from ours, above {limit:g} ms",
        )


def _prompt_lengths(evidence: Evidence) -> Iterator[Reason]:
    """Without a tokenizer prompts are made of words, and only the server knows their length."""
    run, workload = evidence.run, evidence.run.profile.workload
    known = run.requests.prompt_tokens[run.requests.ok]
    known = known[~np.isnan(known)]
    if run.load.get("prompt_lengths") != "estimated" or run.profile.load.trace or not len(known):
        return
    planned, mean = workload.mean_input_tokens(), float(known.mean())
    if abs(mean / planned - 1) > _PROMPTS_OFF:
        yield Reason(
            "degraded",
            f"prompts had {mean:.0f} tokens on average, {planned:.0f} were planned; "
            "model.tokenizer makes them exact",
        )


def _cached_prompts(evidence: Evidence) -> Iterator[Reason]:
    """Prompts that share nothing by plan, and yet were known to the server."""
    share, workload = evidence.prefix_hits, evidence.run.profile.workload
    plain = workload.kind == "synthetic" and not workload.shared_prefix and not workload.repetition
    if plain and share is not None and share > _PREFIX_HITS:
        yield Reason(
            "degraded",
            f"{share:.0%} of the prompt tokens came from the server's prefix cache though the "
            "workload shares none; after an earlier run with this seed, take another: --seed N",
        )


def _shared_host(evidence: Evidence) -> Iterator[Reason]:
    cores, few = _fact(evidence, "client_cores"), _limits(evidence).few_cores
    if evidence.run.load.get("shared_host") and cores is not None and cores <= few:
        yield Reason(
            "degraded",
            f"client and engine share {cores:.0f} cores; more than {few} would keep them apart",
        )


def _way_in(evidence: Evidence) -> Iterator[Reason]:
    """What the target says of the way to it, such as a port-forward."""
    for text in _engine_facts(evidence).get("degraded") or ():
        yield Reason("degraded", str(text))


def _disturbed(evidence: Evidence) -> Iterator[Reason]:
    """Restarts, roll-outs and lost pods while the load ran; replicas that a scaler moves are
    the subject of such a run, and only make it less certain."""
    begun = float(evidence.run.load.get("t0_unix_ns") or 0) / 1e9
    scaled = evidence.run.profile.serving.autoscaling.autoscaler != "none"
    for each in _engine_facts(evidence).get("disturbances") or ():
        if each["unix_s"] < begun or each.get("level") not in ("degraded", "invalid"):
            continue
        invalid = each["level"] == "invalid" and not (scaled and each["kind"].startswith("pod "))
        level: Level = "invalid" if invalid else "degraded"
        yield Reason(level, str(each["text"]))


def _engine_facts(evidence: Evidence) -> dict[str, Any]:
    return (evidence.run.environment.get("engine") or {}).get("facts") or {}


SIGNALS = (
    _interrupted,
    _worker_lost,
    _stopped,
    _failed,
    _samples,
    _restart,
    _disturbed,
    _clock,
    _offered_rate,
    _send_lag,
    _read_lag,
    _loop_stalls,
    _worker_cpu,
    _reconnects,
    _usage,
    _tokens,
    _steady_state,
    _prompt_lengths,
    _cached_prompts,
    _shared_host,
    _way_in,
)

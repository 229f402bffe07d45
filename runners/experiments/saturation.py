"""Doubling the load until the server gives no more, and where that knee is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runners.errors import UsageError
from runners.experiments.rounds import Conclusion, Finished, Round, figure, first_free
from runners.load.schedule import pace
from runners.profiles.engine_section import Json
from runners.profiles.model import Profile

THROUGHPUT = "output_throughput_tok_s"
# Less growth than this for twice the load is no growth.
LEAST_GROWTH = 0.05
# A million times the first load; a server that follows so far is not being measured.
_MOST_STEPS = 20


@dataclass(frozen=True)
class Saturation:
    """Steps of twice the rate (open loop) or concurrency (closed loop) of the step before."""

    kind: str = "saturation"
    together: bool = True

    def settings(self) -> dict[str, Any]:
        return {"factor": 2, "least_growth": LEAST_GROWTH}

    def next_round(self, profile: Profile, finished: Sequence[Finished]) -> Round | None:
        index = first_free(finished)
        steps = [each for each in finished if each.round.index < index]
        if index >= _MOST_STEPS or _is_over(steps):
            return None
        varied = _varied(profile, 2**index)
        key = next(iter(varied))
        name = f"{key.removeprefix('load.')}-{varied[key]:g}"
        return Round(index, name, profile.load.seed + index, varied)

    def progress_text(self, profile: Profile, coming: Round) -> str:
        return f"Step {coming.index + 1}: {_load_text(coming)}, seed {coming.seed}"

    def conclusion(self, profile: Profile, finished: Sequence[Finished]) -> Conclusion:
        return _concluded(finished)


def load_key(profile: Profile, flag: str = "--saturate") -> str:
    """The profile key that is raised. Raises UsageError for a load that has none."""
    pattern = profile.load.resolved_pattern()
    if pattern == "closed":
        return "load.concurrency"
    if profile.load.rate is None:
        raise UsageError(
            f"{flag} raises load.rate or load.concurrency, and pattern {pattern} has "
            "neither; give --rate or --concurrency"
        )
    return "load.rate"


def _varied(profile: Profile, factor: int) -> dict[str, Json]:
    """The load times `factor`; counts of requests grow with it, so that a step lasts as long."""
    key, load, plan = load_key(profile), profile.load, pace(profile.load)
    first = load.rate if key == "load.rate" else plan.concurrency
    assert first is not None
    varied: dict[str, Json] = {key: first * factor}
    if plan.requests is not None:
        varied["load.requests"] = plan.requests * factor
    if load.warmup is not None and load.warmup.requests:
        varied["load.warmup.requests"] = load.warmup.requests * factor
    return varied


def growth(before: Finished, step: Finished) -> float | None:
    """Growth of output throughput as a share of the step before; None: not measured."""
    first, second = figure(before.results, THROUGHPUT), figure(step.results, THROUGHPUT)
    return None if not first or second is None else second / first - 1


def _is_over(steps: Sequence[Finished]) -> bool:
    if not steps:
        return False
    if not steps[-1].is_valid or figure(steps[-1].results, THROUGHPUT) is None:
        return True
    grown = growth(steps[-2], steps[-1]) if len(steps) > 1 else 1.0
    return grown is None or grown < LEAST_GROWTH


def _concluded(steps: Sequence[Finished]) -> Conclusion:
    """The knee is the last step that more load still made faster."""
    valid = [step for step in steps if step.is_valid]
    facts: dict[str, Any] = {"steps": len(steps), "knee": None}
    if not steps:
        return Conclusion("no step was finished", facts)
    if not valid:
        return Conclusion(f"no knee: {_load_text(steps[0].round)} is invalid already", facts)
    last = valid[-1]
    facts["highest_valid"] = _point(last)
    if not _is_over(steps):
        text = f"no knee yet: throughput still grows at {_load_text(last.round)}"
    elif not steps[-1].is_valid:
        text = (
            f"no knee: throughput grew up to {_load_text(last.round)} ({_rate_text(last)}), and "
            f"{_load_text(steps[-1].round)} is invalid"
        )
    elif len(steps) < 2 or (grown := growth(steps[-2], steps[-1])) is None:
        text = "no knee: output throughput was not measured"
    else:
        facts["knee"] = _point(steps[-2])
        text = (
            f"knee at {_load_text(steps[-2].round)}: {_rate_text(steps[-2])}; twice the load "
            f"changes it by {100 * grown:+.1f} %{_caution(steps)}"
        )
    return Conclusion(text, facts)


def _point(step: Finished) -> dict[str, Any]:
    key = next(iter(step.round.varied))
    return {
        "round": step.round.index + 1,
        "run": step.run,
        "key": key,
        "value": step.round.varied[key],
        THROUGHPUT: figure(step.results, THROUGHPUT),
    }


def _load_text(step: Round) -> str:
    """`concurrency 16`, `4 req/s`."""
    key, value = next(iter(step.varied.items()))
    return f"{value:g} req/s" if key == "load.rate" else f"concurrency {value}"


def _rate_text(step: Finished) -> str:
    return f"{figure(step.results, THROUGHPUT):,.0f} tok/s"


def _caution(steps: Sequence[Finished]) -> str:
    """What degraded the last step alone: it may be why throughput stopped growing."""
    known = {_shape(reason) for reason in steps[0].results["verdict"]["reasons"]}
    reasons = steps[-1].results["verdict"]["reasons"]
    new = [reason for reason in reasons if _shape(reason) not in known]
    return f". Beware, that step is degraded: {new[0]}" if new else ""


def _shape(reason: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", reason)

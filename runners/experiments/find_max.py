"""The highest load that keeps the objectives: doubling until one breaks, then halving the gap.

A step keeps them when every objective passes with its interval; one that is undecided is
counted as not kept, since nothing has shown that it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runners.errors import UsageError
from runners.experiments.rounds import Conclusion, Finished, Round, first_free
from runners.experiments.saturation import load_key
from runners.experiments.slo import ERROR_RATE, Z2, Checked, check_run, objectives
from runners.measure.latency import QUANTILES
from runners.measure.statistics import samples_for_interval
from runners.profiles.engine_section import Json
from runners.profiles.model import Profile

GOODPUT = "goodput_fraction"
GOODPUT_SHARE = 0.99
# The gap between kept and broken, as a share of the kept load, that is small enough.
PRECISION = 0.05
_MOST_STEPS = 24
_SMALLEST_RATE = 0.01


@dataclass(frozen=True)
class FindMax:
    """Steps of load.rate (open loop) or load.concurrency (closed loop)."""

    precision: float = PRECISION
    kind: str = "find-max"
    together: bool = True

    def settings(self) -> dict[str, Any]:
        return {"precision": self.precision}

    def next_round(self, profile: Profile, finished: Sequence[Finished]) -> Round | None:
        asked = asked_of(profile)
        key = load_key(profile, "--find-max")
        index = first_free(finished)
        steps = [each for each in finished if each.round.index < index]
        load = _next_load(profile, key, steps, asked, self.precision)
        if load is None or index >= _MOST_STEPS:
            return None
        name = f"{key.removeprefix('load.')}-{load:.6g}"
        return Round(index, name, profile.load.seed + index, _varied(profile, key, load))

    def progress_text(self, profile: Profile, coming: Round) -> str:
        return f"Step {coming.index + 1}: {_load_text(coming)}, seed {coming.seed}"

    def conclusion(self, profile: Profile, finished: Sequence[Finished]) -> Conclusion:
        asked = asked_of(profile)
        key = load_key(profile, "--find-max")
        done = _next_load(profile, key, finished, asked, self.precision) is None
        return _concluded(finished, asked, key, done=done)


def asked_of(profile: Profile) -> dict[str, Any]:
    """The objectives as limits: the profile's own, and goodput where it limits requests.

    Raises UsageError for a profile that limits nothing.
    """
    slo = profile.slo.model_dump()
    limits = dict(slo.pop("limits"))
    if any(value is not None for value in slo.values()):
        limits.setdefault(GOODPUT, f">= {GOODPUT_SHARE:g}")
    if not limits:
        raise UsageError(
            "--find-max: the profile names no objective; add for example "
            "`slo: {ttft_ms: 500, tpot_ms: 50}`, or give --slo FILE"
        )
    objectives(limits, "slo.limits")
    return limits


def judged(step: Finished, asked: Mapping[str, Any]) -> list[Checked]:
    """Every objective against one step."""
    return check_run(step.results, objectives(asked, "slo.limits"))


def keeps(step: Finished, asked: Mapping[str, Any]) -> bool:
    """Whether a step has shown that it keeps every objective."""
    return all(each.outcome == "pass" for each in judged(step, asked))


def _bounds(
    steps: Sequence[Finished], asked: Mapping[str, Any], key: str
) -> tuple[float | None, float | None]:
    """(highest load kept below every broken one, lowest load broken); None where none is."""
    broken = [_load(step, key) for step in steps if not keeps(step, asked)]
    lowest = min(broken, default=None)
    kept = [_load(step, key) for step in steps if keeps(step, asked)]
    below = [load for load in kept if lowest is None or load < lowest]
    return max(below, default=None), lowest


def _load(step: Finished, key: str) -> float:
    return float(step.round.varied[key])


def _next_load(
    profile: Profile,
    key: str,
    steps: Sequence[Finished],
    asked: Mapping[str, Any],
    precision: float,
) -> float | None:
    """The load to try next; None: the answer is known, or cannot be found."""
    if not steps:
        return float(_first(profile, key))
    if not steps[-1].results["requests"]["ok"]:
        return None
    kept, broken = _bounds(steps, asked, key)
    whole = key == "load.concurrency"
    if broken is None:
        return 2 * (kept or 1.0)
    if kept is None:
        return _lower(broken, whole=whole)
    middle = (kept * broken) ** 0.5
    if whole:
        middle = float((int(kept) + int(broken)) // 2)
        return None if middle in (kept, broken) or broken / kept - 1 <= precision else middle
    return None if broken / kept - 1 <= precision else float(f"{middle:.4g}")


def _lower(broken: float, *, whole: bool) -> float | None:
    """Half of a load that broke; None where that is next to nothing."""
    lower = float(int(broken) // 2) if whole else broken / 2
    return lower if lower >= (1 if whole else _SMALLEST_RATE) else None


def enough_requests(asked: Mapping[str, Any]) -> int:
    """Requests that a step needs so that a perfect one can be told from one that is not.

    A share of s: Wilson's interval of n hits of n reaches above s for n > z^2 s / (1 - s).
    A percentile: as many as bound it from above.
    """
    needed = 100
    for each in objectives(asked, "slo.limits"):
        quantile = QUANTILES.get(each.metric.rpartition(".")[2])
        share = each.limit if each.sign == ">=" else 1 - each.limit
        if quantile is not None:
            needed = max(needed, samples_for_interval(quantile))
        elif each.metric in (GOODPUT, ERROR_RATE) and 0 < share < 1:
            needed = max(needed, math.ceil(Z2 * share / (1 - share)) + 1)
    # Some of the requests fall outside the steady window.
    return math.ceil(1.25 * needed)


def _first(profile: Profile, key: str) -> float:
    load = profile.load.rate if key == "load.rate" else profile.load.concurrency
    return load or 1.0


def _varied(profile: Profile, key: str, load: float) -> dict[str, Json]:
    """The load of a step, long enough to judge by.

    A fixed number of requests grows with the load, so that steps last alike; a duration that
    would send too few becomes a number of requests.
    """
    varied: dict[str, Json] = {key: int(load) if key == "load.concurrency" else load}
    needed = enough_requests(asked_of(profile))
    requests, duration = profile.load.requests, profile.load.duration_s
    if requests is not None and duration is None:
        varied["load.requests"] = max(needed, round(requests * load / _first(profile, key)))
    elif duration is not None and key == "load.rate" and load * duration < needed:
        varied |= {"load.duration_s": None, "load.requests": needed}
    return varied


def _load_text(step: Round) -> str:
    key, value = next(iter(step.varied.items()))
    return f"{value:g} req/s" if key == "load.rate" else f"concurrency {value:g}"


def _concluded(
    steps: Sequence[Finished], asked: Mapping[str, Any], key: str, *, done: bool
) -> Conclusion:
    kept, broken = _bounds(steps, asked, key)
    unit = "req/s" if key == "load.rate" else "in flight"
    facts: dict[str, Any] = {
        "key": key,
        "limits": dict(asked),
        "highest_kept": kept,
        "lowest_not_kept": broken,
        "steps": [_step_json(step, asked, key) for step in steps],
        "found": done and kept is not None and broken is not None,
    }
    if not steps:
        return Conclusion("no step was finished", facts)
    if kept is None:
        text = f"no load was shown to keep the objectives; {_why(steps, asked, key, broken, unit)}"
    elif broken is None:
        text = f"{kept:g} {unit} keeps the objectives, and no higher load was tried"
    else:
        text = (
            f"{kept:g} {unit} is the highest load shown to keep the objectives; "
            f"{_why(steps, asked, key, broken, unit)}"
        )
    return Conclusion(text, facts)


def _why(
    steps: Sequence[Finished], asked: Mapping[str, Any], key: str, broken: float | None, unit: str
) -> str:
    """The first objective that the lowest broken load did not keep."""
    step = next(step for step in steps if _load(step, key) == broken)
    reason = next(each for each in judged(step, asked) if each.outcome != "pass")
    said = "undecided: " if reason.outcome == "undecided" else ""
    return f"at {broken:g} {unit}: {said}{reason.text}"


def _step_json(step: Finished, asked: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {
        "run": step.run,
        "load": _load(step, key),
        "status": step.results["verdict"]["status"],
        "kept": keeps(step, asked),
        "objectives": [
            {"text": each.text, "outcome": each.outcome} for each in judged(step, asked)
        ],
    }

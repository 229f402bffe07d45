"""How far two sides differ, and how sure that is.

The run is the unit: what differs from run to run (start-up, neighbours, temperature) is in
no interval of a single run. With three rounds or more the sides are compared round by
round, since a round sends both sides the same requests: Student's t over the logarithms of
their ratios, so that a gain and its inverse weigh alike. With fewer, each run's own interval
(which respects autocorrelation inside the run) is all there is, and the result says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from runners.measure.statistics import BATCHES, CONFIDENCE, student

FEWEST_ROUNDS = 3
POWER = 0.80
_ALPHA = 1 - CONFIDENCE

Better = Literal["lower", "higher"]
Verdict = Literal["better", "worse", "no difference shown", "not comparable"]


@dataclass(frozen=True)
class Value:
    """A figure of one run; low and high: its own 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Difference:
    """Of side B to side A.

    ratio: B / A with its 95 % interval (null where a value is not positive); difference:
    B - A. p: two-sided, of no difference, None where no interval can be given. effect:
    Hedges' g over the rounds' differences; None with fewer than three rounds.
    rounds_needed: rounds that would show a change of the given share with 80 % power.
    """

    baseline: float
    value: float
    difference: tuple[float, float | None, float | None]
    ratio: tuple[float, float | None, float | None] | None
    p: float | None
    effect: float | None
    method: str
    rounds: int
    rounds_needed: Mapping[str, int | None]


def paired(a: Sequence[Value], b: Sequence[Value]) -> Difference:
    """Side B against side A, round by round. Raises ValueError for no rounds, or unequal ones."""
    if not a or len(a) != len(b):
        raise ValueError("the sides need the same number of rounds, at least one")
    first = np.array([each.value for each in a], np.float64)
    second = np.array([each.value for each in b], np.float64)
    on_logs = bool((first > 0).all() and (second > 0).all())
    steps = np.log(second / first) if on_logs else second - first
    middle = float(steps.mean())
    if len(a) >= FEWEST_ROUNDS:
        error, freedom = float(steps.std(ddof=1)) / math.sqrt(len(a)), float(len(a) - 1)
        method = "Student's t over rounds" + (", logarithms of ratios" if on_logs else "")
    else:
        error, freedom = _within(a, b, logs=on_logs)
        method = "each run's own interval; differences from run to run are not in it"
    half = None if math.isnan(error) else student(freedom) * error
    span = (middle, *((None, None) if half is None else (middle - half, middle + half)))
    base = float(np.exp(np.log(first).mean())) if on_logs else float(first.mean())
    to = base * math.exp(middle) if on_logs else base + middle
    ratio = tuple(None if each is None else math.exp(each) for each in span) if on_logs else None
    change = tuple(None if r is None else base * (r - 1) for r in ratio) if ratio else span
    return Difference(
        base,
        to,
        change,  # type: ignore[arg-type]
        ratio,  # type: ignore[arg-type]
        _p(middle, error, freedom),
        _hedges(steps) if len(a) >= FEWEST_ROUNDS else None,
        method,
        len(a),
        _needed(steps, on_logs, base) if len(a) >= FEWEST_ROUNDS else {},
    )


def _within(a: Sequence[Value], b: Sequence[Value], *, logs: bool) -> tuple[float, float]:
    """(standard error of the mean step, freedom) from the runs' own intervals; NaN without."""
    squares = []
    for each in (*a, *b):
        if each.low is None or each.high is None:
            return math.nan, 1.0
        low, high = each.low, each.high
        if logs:
            if low <= 0:
                return math.nan, 1.0
            low, high = math.log(low), math.log(high)
        squares.append(((high - low) / 2 / student(BATCHES - 1)) ** 2)
    total = sum(squares)
    # Welch and Satterthwaite: the freedom of a sum of variances.
    freedom = total**2 / sum(s**2 / (BATCHES - 1) for s in squares) if total else 1.0
    return math.sqrt(total) / len(a), freedom


def _p(middle: float, error: float, freedom: float) -> float | None:
    from scipy.special import stdtr

    if math.isnan(error):
        return None
    if error == 0:
        return 1.0 if middle == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(middle) / error))


def _hedges(steps: "np.typing.NDArray[np.float64]") -> float | None:
    """Mean step over its standard deviation, less the bias of few rounds (Hedges 1981)."""
    deviation = float(steps.std(ddof=1))
    if deviation == 0:
        return None
    return float(steps.mean()) / deviation * (1 - 3 / (4 * (len(steps) - 1) - 1))


def _needed(
    steps: "np.typing.NDArray[np.float64]", on_logs: bool, base: float
) -> dict[str, int | None]:
    """Rounds with which a change of 1, 5 or 10 % would be shown in 80 of 100 comparisons."""
    deviation = float(steps.std(ddof=1))
    found: dict[str, int | None] = {}
    for percent in (1, 5, 10):
        size = math.log1p(percent / 100) if on_logs else abs(base) * percent / 100
        found[f"{percent} %"] = _rounds_for(deviation, size) if size else None
    return found


def _rounds_for(deviation: float, size: float, most: int = 1000) -> int | None:
    """The fewest rounds with t(1 - a/2) + t(power) <= size / (deviation / sqrt(rounds))."""
    if not _shows(most, deviation, size):
        return None
    low, high = FEWEST_ROUNDS - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _shows(middle, deviation, size) else (middle, high)
    return high


def _shows(rounds: int, deviation: float, size: float) -> bool:
    from scipy.special import stdtrit

    t = student(rounds - 1) + float(stdtrit(rounds - 1, POWER))
    return t * deviation / math.sqrt(rounds) <= size


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted for testing several at once (Holm 1979); None stays None and counts for none."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for place, (p, index) in enumerate(known):
        reached = max(reached, min(1.0, (len(known) - place) * p))
        adjusted[index] = reached
    return adjusted


def verdict(found: Difference, adjusted: float | None, better: Better) -> Verdict:
    """What may be said of side B."""
    if adjusted is None or adjusted >= _ALPHA or found.value == found.baseline:
        return "no difference shown"
    lower = found.value < found.baseline
    return "better" if lower == (better == "lower") else "worse"


def as_json(found: Difference) -> dict[str, Any]:
    """A difference as comparison.json holds it."""
    difference, low, high = found.difference
    ratio = None
    if found.ratio is not None:
        ratio = dict(zip(("value", "low", "high"), found.ratio, strict=True))
    return {
        "baseline": found.baseline,
        "value": found.value,
        "difference": {"value": difference, "low": low, "high": high},
        "ratio": ratio,
        "p": found.p,
        "effect": found.effect,
        "method": found.method,
        "rounds": found.rounds,
        "rounds_needed": dict(found.rounds_needed),
    }

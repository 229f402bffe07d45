"""The same load again and again, a fixed number of times or until a figure is precise."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runners.errors import UsageError
from runners.experiments.rounds import (
    Conclusion,
    Finished,
    Round,
    check_metric,
    figure,
    first_free,
    why_missing,
)
from runners.measure.statistics import repeat_interval
from runners.profiles.model import Profile

# Two runs give an interval of 12.7 standard errors to either side: no precision to speak of.
FEWEST_ROUNDS = 3
MOST_ROUNDS = 10


@dataclass(frozen=True)
class Precision:
    """Enough when the mean of `metric` over runs is known to ± `percent` of itself."""

    metric: str
    percent: float


@dataclass(frozen=True)
class Repeats:
    """`count` rounds; with `until`, as soon as that precision is reached, at most `count`."""

    count: int
    until: Precision | None = None
    kind: str = "repeats"
    together: bool = True

    def settings(self) -> dict[str, Any]:
        return {"repeats": self.count, "until": asdict(self.until) if self.until else None}

    def next_round(self, profile: Profile, finished: Sequence[Finished]) -> Round | None:
        index = first_free(finished)
        if index >= self.count or (self.until and _is_enough(self.until, finished)):
            return None
        return Round(index, f"round-{index + 1:0{len(str(self.count))}}", profile.load.seed + index)

    def progress_text(self, profile: Profile, coming: Round) -> str:
        most = "at most " if self.until else ""
        return f"Round {coming.index + 1} of {most}{self.count}, seed {coming.seed}"

    def conclusion(self, profile: Profile, finished: Sequence[Finished]) -> Conclusion:
        if self.until is not None:
            return _concluded(self.until, self.count, finished)
        text = f"{len(finished)} of {self.count} rounds"
        return Conclusion(text, {"rounds": len(finished), "asked": self.count})


def read_precision(text: str) -> Precision:
    """Read `ttft_ms.p95:5`. Raises UsageError."""
    metric, colon, percent = text.rpartition(":")
    try:
        limit = float(percent.removesuffix("%"))
    except ValueError:
        limit = 0.0
    if not colon or not 0 < limit < 100:
        raise UsageError(
            f"--until {text}: give METRIC:PERCENT with a percentage above 0 and below 100, "
            "such as ttft_ms.p95:5"
        )
    check_metric(metric, f"--until {text}")
    return Precision(metric, limit)


def repeats_of(count: int | None, until: Precision | None) -> Repeats:
    """From the flags. Raises UsageError for a number of rounds that cannot be."""
    fewest = FEWEST_ROUNDS if until else 1
    if count is not None and count < fewest:
        why = f"--until needs {fewest} rounds at least" if until else "give at least 1"
        raise UsageError(f"--repeats {count}: {why}")
    return Repeats(MOST_ROUNDS if count is None else count, until)


def _values(metric: str, finished: Sequence[Finished]) -> list[float]:
    found = (figure(each.results, metric) for each in finished if each.is_valid)
    return [value for value in found if value is not None]


def half_width_percent(metric: str, finished: Sequence[Finished]) -> float | None:
    """Half of the t-interval over valid runs in percent of its mean; None: not known."""
    values = _values(metric, finished)
    if len(values) < 2:
        return None
    mean, _, high = repeat_interval(values)
    if high is None or (mean == 0 and high != mean):
        return None
    return 100 * (high - mean) / abs(mean) if mean else 0.0


def _is_enough(until: Precision, finished: Sequence[Finished]) -> bool:
    """Also when the figure is never measured: more rounds would not change that."""
    values = _values(until.metric, finished)
    if len(values) < FEWEST_ROUNDS:
        return not values and len([each for each in finished if each.is_valid]) >= FEWEST_ROUNDS
    half = half_width_percent(until.metric, finished)
    return half is not None and half <= until.percent


def _concluded(until: Precision, most: int, finished: Sequence[Finished]) -> Conclusion:
    values = _values(until.metric, finished)
    half = half_width_percent(until.metric, finished)
    reached = len(values) >= FEWEST_ROUNDS and half is not None and half <= until.percent
    name, rounds = until.metric, len(finished)
    asked = f"(±{until.percent:g} % asked)"
    if reached:
        text = f"{name} is known to ±{half:.2g} % after {rounds} rounds {asked}"
    elif finished and not values:
        text = f"{name} was measured in no valid run: {_why(name, finished)}"
    elif half is None:
        text = f"{name}: {len(values)} valid runs are too few to tell how precise it is"
    else:
        limit = ", the limit" if rounds >= most else ""
        text = (
            f"precision not reached: {name} is known to ±{half:.2g} % after {rounds} "
            f"rounds{limit} {asked}"
        )
    facts = asdict(until) | {"reached": reached, "half_width_percent": half, "rounds": rounds}
    return Conclusion(text, facts | {"limit": most})


def _why(metric: str, finished: Sequence[Finished]) -> str:
    valid = [each for each in finished if each.is_valid]
    return why_missing(valid[0].results, metric) if valid else "every run is invalid"

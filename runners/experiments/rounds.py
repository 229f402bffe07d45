"""What a group is made of: rounds that were planned, and rounds that were run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

from runners.errors import UsageError
from runners.measure.metrics import METRICS, STATISTICS
from runners.profiles.engine_section import Json
from runners.profiles.model import Profile

Results = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """One drive→measure round.

    index: from 0. varied: profile keys that differ from the group's. side: which of the
    profiles under sides/ it is made with; None: the group's own.
    """

    index: int
    name: str
    seed: int
    varied: dict[str, Json] = field(default_factory=dict)
    side: str | None = None


@dataclass(frozen=True)
class Finished:
    """A round that was run to its end; run: the name of its directory."""

    round: Round
    run: str
    results: Results

    @property
    def is_valid(self) -> bool:
        """Whether its figures may be used: the verdict is valid or degraded."""
        return bool(self.results["verdict"]["status"] != "invalid")


@dataclass(frozen=True)
class Conclusion:
    """What a group showed: a sentence, and the same as data."""

    text: str
    facts: dict[str, Any]


class Experiment(Protocol):
    """Decides, from the rounds that are finished, which one comes next."""

    @property
    def kind(self) -> str: ...

    @property
    def together(self) -> bool:
        """Whether what one side started stays while another is measured."""
        ...

    def settings(self) -> dict[str, Any]:
        """What `group.json` keeps of it, as plain data."""
        ...

    def next_round(self, profile: Profile, finished: Sequence[Finished]) -> Round | None:
        """The next round; None: the group is complete. finished: in order of their index.

        Raises UsageError for a profile that this experiment cannot be made with.
        """
        ...

    def progress_text(self, profile: Profile, coming: Round) -> str:
        """What a person reads while the round runs."""
        ...

    def conclusion(self, profile: Profile, finished: Sequence[Finished]) -> Conclusion: ...


def metric_names() -> Iterator[str]:
    """Every figure of a run that can be averaged over runs, by its dotted name.

    What start-up told is not among them: the rounds of a group share one start.
    """
    for metric in METRICS:
        if metric.shape == "estimate":
            yield metric.name
        elif metric.shape == "distribution":
            yield from (f"{metric.name}.{statistic}" for statistic in STATISTICS)


def check_metric(name: str, flag: str) -> None:
    """Raises UsageError, with the closest names, for a name that `metric_names` lacks."""
    known = list(metric_names())
    if name in known:
        return
    statistics = [each for each in known if each.startswith(f"{name}.")]
    close = get_close_matches(name[:100], known, n=3) or ["ttft_ms.p95", "output_throughput_tok_s"]
    hint = f"take one of {', '.join(statistics)}" if statistics else f"such as {', '.join(close)}"
    raise UsageError(f"{flag}: there is no figure {name!r}; {hint}")


def stat_of(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """{"value", "low", "high"} of a dotted name; empty where it was not measured."""
    metric, _, statistic = name.partition(".")
    found = (results.get("metrics") or {}).get(metric) or {}
    stat = found.get(statistic) if statistic else found
    return stat if isinstance(stat, Mapping) else {}


def figure(results: Mapping[str, Any], name: str) -> float | None:
    """The value of a dotted name; None where it was not measured."""
    value = stat_of(results, name).get("value")
    return float(value) if isinstance(value, int | float) else None


def why_missing(results: Mapping[str, Any], name: str) -> str:
    """Why a figure was not measured, in the run's own words."""
    reasons = results.get("not_measured") or {}
    reason = reasons.get(name) or reasons.get(name.partition(".")[0])
    return str(reason or "no reason recorded")


def first_free(finished: Sequence[Finished]) -> int:
    """The lowest index that no finished round has."""
    taken = {each.round.index for each in finished}
    return next(index for index in range(len(taken) + 1) if index not in taken)

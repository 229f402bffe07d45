"""The same load on several sides, round by round, so that they can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from runners.experiments.gate import Gate
from runners.experiments.rounds import Conclusion, Finished, Round, first_free
from runners.profiles.model import Profile

Order = Literal["interleaved", "one-after-another"]
ORDERS: dict[str, str] = {
    "interleaved": "all sides are served at once and measured in turn, so that what drifts "
    "over time meets all of them alike; an idle side still holds its memory",
    "one-after-another": "each side is served alone and all its rounds are measured in a row; "
    "what drifts over time looks like a difference between the sides",
}


@dataclass(frozen=True)
class Comparison:
    """`repeats` rounds of every side; a round sends all sides the same requests (same seed).

    sides: names, the baseline first. subject: profile keys that differ on purpose.
    """

    sides: tuple[str, ...]
    repeats: int
    order: Order = "interleaved"
    gates: tuple[Gate, ...] = ()
    subject: tuple[str, ...] = ()
    kind: str = "comparison"

    @property
    def together(self) -> bool:
        return self.order == "interleaved"

    def settings(self) -> dict[str, Any]:
        return {
            "sides": list(self.sides),
            "repeats": self.repeats,
            "order": self.order,
            "order_means": ORDERS[self.order],
            "gates": [asdict(gate) for gate in self.gates],
            "subject": list(self.subject),
        }

    def next_round(self, profile: Profile, finished: Sequence[Finished]) -> Round | None:
        index = first_free(finished)
        if index >= len(self.sides) * self.repeats:
            return None
        number, place = self._turn(index)
        digits = len(str(self.repeats))
        name = f"{self.sides[place]}-{number + 1:0{digits}}"
        return Round(index, name, profile.load.seed + number, side=self.sides[place])

    def _turn(self, index: int) -> tuple[int, int]:
        """(round, side) of a place in the order, both from 0."""
        if self.together:
            return divmod(index, len(self.sides))
        side, number = divmod(index, self.repeats)
        return number, side

    def progress_text(self, profile: Profile, coming: Round) -> str:
        number = coming.seed - profile.load.seed + 1
        return f"Round {number} of {self.repeats}: {coming.side}, seed {coming.seed}"

    def conclusion(self, profile: Profile, finished: Sequence[Finished]) -> Conclusion:
        counts = {name: sum(each.round.side == name for each in finished) for name in self.sides}
        text = ", ".join(f"{name}: {count} of {self.repeats}" for name, count in counts.items())
        return Conclusion(f"rounds of {text}", {"rounds": counts, "asked": self.repeats})


def comparison_of(settings: Mapping[str, Any]) -> Comparison:
    """What `settings()` gave, back again. Raises KeyError or TypeError for anything else."""
    return Comparison(
        tuple(settings["sides"]),
        settings["repeats"],
        settings["order"],
        tuple(Gate(**gate) for gate in settings["gates"]),
        tuple(settings["subject"]),
    )

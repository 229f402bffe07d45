"""What a comparison compares, and whether two sides may be compared at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.experiments.rounds import Finished, figure

# Prompts of the same seed and tokenizer are the same to the token; a chat template may differ.
PROMPT_TOLERANCE = 0.02
# Answers of another length are other work: whole-request figures are then not comparable.
ANSWER_TOLERANCE = 0.05
# What may not differ: the same work, asked in the same way.
_SAME_WORK = ("workload", "load", "slo")
_SAME_MODEL = ("model.uri", "model.revision", "model.adapters")
_IGNORED = ("name", "description", "extends", "url", "api_key_env", "validity")


@dataclass(frozen=True)
class Side:
    """One of the things that are compared: its runs and the profile they were made with.

    profile: as profile.yaml holds it, plain. folder: the directory its runs lie in, where
    someone may want to look at them again.
    """

    name: str
    runs: tuple[Finished, ...]
    profile: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def valid(self) -> tuple[Finished, ...]:
        """The runs whose figures may be used, in order of their rounds."""
        return tuple(sorted((r for r in self.runs if r.is_valid), key=lambda r: r.round.index))

    @property
    def simulated(self) -> bool:
        """Whether any of its figures come from the simulator."""
        return any(run.results["simulated"] for run in self.runs)


def differing(first: Any, second: Any, path: Sequence[str] = ()) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, first's value, second's) wherever two plain trees differ."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            yield from differing(first.get(key), second.get(key), (*path, str(key)))
    elif first != second:
        yield ".".join(path), first, second


def what_differs(first: Side, second: Side) -> dict[str, tuple[Any, Any]]:
    """Keys of the two profiles that differ: the subject of the comparison."""
    found = differing(first.profile, second.profile)
    return {key: (a, b) for key, a, b in found if key.partition(".")[0] not in _IGNORED}


def obstacles(first: Side, second: Side, subject: Sequence[str] = ()) -> list[str]:
    """Why the two may not be compared, a sentence each; none: they may.

    subject: keys that differ on purpose, such as model.uri between quantizations.
    """
    found = []
    for key, a, b in differing(first.profile, second.profile):
        if key in subject or _is_seed(key):
            continue
        section = key.partition(".")[0]
        if section in _SAME_WORK or key in _SAME_MODEL:
            found.append(f"{key} is {_said(a)} in {first.name} and {_said(b)} in {second.name}")
    if first.simulated != second.simulated:
        simulated = first if first.simulated else second
        found.append(f"the figures of {simulated.name} come from the simulator")
    seeds = [sorted(run.round.seed for run in side.runs) for side in (first, second)]
    if seeds[0] != seeds[1]:
        found.append(f"the rounds have other seeds: {seeds[0]} and {seeds[1]}")
    found += _prompt_lengths(first, second)
    return found


def _is_seed(key: str) -> bool:
    """Seeds differ from round to round; they are compared as a set."""
    return key == "load.seed"


def _said(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _prompt_lengths(first: Side, second: Side) -> list[str]:
    means = [mean_tokens(side, "prompt_tokens") for side in (first, second)]
    if means[0] is None or means[1] is None:
        return []
    if abs(means[1] / means[0] - 1) <= PROMPT_TOLERANCE:
        return []
    return [
        f"prompts are {means[0]:.1f} tokens long in {first.name} and {means[1]:.1f} in "
        f"{second.name} on average (another tokenizer or chat template?)"
    ]


def other_answers(first: Side, second: Side) -> str | None:
    """A sentence where answers are so much longer on one side that whole requests differ."""
    means = [mean_tokens(side, "output_tokens") for side in (first, second)]
    if not means[0] or means[1] is None or abs(means[1] / means[0] - 1) <= ANSWER_TOLERANCE:
        return None
    return (
        f"answers are {means[0]:.1f} tokens long in {first.name} and {means[1]:.1f} in "
        f"{second.name} on average; ignore_eos would make them equal"
    )


def mean_tokens(side: Side, kind: str) -> float | None:
    """Mean prompt_tokens or output_tokens of a request over the valid runs; None: not known."""
    totals = [run.results["requests"].get(kind) for run in side.valid]
    counts = [run.results["requests"]["ok"] for run in side.valid]
    if not totals or any(total is None for total in totals) or not sum(counts):
        return None
    return float(sum(totals) / sum(counts))


def paired_runs(first: Side, second: Side) -> list[tuple[Finished, Finished]]:
    """Valid runs of the same seed, which sent the same requests, in order of their rounds."""
    seeds: dict[int, list[Finished]] = {}
    for run in second.valid:
        seeds.setdefault(run.round.seed, []).append(run)
    return [(run, seeds[run.round.seed].pop(0)) for run in first.valid if seeds.get(run.round.seed)]


def measured(
    pairs: Sequence[tuple[Finished, Finished]], metric: str
) -> list[tuple[Finished, Finished]]:
    """The pairs in which both runs have that figure."""
    return [pair for pair in pairs if all(figure(run.results, metric) is not None for run in pair)]

"""What two runs were given, line by line: manifests and engine arguments that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from runners.reports.comparison_data import ReadSide, SideRun
from runners.reports.run_facts import arguments_text
from runners.reports.run_files import manifests_of

_MOST_LINES = 400


@dataclass(frozen=True)
class Diff:
    """lines: (added | removed | place | same, text)."""

    title: str
    lines: Sequence[tuple[str, str]]


def diffs_of(baseline: ReadSide, other: ReadSide) -> list[Diff]:
    """Of the first runs of both: every text that one has otherwise than the other."""
    if not baseline.runs or not other.runs:
        return []
    first, second = (_texts(side.runs[0]) for side in (baseline, other))
    found = []
    for name in dict.fromkeys([*first, *second]):
        if lines := _lines(first.get(name, ""), second.get(name, "")):
            found.append(Diff(name, lines))
    return found


def _texts(run: SideRun) -> Mapping[str, str]:
    texts = {f"manifests/{name}": text for name, text in manifests_of(run.run).items()}
    if arguments := arguments_text(_arguments(run)):
        texts["engine arguments"] = arguments
    return texts


def _arguments(run: SideRun) -> Any:
    return run.facts.engine_arguments


def _lines(first: str, second: str) -> list[tuple[str, str]]:
    found = []
    for line in list(unified_diff(first.splitlines(), second.splitlines(), lineterm=""))[2:]:
        kind = {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")
        found.append((kind, line))
    if len(found) > _MOST_LINES:
        left = len(found) - _MOST_LINES
        return [*found[:_MOST_LINES], ("place", f"… {left} further lines")]
    return found

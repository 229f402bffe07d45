"""Spec-Bench's question.jsonl (github.com/hemingkx/Spec-Bench): 480 questions, 560 turns.

Ten questions in each of MT-Bench's eight categories, with two turns, and 80 with one turn
in each of five others.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runners.profiles.workload_section import Dataset
from runners.workloads.entry import BrokenError, Entry, texts
from runners.workloads.lines import broken, json_lines

GROUPS: Mapping[str, tuple[str, ...]] = {
    "multi-turn": (
        "writing",
        "roleplay",
        "reasoning",
        "math",
        "coding",
        "extraction",
        "stem",
        "humanities",
    ),
    "translation": ("translation",),
    "summarization": ("summarization",),
    "qa": ("qa",),
    "math_reasoning": ("math_reasoning",),
    "rag": ("rag",),
}
_GROUP_OF = {category: group for group, members in GROUPS.items() for category in members}
_IDS = range(81, 561)


def group_of(category: str) -> str | None:
    """The group that Spec-Bench reports a category under; None for one it does not have."""
    return _GROUP_OF.get(category)


def categories_of(groups: Iterable[str]) -> list[str]:
    return [category for group in groups for category in GROUPS[group]]


def read(path: Path, dataset: Dataset) -> Iterator[Entry]:
    """Every question, in the file's order. Raises UsageError for another file, or part of it."""
    seen: set[int] = set()
    number = 0
    for number, row in json_lines(path):
        try:
            entry = _entry(row, dataset.turns == "all")
            identity = _identity(row)
            if identity in seen:
                raise BrokenError(f"question_id {identity} is there twice")
        except BrokenError as error:
            raise broken(path, number, str(error)) from error
        seen.add(identity)
        yield entry
    if len(seen) < len(_IDS):
        why = (
            f"the file ends after {len(seen)} of Spec-Bench's {len(_IDS)} questions; "
            "fetch it again with ./scripts/fetch_dataset.py spec-bench, or read it as source: jsonl"
        )
        raise broken(path, max(number, 1), why)


def _identity(row: Mapping[str, Any]) -> int:
    identity = row.get("question_id")
    if isinstance(identity, bool) or not isinstance(identity, int) or identity not in _IDS:
        raise BrokenError(
            f"question_id is {identity!r:.40}, not one of {_IDS[0]} to {_IDS[-1]}; "
            "questions of your own are source: jsonl"
        )
    return identity


def _entry(row: Mapping[str, Any], every_turn: bool) -> Entry:
    category = row.get("category")
    if category not in _GROUP_OF:
        raise BrokenError(
            f"category is {category!r:.40}, which Spec-Bench does not have; "
            "questions of your own are source: jsonl"
        )
    turns = texts(row.get("turns"), "turns")
    return Entry(turns if every_turn else turns[:1], category=category)

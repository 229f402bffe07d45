"""Any file with a JSON object per line: a prompt, messages, or turns of a conversation."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runners.profiles.workload_section import Dataset
from runners.workloads.entry import BrokenError, Entry, messages, of_messages, text, texts
from runners.workloads.lines import broken, json_lines


def read(path: Path, dataset: Dataset) -> Iterator[Entry]:
    """Every line, in order. Raises UsageError with its number for one that asks nothing."""
    for number, row in json_lines(path):
        try:
            entry = _entry(row, dataset)
            yield replace(
                entry,
                category=_category(row, dataset.fields.category),
                max_tokens=_max_tokens(row, dataset.fields.max_tokens),
            )
        except BrokenError as error:
            raise broken(path, number, str(error)) from error


def _entry(row: Mapping[str, Any], dataset: Dataset) -> Entry:
    fields = dataset.fields
    names = [fields.prompt, fields.messages, fields.turns]
    given = [name for name in names if row.get(name) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else f"none of {', '.join(names)}"
        raise BrokenError(
            f"{found} in one line: one is needed (it has {', '.join(row) or 'no fields'}); "
            "workload.dataset.fields says what they are called"
        )
    value = row[given[0]]
    if given[0] == fields.prompt:
        return Entry((text(value, given[0]),))
    if given[0] == fields.turns:
        turns = texts(value, given[0])
        if dataset.turns == "recorded":
            raise BrokenError(f"{given[0]} hold no recorded answers; turns is first or all")
        return Entry(turns if dataset.turns == "all" else turns[:1])
    entry = of_messages(messages(value, given[0]), dataset.turns or "recorded")
    if entry is None:
        raise BrokenError(f"{given[0]} has no message of the user")
    return entry


def _category(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise BrokenError(f"{name} is {value!r:.40}, not a text")
    return value


def _max_tokens(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise BrokenError(f"{name} is {value!r:.40}, not a whole number of at least 1")
    return value

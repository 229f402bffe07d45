"""Datasets: the entries of a file, chosen and put in order as the profile says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from runners.errors import UsageError
from runners.profiles.workload_section import Dataset
from runners.workloads import jsonl, sharegpt, spec_bench
from runners.workloads.entry import Entry
from runners.workloads.lines import unreadable

_READERS: Mapping[str, Callable[[Path, Dataset], Iterator[Entry | None]]] = {
    "spec-bench": spec_bench.read,
    "sharegpt": sharegpt.read,
    "jsonl": jsonl.read,
}
_FETCHED = ("spec-bench", "sharegpt")


@dataclass(frozen=True)
class Entries:
    """What a dataset asks.

    left_out: entries with more text than max_characters, or without anything a user says.
    """

    entries: tuple[Entry, ...]
    left_out: int = 0

    @property
    def requests(self) -> int:
        """Turns of all entries: one request each."""
        return sum(len(entry.turns) for entry in self.entries)


def read_dataset(dataset: Dataset) -> Entries:
    """Read, choose, shuffle, limit; a file that has not changed is read once.

    Raises UsageError with file and line for what cannot be read, and where nothing is left.
    """
    path = Path(dataset.file)
    try:
        facts = path.stat()
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        return _read(dataset.model_dump_json(), facts.st_mtime_ns, facts.st_size)
    except OSError as error:
        way_out = "a relative path starts beside the profile, or at the working directory"
        if dataset.source in _FETCHED:
            way_out = f"./scripts/fetch_dataset.py {dataset.source} downloads it"
        raise unreadable(path, error, way_out) from error


@lru_cache(maxsize=4)
def _read(told: str, _changed_ns: int, _size: int) -> Entries:
    dataset = Dataset.model_validate_json(told)
    wanted = [*dataset.categories, *spec_bench.categories_of(dataset.groups)]
    source = _READERS[dataset.source](Path(dataset.file), dataset)
    kept: list[Entry] = []
    left_out = 0
    seen: dict[str, None] = {}
    enough = dataset.limit if dataset.source == "sharegpt" else None
    for entry in source:
        if entry is None:
            left_out += 1
            continue
        if entry.category is not None:
            seen[entry.category] = None
        if wanted and entry.category not in wanted:
            continue
        if dataset.max_characters is not None and entry.characters > dataset.max_characters:
            left_out += 1
            continue
        kept.append(entry)
        if dataset.shuffle_seed is None and len(kept) == enough:
            break
    _refuse_unknown(wanted, list(seen))
    if not kept:
        raise UsageError(
            f"{dataset.file}: no entry is left to ask"
            + (f" ({left_out} were left out)" if left_out else "")
        )
    return Entries(tuple(islice(_in_order(kept, dataset), dataset.limit)), left_out)


def _refuse_unknown(wanted: list[str], known: list[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageError(
            f"workload.dataset.categories: the file has no {', '.join(unknown)}; "
            f"it has {', '.join(known) or 'no categories'}"
        )


def _in_order(entries: list[Entry], dataset: Dataset) -> Iterator[Entry]:
    if dataset.shuffle_seed is None:
        return iter(entries)
    order = np.random.default_rng(dataset.shuffle_seed).permutation(len(entries))
    return (entries[at] for at in order)

"""What each request of a plan asks for, before any prompt is made."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from runners.errors import UsageError
from runners.profiles.workload_section import Workload
from runners.workloads.corpus import read_corpus, tasks_of
from runners.workloads.dataset import read_dataset
from runners.workloads.lengths import mixed

Column = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Asked:
    """Columns of equal length, one entry per request; labels are by prompt id.

    input_tokens: of the prompt, None where the workload decides. turn: place in its
    conversation, from 0; a later turn belongs to the request before it. None where no
    conversation goes on. labels: what results can be split by; None without any.
    """

    prompt_id: Column
    max_tokens: Column
    input_tokens: Column | None = None
    turn: Column | None = None
    labels: tuple[str | None, ...] | None = None


def ask(workload: Workload, count: int, seed: int) -> Asked:
    """What `count` requests ask: a list and a dataset in turn and over again.

    The last conversation may be cut where the count ends. Raises UsageError for a dataset
    that cannot be read.
    """
    if workload.dataset is not None and not workload.has_made_lengths:
        return _of_dataset(workload, count)
    ids = np.arange(count, dtype=np.int32)
    if workload.prompts:
        ids %= np.int32(len(workload.prompts))
    most = np.full(count, workload.max_tokens, dtype=np.int32)
    inputs: Column | None = None
    labels: list[str] = []
    if workload.lengths:
        places = mixed(workload.lengths, count, seed)
        answers = [each.max_tokens or workload.max_tokens for each in workload.lengths]
        most = np.array(answers, dtype=np.int32)[places]
        inputs = np.array([each.input_tokens for each in workload.lengths], dtype=np.int32)[places]
        labels = [f"{i} in, {o} out" for i, o in zip(inputs.tolist(), most.tolist(), strict=True)]
    if workload.dataset is not None:
        read_corpus(workload.dataset)  # a fault must show before anything is served
        tasks = tasks_of(workload.dataset)
        names = [tasks[at % len(tasks)] for at in range(count)]
        both = zip(names, labels, strict=True)
        labels = [f"{task}, {size}" for task, size in both] if labels else [*names]
    return Asked(ids, most, inputs, labels=tuple(labels) or None)


def _of_dataset(workload: Workload, count: int) -> Asked:
    assert workload.dataset is not None
    entries = read_dataset(workload.dataset).entries
    if workload.api != "chat" and any(entry.before for entry in entries):
        raise UsageError(
            f"workload.api: {workload.api} has no messages, and {workload.dataset.file} has some "
            "ahead of its prompts; use api: chat"
        )
    sizes = [len(entry.turns) for entry in entries]
    turns = np.array([*chain.from_iterable(map(range, sizes))], dtype=np.int32)
    most = np.repeat([entry.max_tokens or workload.max_tokens for entry in entries], sizes)
    ids = np.arange(count, dtype=np.int32) % np.int32(len(turns))
    labels = [
        entry.category for entry, size in zip(entries, sizes, strict=True) for _ in range(size)
    ]
    return Asked(
        ids,
        most.astype(np.int32)[ids],
        turn=turns[ids] if turns.any() else None,
        labels=tuple(labels) if any(labels) else None,
    )

"""The dataset that a profile asks, where it can be read from here."""

from runners.checks.case import Case
from runners.errors import UsageError
from runners.workloads.dataset import Entries, read_dataset


def entries_of(case: Case) -> Entries | None:
    """None for other workloads, and where the file cannot be read (a rule of its own)."""
    work = case.profile.workload
    if work.dataset is None or work.has_made_lengths:
        return None
    try:
        return read_dataset(work.dataset)
    except UsageError:
        return None

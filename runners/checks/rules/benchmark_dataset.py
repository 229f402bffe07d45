"""Datasets: a file that is not what the profile takes it for."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import Hit, rule
from runners.checks.rules.benchmark import EVERYWHERE
from runners.errors import UsageError
from runners.workloads.corpus import read_corpus
from runners.workloads.dataset import read_dataset


@rule(
    "benchmark.dataset-unreadable",
    severity="warning",
    fails="at start-up",
    basis="practice",
    evidence="The file is read before anything is served; a run ends there, with exit code 2. "
    "Only a warning, because a profile may be checked on another machine than it runs on.",
    engines=(),
    targets=EVERYWHERE,
)
def dataset_unreadable(case: Case) -> Iterator[Hit]:
    """A dataset must be there, whole, and of the form that its source has."""
    work = case.profile.workload
    if work.dataset is None:
        return
    try:
        if work.has_made_lengths:
            read_corpus(work.dataset)
        else:
            read_dataset(work.dataset)
    except UsageError as error:
        why = str(error).removeprefix("workload.dataset.file: ")
        yield Hit("workload.dataset.file", f"{why}.", "A file that docs/datasets.md describes.")


@rule(
    "benchmark.conversations-open-loop",
    severity="error",
    fails="at start-up",
    basis="practice",
    evidence="A second turn can only be sent when the first is answered, so nobody can plan when.",
    engines=(),
    targets=EVERYWHERE,
)
def conversations_open_loop(case: Case) -> Iterator[Hit]:
    """Conversations go on when an answer has come, which only a closed loop waits for."""
    dataset, pattern = case.profile.workload.dataset, case.profile.load.resolved_pattern()
    if dataset is not None and dataset.turns == "all" and pattern not in ("closed", "trace"):
        yield Hit(
            "workload.dataset.turns",
            f"load.pattern {pattern} plans every request before the load begins.",
            "turns: first, or a closed loop (load.concurrency without a rate)",
        )

"""What makes a measurement mean something else than its reader will think."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import Hit, rule

EVERYWHERE = ("kserve", "local", "url", "simulator")


@rule(
    "benchmark.one-prompt",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="A prefix cache, on by default in every engine here, answers a repeated prompt "
    "without computing it.",
    engines=(),
    targets=EVERYWHERE,
)
def one_prompt(case: Case) -> Iterator[Hit]:
    """One prompt for every request measures the prefix cache, not prefill."""
    prompts = case.profile.workload.prompts
    if prompts and len(set(prompts)) == 1:
        yield Hit(
            "workload.prompts",
            "every request asks the same, so all but the first come from the prefix cache.",
            "Write several prompts, or kind: synthetic.",
        )

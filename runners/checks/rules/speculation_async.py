"""Speculative decoding with asynchronous scheduling, and the padded batch that it needs."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.drafting import runner_of
from runners.checks.rule import REMOVE, Change, Hit, rule

_NEVER_ASYNC = ("ngram", "suffix", "medusa", "mlp_speculator", "custom_class")
_ASYNC = "engine.args.async_scheduling"


def _loses_async(case: Case, method: str) -> bool:
    """Whether the engine leaves asynchronous scheduling when it may choose."""
    if case.at_least(0, 33, 0):
        drafting = case.drafting
        return method in _NEVER_ASYNC and drafting is not None and _first_runner(case)
    if method in _NEVER_ASYNC:
        return True
    return method == "draft_model" and not case.at_least(0, 28, 0)


def _first_runner(case: Case) -> bool:
    return case.drafting is not None and runner_of(case, case.drafting) == "first"


@rule(
    "speculation.async-refused",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `async scheduling is only supported with EAGLE/MTP/Draft Model/NGram GPU/"
    "… kind of speculative decoding`; before 0.11.2 no kind was; from 0.33 only the older model "
    "runner refuses it.",
    versions=">=0.10.0",
)
def async_refused(case: Case) -> Iterator[Hit]:
    """async_scheduling is not written beside a method that cannot have it."""
    drafting = case.drafting
    if drafting is None or case.args.get("async_scheduling") is not True or not drafting.method:
        return
    method = drafting.method
    refused = not case.at_least(0, 11, 2) or (
        method in _NEVER_ASYNC and (not case.at_least(0, 33, 0) or _first_runner(case))
    )
    if refused:
        other = ", or method: ngram_gpu" if method == "ngram" and case.at_least(0, 18, 1) else ""
        yield Hit(
            _ASYNC,
            f"vLLM {case.version} has no asynchronous scheduling with {method}.",
            f"Remove the line{other}.",
            (Change(_ASYNC, REMOVE),),
        )


@rule(
    "speculation.async-lost",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="VllmConfig turns asynchronous scheduling on by itself since 0.14, and off again "
    "with `not supported with ngram-based speculative decoding and will be disabled`.",
    versions=">=0.14",
)
def async_lost(case: Case) -> Iterator[Hit]:
    """Some methods lose asynchronous scheduling without a word, and a baseline keeps it."""
    drafting = case.drafting
    if drafting is None or "async_scheduling" in case.args or case.on_cpu:
        return
    if not _loses_async(case, drafting.method):
        return
    explicit = drafting.method == "draft_model"
    fix = (
        "async_scheduling: true (this version has it for draft models when asked)"
        if explicit
        else "async_scheduling: false here and in the baseline, so that both are alike"
    )
    if drafting.method == "ngram" and case.at_least(0, 18, 1):
        fix += ", or method: ngram_gpu"
    yield Hit(
        drafting.place("method" if drafting.stated else "model"),
        f"with {drafting.method} the engine turns asynchronous scheduling off; a baseline "
        "without speculation keeps it, so the comparison shows both effects.",
        fix,
    )


@rule(
    "speculation.padded-async",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="ValueError `Async scheduling is not compatible with "
    "disable_padded_drafter_batch=True`; unset, it is turned off with a warning.",
    versions=">=0.11.2",
)
def padded_async(case: Case) -> Iterator[Hit]:
    """An unpadded draft batch and asynchronous scheduling exclude each other."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("disable_padded_drafter_batch") is not True:
        return
    asked = case.args.get("async_scheduling")
    if case.at_least(0, 33, 0) and not _first_runner(case):
        return
    if asked is True or (asked is None and case.at_least(0, 14, 0) and not case.on_cpu):
        yield Hit(
            drafting.place("disable_padded_drafter_batch"),
            "asynchronous scheduling needs the padded batch"
            + ("." if asked else "; the engine turns it off, and a baseline keeps it."),
            "Remove the line.",
            drafting.put(disable_padded_drafter_batch=REMOVE) if asked else (),
            severity=None if asked else "warning",
        )


@rule(
    "speculation.padded-draft",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="NotImplementedError `draft models or parallel drafting only supports padded drafter "
    "batch` in v1/spec_decode/llm_base_proposer.py.",
    versions=">=0.16.0",
)
def padded_draft(case: Case) -> Iterator[Hit]:
    """Draft models and parallel drafting need the padded batch."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("disable_padded_drafter_batch") is not True:
        return
    parallel = drafting.config.get("parallel_drafting") is True
    runner = runner_of(case, drafting)
    if (parallel or drafting.method in ("draft_model", "dflash")) and runner != "second":
        yield Hit(
            drafting.place("disable_padded_drafter_batch"),
            f"{drafting.method} drafts in a padded batch only on the older model runner.",
            "Remove the line.",
            drafting.put(disable_padded_drafter_batch=REMOVE),
            severity=None if runner == "first" else "warning",
        )

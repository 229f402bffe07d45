"""Speculative decoding: the schedule by batch size, and acceptance that is made up."""

from collections.abc import Iterator
from typing import Any

from runners.checks.amounts import number
from runners.checks.case import Case
from runners.checks.drafting import Drafting, runner_of, whole
from runners.checks.rule import REMOVE, Hit, rule
from runners.checks.values import said

_SCHEDULE = "num_speculative_tokens_per_batch_size"
Ranges = list[tuple[int, int, int]]


def _scheduled(case: Case) -> tuple[Drafting, Any] | None:
    drafting = case.drafting
    if drafting is None or _SCHEDULE not in drafting.config:
        return None
    return drafting, drafting.config[_SCHEDULE]


def _ranges(given: Any) -> Ranges | None:
    """The entries; None where one is not (start, end, tokens)."""
    if not isinstance(given, list):
        return None
    ranges: Ranges = []
    for entry in given:
        numbers = [whole(item) for item in entry] if isinstance(entry, list) else []
        if len(numbers) != 3:
            return None
        start, end, tokens = numbers
        if start is None or end is None or tokens is None:
            return None
        ranges.append((start, end, tokens))
    return ranges


@rule(
    "speculation.schedule-shape",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The key is a list of triples in the validated class: `Input should be a valid "
    "tuple`, `Field required`.",
    versions=">=0.24",
)
def schedule_shape(case: Case) -> Iterator[Hit]:
    """The schedule is a list of [first batch size, last batch size, tokens]."""
    found = _scheduled(case)
    if found and _ranges(found[1]) is None:
        yield Hit(
            found[0].place(_SCHEDULE),
            f"{said(found[1])} is no list of three whole numbers each.",
            f"{_SCHEDULE}: [[1, 16, 3], [17, 64, 1]]",
        )


@rule(
    "speculation.schedule-ranges",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="v1/spec_decode/dynamic/utils.py raises when the scheduler is made (`The first "
    "batch-size range must start at 1`, `must be non-overlapping`); the configuration accepts "
    "such schedules (executed).",
    versions=">=0.24",
)
def schedule_ranges(case: Case) -> Iterator[Hit]:
    """The ranges of the schedule start at 1, do not overlap, and draft 0 tokens or more."""
    found = _scheduled(case)
    ranges = _ranges(found[1]) if found else None
    if not found or not ranges or case.data_parallel > 1:
        return
    wrong = _wrong(sorted(ranges))
    if wrong:
        yield Hit(
            found[0].place(_SCHEDULE),
            f"{wrong}.",
            f"{_SCHEDULE}: {_repaired(ranges)}",
        )


def _wrong(ranges: Ranges) -> str | None:
    previous = 0
    for start, end, tokens in ranges:
        if start < 1 or end < start:
            return f"the range from {start} to {end} holds no batch size"
        if tokens < 0:
            return f"{tokens} tokens for batches of {start} to {end} are fewer than none"
        if start <= previous:
            return f"the range from {start} to {end} overlaps the one that ends at {previous}"
        previous = end
    if ranges[0][0] != 1:
        return f"the first range starts at {ranges[0][0]}, so smaller batches have no number"
    return None


def _repaired(ranges: Ranges) -> str:
    """The same last batch sizes and tokens, one range after the other."""
    repaired, start = [], 1
    for _, end, tokens in sorted(ranges):
        if end >= start:
            repaired.append([start, end, max(tokens, 0)])
            start = end + 1
    return said(repaired or [[1, 16, 3], [17, 64, 1]])


@rule(
    "speculation.schedule-clamped",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="build_dynamic_sd_schedule_lookup takes the smaller of the range's number and "
    "num_speculative_tokens; the configuration says nothing (executed).",
    versions=">=0.24",
)
def schedule_clamped(case: Case) -> Iterator[Hit]:
    """No range of the schedule drafts more than num_speculative_tokens."""
    found = _scheduled(case)
    ranges = _ranges(found[1]) if found else None
    if not found or not ranges or not found[0].tokens:
        return
    most = max(tokens for _, _, tokens in ranges)
    if most > found[0].tokens:
        yield Hit(
            found[0].place(_SCHEDULE),
            f"a range asks for {most} tokens; num_speculative_tokens caps it at "
            f"{found[0].tokens} without a word.",
            f"num_speculative_tokens: {most}",
        )


@rule(
    "speculation.schedule-tail",
    severity="info",
    fails="silently",
    basis="source",
    evidence="build_dynamic_sd_schedule_lookup carries the last number on up to max_num_seqs, and "
    "over every gap.",
    versions=">=0.24",
)
def schedule_tail(case: Case) -> Iterator[Hit]:
    """Batches beyond the schedule's last range go on with its number; off has to be written."""
    found = _scheduled(case)
    ranges = _ranges(found[1]) if found else None
    batch = case.number("max_num_seqs")
    if not found or not ranges or batch is None or _wrong(sorted(ranges)):
        return
    _, end, tokens = max(ranges)
    if tokens > 0 and end < batch:
        yield Hit(
            found[0].place(_SCHEDULE),
            f"batches of {end + 1} to {batch} (max_num_seqs) draft {tokens} tokens as well.",
            f"To turn drafting off there, add [{end + 1}, {batch}, 0].",
        )


@rule(
    "speculation.schedule-data-parallel",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="VllmConfig._maybe_disable_dynamic_sd_for_data_parallel drops the schedule with a "
    "warning, since ranks could choose differently and wait for each other.",
    versions=">=0.24",
)
def schedule_data_parallel(case: Case) -> Iterator[Hit]:
    """With data parallelism the schedule is dropped."""
    found = _scheduled(case)
    if found and case.data_parallel > 1:
        yield Hit(
            found[0].place(_SCHEDULE),
            f"data_parallel_size {case.data_parallel} drops the schedule: every batch drafts "
            f"{found[0].tokens or 'num_speculative_tokens'}.",
            "Remove the schedule, or serve replicas without data parallelism.",
            found[0].put(**{_SCHEDULE: REMOVE}),
        )


@rule(
    "speculation.schedule-graphs",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="VllmConfig._maybe_override_dynamic_sd_cudagraph_mode sets PIECEWISE on the older "
    "model runner; the baseline keeps full CUDA graphs.",
    versions=">=0.24",
)
def schedule_graphs(case: Case) -> Iterator[Hit]:
    """On the older model runner a schedule takes the full CUDA graphs away."""
    found = _scheduled(case)
    if not found or case.on_cpu or case.args.get("enforce_eager") is True:
        return
    runner = runner_of(case, found[0])
    if runner == "second" or case.data_parallel > 1:
        return
    sure = "runs" if runner == "first" else "may run"
    yield Hit(
        found[0].place(_SCHEDULE),
        f"it {sure} on the older model runner, which then has piecewise CUDA graphs only, while "
        "a baseline keeps full ones.",
        'engine.env: {VLLM_USE_V2_MODEL_RUNNER: "1"}, or measure the baseline without full graphs',
        severity=None if runner == "first" else "info",
    )


@rule(
    "speculation.synthetic-needs",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `rejection_sample_method='synthetic' requires exactly one of "
    "synthetic_acceptance_rates or synthetic_acceptance_length`.",
    versions=">=0.20.2",
)
def synthetic_needs(case: Case) -> Iterator[Hit]:
    """Made-up acceptance needs its rates or its mean length, one of the two."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("rejection_sample_method") != "synthetic":
        return
    given = [key for key in _ACCEPTANCE if key in drafting.config]
    if len(given) == 1:
        return
    yield Hit(
        drafting.place("rejection_sample_method"),
        "it needs rates or a length to accept by, and has " + ("both." if given else "neither."),
        "synthetic_acceptance_length: 2.5 (tokens of a step, the engine's own included)"
        if not given
        else "Keep one of synthetic_acceptance_rates and synthetic_acceptance_length.",
    )


_ACCEPTANCE = ("synthetic_acceptance_rates", "synthetic_acceptance_length")


@rule(
    "speculation.synthetic-unused",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `synthetic_acceptance_rates / synthetic_acceptance_length are only valid "
    "with rejection_sample_method='synthetic'`.",
    versions=">=0.20.2",
)
def synthetic_unused(case: Case) -> Iterator[Hit]:
    """Made-up acceptance has to be turned on."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("rejection_sample_method") == "synthetic":
        return
    for key in _ACCEPTANCE:
        if key in drafting.config:
            yield Hit(
                drafting.place(key),
                f"{key} is for rejection_sample_method synthetic only.",
                "rejection_sample_method: synthetic, or remove the line.",
            )


@rule(
    "speculation.synthetic-range",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `synthetic_acceptance_rates must have length …`, `must be "
    "non-increasing`, `synthetic_acceptance_length must be in [1, K + 1]`.",
    versions=">=0.20.2",
)
def synthetic_range(case: Case) -> Iterator[Hit]:
    """Made-up rates are one for each draft token, in 0..1, not rising; a length is 1 to K + 1."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("rejection_sample_method") != "synthetic":
        return
    tokens = drafting.tokens
    length = number(drafting.config.get("synthetic_acceptance_length"))
    if length is not None and tokens and not 1 <= length <= tokens + 1:
        yield Hit(
            drafting.place("synthetic_acceptance_length"),
            f"{length:g} is outside of 1 to {tokens + 1}: {tokens} drafted and the engine's own.",
            f"synthetic_acceptance_length: {min(max(length, 1), tokens + 1):g}",
        )
    rates = drafting.config.get("synthetic_acceptance_rates")
    if not isinstance(rates, list) or not tokens:
        return
    values = [value for rate in rates if (value := number(rate)) is not None]
    wrong = None
    if len(rates) != tokens:
        wrong = f"{len(rates)} rates for {tokens} draft tokens"
    elif any(not 0 <= value <= 1 for value in values):
        wrong = "a rate is outside of 0 to 1"
    elif sorted(values, reverse=True) != values:
        wrong = "a later token cannot be accepted more often than an earlier one"
    if wrong:
        example = [round(0.8 * 0.7**place, 2) for place in range(min(tokens, 8))]
        yield Hit(
            drafting.place("synthetic_acceptance_rates"),
            f"{wrong}.",
            f"synthetic_acceptance_rates: {said(example)}",
        )


@rule(
    "speculation.synthetic-answers",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="The synthetic sampler accepts draft tokens by chance, whatever the target says.",
    versions=">=0.18.1",
)
def synthetic_answers(case: Case) -> Iterator[Hit]:
    """With made-up acceptance the answers are noise; speed is for an acceptance that was chosen."""
    drafting = case.drafting
    if drafting and drafting.config.get("rejection_sample_method") == "synthetic":
        yield Hit(
            drafting.place("rejection_sample_method"),
            "tokens are accepted by chance: this measures the engine at a chosen acceptance, not "
            "this draft, and the answers are wrong.",
            "rejection_sample_method: standard, to measure the draft itself",
        )


@rule(
    "speculation.fly",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="ValueError `FLy requires num_speculative_tokens to be at least 2` and `requires "
    "fly_window_size to be smaller than num_speculative_tokens`.",
    versions=">=0.33",
)
def fly(case: Case) -> Iterator[Hit]:
    """The rejection method fly needs two draft tokens and a window shorter than them."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("rejection_sample_method") != "fly":
        return
    tokens, window = drafting.tokens, whole(drafting.config.get("fly_window_size"))
    if tokens is not None and tokens < 2:
        yield Hit(
            drafting.place("num_speculative_tokens"),
            f"fly looks at several draft tokens and has {tokens}.",
            "num_speculative_tokens: 4",
        )
    elif tokens is not None and window is not None and window >= tokens:
        yield Hit(
            drafting.place("fly_window_size"),
            f"its window of {window} is not shorter than the {tokens} draft tokens.",
            f"fly_window_size: {tokens - 1}",
        )

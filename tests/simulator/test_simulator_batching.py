"""The engine model's state machine, without a clock: cases that can be worked out by hand."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.simulator.batching import Batch, EngineModel, EngineStep, Sequence
from runners.simulator.prefixes import prefix_identities

MS = 1_000_000
# A step takes 10 ms, 1 more per sequence in it, and 1 more per prompt token computed.
PLAIN = EngineModel(
    base_step_ms=10,
    per_running_ms=1,
    per_kilotoken_context_ms=0,
    prefill_tokens_s=1000,
    max_batched_tokens=64,
    max_running=8,
    kv_blocks=100,
    block_size=4,
)


def text(words: str, tokens: int) -> tuple[int, ...]:
    """Identities of the blocks of a prompt of so many tokens."""
    prompt = (words * tokens)[: 4 * tokens]
    return prefix_identities(prompt, tokens, PLAIN.block_size)


def play(batch: Batch, until: int = 10_000) -> tuple[list[EngineStep], dict[Sequence, list[int]]]:
    """Step on until there is no work: the steps, and the tokens each sequence got at a time."""
    steps: list[EngineStep] = []
    got: dict[Sequence, list[int]] = {}
    at_ns = 0
    while (step := batch.begin(at_ns)) is not None:
        steps.append(replace(step, computes=dict(step.computes)))
        for sequence, tokens, _ in batch.end():
            got.setdefault(sequence, []).append(tokens)
        at_ns = step.end_ns
        assert len(steps) < until
    return steps, got


def durations_ms(steps: list[EngineStep]) -> list[float]:
    return [(step.end_ns - step.start_ns) / MS for step in steps]


def test_two_sequences_share_each_step_and_one_that_comes_later_joins_the_next() -> None:
    batch = Batch(PLAIN)
    early, twin, late = Sequence(0, 5, 4), Sequence(0, 3, 2), Sequence(15 * MS, 6, 1)
    for sequence in (early, twin, late):
        batch.add(sequence)
    steps, got = play(batch)
    # 10 + 2 + 8 prompt tokens; then 10 + 3 + 6 with the newcomer; then the first one alone.
    assert durations_ms(steps) == [20, 19, 11, 11]
    assert [step.start_ns for step in steps] == [0, 20 * MS, 39 * MS, 50 * MS]
    assert got == {early: [1, 1, 1, 1], twin: [1, 1], late: [1]}
    assert late.admitted_ns == 20 * MS


def test_context_costs_time_by_the_token() -> None:
    batch = Batch(replace(PLAIN, per_kilotoken_context_ms=500))
    batch.add(Sequence(0, 9, 2))
    # 9 tokens of context in the first step, and in the second the one it made as well.
    assert durations_ms(play(batch)[0]) == [10 + 1 + 9 + 4.5, 10 + 1 + 5]


def test_an_idle_engine_begins_when_a_request_comes() -> None:
    batch = Batch(PLAIN)
    batch.add(Sequence(70 * MS, 1, 1))
    step = batch.begin(20 * MS)
    assert step is not None
    assert (step.start_ns, step.end_ns) == (70 * MS, 82 * MS)


def test_beyond_max_running_sequences_wait_in_the_order_they_came() -> None:
    batch = Batch(replace(PLAIN, max_running=2))
    sequences = [Sequence(0, 2, tokens) for tokens in (3, 2, 2, 1)]
    for sequence in sequences:
        batch.add(sequence)
    steps, _ = play(batch)
    begun = [next(i for i, step in enumerate(steps) if one in step.admitted) for one in sequences]
    assert begun == [0, 0, 2, 3]
    assert max(len(step.computes) for step in steps) == 2


def test_a_long_prompt_is_computed_in_chunks_and_decoding_comes_first() -> None:
    batch = Batch(replace(PLAIN, max_batched_tokens=10))
    short, long = Sequence(0, 4, 5), Sequence(0, 24, 1)
    batch.add(short)
    batch.add(long)
    steps, _ = play(batch)
    assert [(step.computes.get(short), step.computes.get(long)) for step in steps] == [
        (4, 6),
        (1, 9),
        (1, 9),
        (1, None),
        (1, None),
    ]


def test_without_blocks_the_youngest_is_preempted_and_still_ends_with_all_its_tokens() -> None:
    # Five blocks of 4: two prompts of 8 take four, each answer needs two more.
    batch = Batch(replace(PLAIN, kv_blocks=5))
    old, young = Sequence(0, 8, 8), Sequence(0, 8, 8)
    batch.add(old)
    batch.add(young)
    steps, got = play(batch)
    assert sum(step.preempted for step in steps) == 1
    assert sum(got[old]) == sum(got[young]) == 8
    again = next(step for step in steps[1:] if step.computes.get(young, 0) > 1)
    # Its prompt and the one token it had come again, once the older one is through.
    assert again.computes == {young: 9}
    assert sum(len(step.admitted) for step in steps) == 2
    assert batch.pool.used == 0


def test_what_could_never_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="KV cache"):
        Batch(replace(PLAIN, kv_blocks=5)).add(Sequence(0, 16, 5))


def test_a_prefix_that_was_seen_shortens_the_prefill() -> None:
    batch = Batch(PLAIN)
    first = Sequence(0, 18, 1, text("seas", 18))
    second = Sequence(0, 18, 1, text("seas", 16)[:2] + text("land", 16)[2:])
    again = Sequence(0, 16, 1, text("seas", 16))
    durations: list[float] = []
    for sequence in (first, second, again):
        batch.add(sequence)
        (step,), _ = play(batch)
        durations += durations_ms([step])
    # Four full blocks, two of them the same, and always a last token that is computed.
    assert [one.cached_tokens for one in (first, second, again)] == [0, 8, 12]
    assert durations == [11 + 18, 11 + 10, 11 + 4]


def test_cached_blocks_give_way_the_oldest_first() -> None:
    batch = Batch(replace(PLAIN, kv_blocks=9))
    prompts = {name: text(name, 16) for name in ("aaaa", "bbbb", "cccc")}
    cached = []
    for name in ("aaaa", "bbbb", "bbbb", "cccc", "bbbb", "aaaa"):
        sequence = Sequence(0, 17, 1, prompts[name])
        batch.add(sequence)
        play(batch)
        cached.append(sequence.cached_tokens)
    # Nine blocks hold two prompts of four and the block of the last token.
    assert cached == [0, 0, 16, 0, 16, 0]


def test_full_acceptance_of_three_drafts_yields_four_tokens_a_step() -> None:
    model = replace(PLAIN, speculative_tokens=3, acceptance=1.0, draft_step_ms=2)
    batch = Batch(model)
    sequence = Sequence(0, 4, 11)
    batch.add(sequence)
    steps, got = play(batch)
    assert got[sequence] == [1, 4, 4, 2]
    assert durations_ms(steps) == [15, 17, 17, 17]


def test_one_that_leaves_in_the_middle_of_a_step_leaves_no_block_behind() -> None:
    batch = Batch(PLAIN)
    leaving, staying, waiting = Sequence(0, 9, 5), Sequence(0, 9, 2), Sequence(99 * MS, 9, 5)
    for sequence in (leaving, staying, waiting):
        batch.add(sequence)
    assert batch.begin(0) is not None
    batch.remove(leaving)
    batch.remove(waiting)
    assert [outcome.sequence for outcome in batch.end()] == [staying]
    play(batch)
    assert (batch.pool.used, batch.running, len(batch.waiting)) == (0, [], 0)


@st.composite
def workloads(draw: st.DrawFn) -> tuple[EngineModel, list[Sequence]]:
    model = replace(
        PLAIN,
        max_batched_tokens=draw(st.integers(1, 40)),
        max_running=draw(st.integers(1, 6)),
        kv_blocks=draw(st.integers(12, 40)),
        speculative_tokens=draw(st.integers(0, 4)),
        acceptance=draw(st.sampled_from([0.0, 0.5, 1.0])),
    )
    shapes = st.tuples(
        st.integers(0, 300), st.integers(1, 28), st.integers(1, 20), st.sampled_from("ab")
    )
    drawn = sorted(draw(st.lists(shapes, min_size=1, max_size=12)))
    return model, [
        Sequence(at_ms * MS, prompt, tokens, text(word * 4, prompt), Random(number))
        for number, (at_ms, prompt, tokens, word) in enumerate(drawn)
    ]


@settings(max_examples=150, deadline=None)
@given(workloads(), st.sets(st.integers(0, 11)))
def test_every_token_asked_for_is_generated_and_no_block_is_lost(
    workload: tuple[EngineModel, list[Sequence]], leavers: set[int]
) -> None:
    model, sequences = workload
    batch = Batch(model)
    leaving = {sequences[number] for number in leavers if number < len(sequences)}
    for sequence in sequences:
        batch.add(sequence)
    got: Counter[Sequence] = Counter()
    at_ns = steps = 0
    while (step := batch.begin(at_ns)) is not None:
        assert step.end_ns > step.start_ns >= at_ns
        assert all(one.arrival_ns <= step.start_ns for one in step.computes)
        assert len(batch.running) <= model.max_running
        held = {identity for one in batch.running for identity in one.shared}
        assert batch.pool.used == len(held) + sum(one.private for one in batch.running)
        assert batch.pool.free >= 0
        for sequence in leaving & set(step.computes):
            batch.remove(sequence)
        for outcome in batch.end():
            got[outcome.sequence] += outcome.tokens
        at_ns, steps = step.end_ns, steps + 1
        assert steps < 5000
    assert batch.pool.used == 0
    for sequence in set(sequences) - leaving:
        assert got[sequence] == sequence.max_tokens

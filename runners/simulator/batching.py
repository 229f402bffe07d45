"""Continuous batching as a plain state machine: steps one by one, no clock and no sockets."""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from runners.simulator.blocks import BlockPool
from runners.simulator.speculation import draw_accepted


@dataclass(frozen=True)
class EngineModel:
    """What decides how long a step takes and what fits into it.

    The defaults look like a model of 8B parameters in 16 bit on one H100: 16 GB of weights
    read per step, 128 KiB of KV cache per token, 24,576 blocks in what memory remains.

    base_step_ms, per_running_ms, per_kilotoken_context_ms: a step's duration, plus so much per
        sequence in it, plus so much per 1,000 tokens of context that these have.
    prefill_tokens_s: prompt tokens computed per second, on top of that.
    max_batched_tokens: tokens per step; decoding comes first, prompts get what is left.
    max_running: sequences that hold blocks at a time.
    speculative_tokens, draft_step_ms: tokens drafted per step (0: none), time for each.
    acceptance: accepted / drafted tokens to expect.
    """

    base_step_ms: float = 7.0
    per_running_ms: float = 0.02
    per_kilotoken_context_ms: float = 0.04
    prefill_tokens_s: float = 25_000.0
    max_batched_tokens: int = 8192
    max_running: int = 256
    kv_blocks: int = 24_576
    block_size: int = 16
    speculative_tokens: int = 0
    acceptance: float = 0.0
    draft_step_ms: float = 0.5


@dataclass(eq=False)
class Sequence:
    """One request in the engine.

    prefix: identities of the prompt's full blocks. arrival_ns: no step that starts earlier
    takes it in. computed: tokens in the KV cache, at most tokens − 1 between steps.
    cached_tokens, admitted_ns: of its first admission; None before it.
    """

    arrival_ns: int
    prompt_tokens: int
    max_tokens: int
    prefix: tuple[int, ...] = ()
    random: Random = field(default_factory=lambda: Random(0))
    generated: int = 0
    computed: int = 0
    cached_tokens: int | None = None
    admitted_ns: int | None = None
    shared: list[int] = field(default_factory=list)
    private: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.generated

    @property
    def left(self) -> int:
        return self.max_tokens - self.generated

    @property
    def decoding(self) -> bool:
        return self.generated > 0 and self.computed == self.tokens - 1


@dataclass(frozen=True)
class EngineStep:
    """One step: what it computes is there at `end_ns`.

    computes: tokens of each sequence in it, drafts not counted. decodes: those of them that
    get their next token, without prompt work. admitted: sequences that begin in it, for the
    first time. preempted: how many lost their blocks to others before it.
    """

    start_ns: int
    end_ns: int
    computes: dict[Sequence, int]
    decodes: frozenset[Sequence]
    admitted: tuple[Sequence, ...]
    preempted: int


class Outcome(NamedTuple):
    """What a sequence got from a step: tokens, and accepted tokens of the draft in it."""

    sequence: Sequence
    tokens: int
    accepted: tuple[int, ...]


class Batch:
    """Who runs and who waits. `begin` and `end` take turns; `add` and `remove` at any time.

    First come, first served. Where a decoding sequence finds no block, the one admitted last
    loses all of its own, and computes prompt and answer again later.
    """

    def __init__(self, model: EngineModel) -> None:
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.pool = BlockPool(model.kv_blocks)
        self._model = model
        self._step: EngineStep | None = None

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; ValueError where it could never fit into the KV cache."""
        if self._blocks(sequence.prompt_tokens + sequence.max_tokens) > self.pool.size:
            raise ValueError("the sequence is longer than the KV cache")
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is; one that has ended stays ended."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._free(sequence)
            if self._step is not None:
                self._step.computes.pop(sequence, None)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def begin(self, at_ns: int) -> EngineStep | None:
        """The next step, at `at_ns` or when the first of the waiting arrives; None: no work."""
        if not self.running:
            if not self.waiting:
                return None
            at_ns = max(at_ns, self.waiting[0].arrival_ns)
        computes, preempted = self._decode()
        decodes = frozenset(computes)
        budget = self._model.max_batched_tokens
        budget -= len(decodes) * (1 + self._model.speculative_tokens)
        for sequence in self.running:
            if sequence not in decodes and budget > 0:
                computes[sequence] = min(budget, sequence.tokens - sequence.computed)
                budget -= computes[sequence]
        admitted: list[Sequence] = []
        while budget > 0 and not preempted and self._admits(at_ns):
            sequence = self.running[-1]
            computes[sequence] = min(budget, sequence.tokens - sequence.computed)
            budget -= computes[sequence]
            if sequence.admitted_ns is None:
                sequence.admitted_ns = at_ns
                sequence.cached_tokens = sequence.computed
                admitted.append(sequence)
        end_ns = at_ns + self._duration_ns(computes, decodes)
        self._step = EngineStep(at_ns, end_ns, computes, decodes, tuple(admitted), preempted)
        return self._step

    def end(self) -> list[Outcome]:
        """The step that began is over: the sequences that got tokens by it."""
        step, self._step = self._step, None
        outcomes: list[Outcome] = []
        if step is None:
            return outcomes
        for sequence, computed in step.computes.items():
            self._keep_prompt(sequence, computed)
            if sequence.computed < sequence.tokens:
                continue
            accepted: tuple[int, ...] = ()
            if sequence in step.decodes and self._model.speculative_tokens:
                drafted = self._model.speculative_tokens
                accepted = (draw_accepted(self._model.acceptance, drafted, sequence.random),)
            tokens = min(1 + sum(accepted), sequence.left)
            sequence.generated += tokens
            # Accepted drafts were computed to be checked; the last token was not yet.
            sequence.computed = sequence.tokens - 1
            outcomes.append(Outcome(sequence, tokens, accepted))
        if any(not outcome.sequence.left for outcome in outcomes):
            for sequence in self.running:
                if not sequence.left:
                    self._free(sequence)
            self.running = [sequence for sequence in self.running if sequence.left]
        return outcomes

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._model.block_size)

    def _decode(self) -> tuple[dict[Sequence, int], int]:
        """Blocks for every decoding sequence, the oldest first; how many were preempted."""
        computes: dict[Sequence, int] = {}
        preempted = 0
        place = 0
        while place < len(self.running):
            sequence = self.running[place]
            place += 1
            if not sequence.decoding:
                continue
            slots = sequence.computed + min(1 + self._model.speculative_tokens, sequence.left)
            need = self._blocks(slots) - len(sequence.shared) - sequence.private
            while need > self.pool.free and self.running[-1] is not sequence:
                self._preempt()
                preempted += 1
            if need > self.pool.free:
                self._preempt()
                preempted += 1
                break
            if need > 0:
                self.pool.take(need)
                sequence.private += need
            computes[sequence] = 1
        return computes, preempted

    def _preempt(self) -> None:
        youngest = self.running.pop()
        self._free(youngest)
        youngest.computed = 0
        self.waiting.appendleft(youngest)

    def _admits(self, at_ns: int) -> bool:
        """Let the first of the waiting run, if it may and its tokens so far have room."""
        if not self.waiting or len(self.running) >= self._model.max_running:
            return False
        sequence = self.waiting[0]
        if sequence.arrival_ns > at_ns:
            return False
        # The last token is always computed, as in vLLM.
        most = (sequence.tokens - 1) // self._model.block_size
        found = sequence.prefix[: min(self.pool.cached(sequence.prefix), most)]
        need = self._blocks(sequence.tokens) - len(found)
        if need > self.pool.free - self.pool.idle(found):
            return False
        self.pool.share(found)
        self.pool.take(need)
        sequence.shared, sequence.private = list(found), need
        sequence.computed = len(found) * self._model.block_size
        self.waiting.popleft()
        self.running.append(sequence)
        return True

    def _keep_prompt(self, sequence: Sequence, computed: int) -> None:
        """Count computed tokens; full blocks of the prompt among them can be found again."""
        size = self._model.block_size
        before, sequence.computed = sequence.computed, sequence.computed + computed
        last = min(len(sequence.prefix), sequence.computed // size)
        for identity in sequence.prefix[before // size : last]:
            if self.pool.publish(identity):
                sequence.shared.append(identity)
                sequence.private -= 1

    def _free(self, sequence: Sequence) -> None:
        self.pool.give_back(sequence.private, sequence.shared)
        sequence.shared, sequence.private = [], 0

    def _duration_ns(self, computes: dict[Sequence, int], decodes: frozenset[Sequence]) -> int:
        model = self._model
        context = sum(sequence.computed + count for sequence, count in computes.items())
        prefill = sum(computes.values()) - len(decodes)
        duration_ms = (
            model.base_step_ms
            + model.per_running_ms * len(computes)
            + model.per_kilotoken_context_ms * context / 1e3
            + prefill / model.prefill_tokens_s * 1e3
        )
        if decodes:
            duration_ms += model.draft_step_ms * model.speculative_tokens
        return max(1, round(duration_ms * 1e6))

"""The simulated engine: who is admitted when, what is cached, and what has been counted."""

import asyncio
from collections import deque
from random import Random
from time import monotonic_ns, time

from runners.simulator import wire
from runners.simulator.asked import CHARACTERS_PER_TOKEN, Asked, Prompt
from runners.simulator.faults import with_fault
from runners.simulator.metrics import Gauges, Metrics
from runners.simulator.scripts import Answer, script
from runners.simulator.settings import Behaviour, Fault
from runners.simulator.stream import Client, Stream
from runners.simulator.timetable import Timetable
from runners.simulator.truth import Truth
from runners.simulator.voice import Topic
from runners.simulator.voices import VOICES

BLOCK_TOKENS = 16
KV_BLOCKS = 65_536
# Of the APIs whose answers have an id.
_ID_PREFIXES = {"chat": "chatcmpl-", "completions": "cmpl-"}


class PrefixCache:
    """Blocks of prompts seen before, by their whole prefix; the oldest are forgotten."""

    def __init__(self, blocks: int) -> None:
        self._limit = blocks
        self._seen: dict[int, None] = {}

    def look_up(self, prompt: Prompt, prompt_tokens: int) -> int:
        """Tokens of `prompt` that were cached; afterwards all its full blocks are.

        The last token is always computed, as in vLLM.
        """
        size = BLOCK_TOKENS * (CHARACTERS_PER_TOKEN if isinstance(prompt, str) else 1)
        prefix = hits = 0
        unbroken = True
        for block in range(prompt_tokens // BLOCK_TOKENS):
            part = prompt[block * size : (block + 1) * size]
            prefix = hash((prefix, part))
            if prefix in self._seen:
                hits += unbroken
            else:
                unbroken = False
                self._seen[prefix] = None
                if len(self._seen) > self._limit:
                    del self._seen[next(iter(self._seen))]
        return min(hits, (prompt_tokens - 1) // BLOCK_TOKENS) * BLOCK_TOKENS


class Engine:
    """Admits requests in order of arrival and plays their answers by the timetable."""

    def __init__(
        self, behaviour: Behaviour, model: str, seed: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.behaviour = behaviour
        self.model = model
        self.metrics = Metrics()
        self.truths: list[Truth] = []
        if behaviour.acceptance is not None:
            self.metrics.accepted_per_position = [0] * behaviour.speculative_tokens
        self._seed = seed
        self._loop = loop
        self._timetable = Timetable(loop)
        self._cache = PrefixCache(KV_BLOCKS)
        self._running: set[Stream] = set()
        self._waiting: deque[Stream] = deque()
        self._countable = 0

    def arrive(self, received_ns: int, probe: bool) -> tuple[Truth, Fault | None]:
        """Number a request and decide its fault; a probe has none and shifts no other's."""
        fault = None
        if not probe:
            self._countable += 1
            due = (one for one in self.behaviour.fault if self._countable % one.every == 0)
            fault = next(due, None)
        truth = Truth(len(self.truths), received_ns, probe)
        truth.fault = None if fault is None else fault.kind
        self.truths.append(truth)
        return truth, fault

    def answer(
        self, client: Client, asked: Asked, truth: Truth, fault: Fault | None, name: str
    ) -> Stream:
        """Begin to answer; the stream tells the client when it is through."""
        cached = self._cache.look_up(asked.prompt, asked.prompt_tokens)
        self.metrics.prefix_queries += asked.prompt_tokens
        self.metrics.prefix_hits += cached
        truth.prompt_tokens = asked.prompt_tokens
        if asked.api in _ID_PREFIXES:
            truth.id = _ID_PREFIXES[asked.api] + name
        self.metrics.apis.add(asked.api)
        self.metrics.input_lengths.observe(asked.prompt_tokens)
        excess = fault.argument / 100 if fault and fault.kind == "wrong-usage" else 0.0
        usage: wire.Usage | None = wire.Usage(asked.prompt_tokens, cached, excess)
        if fault is not None and fault.kind == "no-usage":
            usage = None
        topic = Topic(asked, self.model, truth.id or "", int(time()), usage)
        answer = Answer(
            asked=asked,
            voice=VOICES[asked.api](topic),
            cached_tokens=cached,
            behaviour=self.behaviour,
            fault=fault,
            random=Random(self._seed << 32 | truth.request),
        )
        stream = Stream(self, client, answer, with_fault(script(answer), answer), truth)
        if fault is not None and fault.kind == "slow-headers":
            self._loop.call_later(fault.argument / 1e3, self._accept, stream)
        else:
            self._accept(stream)
        return stream

    def _accept(self, stream: Stream) -> None:
        if stream.gone:
            return
        if stream.answer.asked.stream:
            stream.client.transport.write(wire.STREAM_HEADERS)
        self._waiting.append(stream)
        self._admit()

    def _admit(self) -> None:
        limit = self.behaviour.max_running
        while self._waiting and (limit is None or len(self._running) < limit):
            stream = self._waiting.popleft()
            self._running.add(stream)
            self.schedule(stream, stream.admitted(monotonic_ns()))

    def schedule(self, stream: Stream, due_ns: int | None) -> None:
        """Play the stream's next step at `due_ns`; None: it has none."""
        if due_ns is not None:
            self._timetable.add(due_ns, stream)

    def leave(self, stream: Stream) -> None:
        """The stream is over, or its client is gone: its place is free."""
        if stream in self._running:
            self._running.remove(stream)
        elif stream in self._waiting:
            self._waiting.remove(stream)
        self._admit()

    def gauges(self) -> Gauges:
        used = sum(-(-stream.context_tokens // BLOCK_TOKENS) for stream in self._running)
        return Gauges(
            running=len(self._running),
            waiting=len(self._waiting),
            kv_cache_usage=min(1.0, used / KV_BLOCKS),
            block_size=BLOCK_TOKENS,
            blocks=KV_BLOCKS,
        )

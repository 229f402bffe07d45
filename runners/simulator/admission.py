"""Who may run when: what an engine asks of its admission, and the one with drawn delays."""

from collections import deque
from collections.abc import Iterator
from random import Random
from time import monotonic_ns
from typing import Protocol

from runners.simulator.asked import Asked
from runners.simulator.metrics import Gauges, Metrics
from runners.simulator.prefixes import PrefixCache
from runners.simulator.scripts import Beat, drawn_beats
from runners.simulator.settings import Behaviour
from runners.simulator.stream import Stream
from runners.simulator.wire import Usage

BLOCK_TOKENS = 16
KV_BLOCKS = 65_536


class Admission(Protocol):
    """Decides when requests run, and with it when their tokens come."""

    def check(self, asked: Asked) -> None:
        """Raises RequestError (400) for a request that could never run."""

    def beats(self, asked: Asked, usage: Usage, random: Random) -> Iterator[Beat | None]:
        """The beats of a new answer; `usage` learns how much of the prompt was cached."""

    def accept(self, stream: Stream) -> None:
        """An answer with beats of ours may run."""

    def leave(self, stream: Stream) -> None:
        """It is over, or its client is gone: its place is free."""

    def gauges(self) -> Gauges: ...


class DrawnDelays:
    """In order of arrival, at most `max_running` at a time; nothing else makes them wait."""

    def __init__(self, behaviour: Behaviour, metrics: Metrics) -> None:
        self._behaviour = behaviour
        self._metrics = metrics
        self._cache = PrefixCache(KV_BLOCKS)
        self._running: set[Stream] = set()
        self._waiting: deque[Stream] = deque()

    def check(self, asked: Asked) -> None:
        """Every request can run."""

    def beats(self, asked: Asked, usage: Usage, random: Random) -> Iterator[Beat | None]:
        usage.cached_tokens = self._cache.look_up(asked.prompt, asked.prompt_tokens, BLOCK_TOKENS)
        self._metrics.prefix_queries += asked.prompt_tokens
        self._metrics.prefix_hits += usage.cached_tokens
        return drawn_beats(self._behaviour, asked.max_tokens, random)

    def accept(self, stream: Stream) -> None:
        self._waiting.append(stream)
        self._admit()

    def _admit(self) -> None:
        limit = self._behaviour.max_running
        while self._waiting and (limit is None or len(self._running) < limit):
            stream = self._waiting.popleft()
            self._running.add(stream)
            stream.admitted(monotonic_ns())

    def leave(self, stream: Stream) -> None:
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

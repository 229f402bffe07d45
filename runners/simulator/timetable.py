"""Who is due when: one heap of absolute due times, woken with microsecond resolution."""

import asyncio
import select
import selectors
import sys
from heapq import heappop, heappush
from time import monotonic_ns
from typing import Protocol

# Entries served before the loop may look at its sockets again.
_BATCH = 64


class Player(Protocol):
    """Something that acts at due times."""

    number: int

    def play(self, now_ns: int) -> int | None:
        """Act; the next due time on CLOCK_MONOTONIC, or None when nothing is due."""


class Timetable:
    """Calls each player at its due time, never before it, the earliest due first.

    Due times are absolute, so lateness does not add up. A player is in it at most once;
    one that has nothing left answers None and is forgotten.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, Player]] = []
        self._wake: asyncio.TimerHandle | None = None
        self._serving = False

    def add(self, due_ns: int, player: Player) -> None:
        heappush(self._heap, (due_ns, player.number, player))
        if not self._serving:
            self._arm()

    def _arm(self) -> None:
        due_s = self._heap[0][0] / 1e9
        if self._wake is not None:
            if self._wake.when() <= due_s:
                return
            self._wake.cancel()
        self._wake = self._loop.call_at(due_s, self._serve)

    def _serve(self) -> None:
        heap = self._heap
        self._wake = None
        self._serving = True
        for _ in range(_BATCH):
            if not heap:
                break
            now_ns = monotonic_ns()
            if heap[0][0] > now_ns:
                break
            _, number, player = heappop(heap)
            due_ns = player.play(now_ns)
            if due_ns is not None:
                heappush(heap, (due_ns, number, player))
        self._serving = False
        if heap:
            self._arm()


class _FineSelector(selectors.DefaultSelector):
    """Waits with microsecond resolution.

    Python's epoll rounds waits up to whole milliseconds; select() on the epoll itself,
    which is readable when one of its sockets is, does not.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and sys.platform == "linux":
            select.select([self.fileno()], (), (), timeout)
            timeout = 0
        return super().select(timeout)


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are as fine as the system allows."""
    return asyncio.SelectorEventLoop(_FineSelector())

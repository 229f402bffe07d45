"""Finished exchanges on their way to being understood, and what they say about going on."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from runners.load.exchange import Exchange
from runners.load.limits import Limits
from runners.load.stalls import Turns
from runners.load.stream import ReadLag

_MOST_BYTES = 32 << 20  # beyond, one answer is understood for each that ends
_BYTES_PER_READ = 120  # that keeping one takes besides its text
_SHARE_COUNTS_FROM = 20  # finished requests; a share of fewer says little


@dataclass
class Tally:
    """Live counts, for progress and for the record of how the client itself did."""

    sent: int = 0
    done: int = 0
    ok: int = 0
    failed: int = 0
    connections: int = 0
    reconnects: int = 0
    stopped: str | None = None
    lag: ReadLag = field(default_factory=ReadLag)
    turns: Turns = field(default_factory=Turns)


class Backlog:
    """Exchanges in order of their ends; `finished` understands one and says whether it is ok."""

    def __init__(self, limits: Limits, tally: Tally, finished: Callable[[Exchange], bool]) -> None:
        self._limits, self._tally, self._finished = limits, tally, finished
        self._waiting: deque[Exchange] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        return self._bytes > _MOST_BYTES

    def add(self, exchange: Exchange) -> None:
        self._waiting.append(exchange)
        self._bytes += _size(exchange)

    def understand_one(self) -> None:
        """The oldest of them."""
        exchange = self._waiting.popleft()
        self._bytes -= _size(exchange)
        self.understand(exchange)

    def understand(self, exchange: Exchange) -> None:
        """One that need not, or must not, wait; too many failures become `tally.stopped`."""
        tally = self._tally
        if self._finished(exchange):
            tally.ok += 1
            return
        tally.failed += 1
        if tally.stopped is None:
            tally.stopped = self._too_many_failed()

    def _too_many_failed(self) -> str | None:
        limits, failed = self._limits, self._tally.failed
        finished = failed + self._tally.ok
        if failed == finished == limits.give_up_after:
            return f"the first {failed} requests all failed"
        if limits.failures is not None and failed >= limits.failures:
            return f"{failed} failures spent a worker's part of load.stop_after_failures.count"
        share = limits.failure_share
        if share is not None and finished >= _SHARE_COUNTS_FROM and failed > share * finished:
            return f"{failed} of {finished} requests failed, above load.stop_after_failures.share"
        return None


def _size(exchange: Exchange) -> int:
    """Bytes that it takes to keep an answer, about."""
    return sum(map(len, exchange.body)) + _BYTES_PER_READ * len(exchange.body)

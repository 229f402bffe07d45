"""KV cache blocks: who holds how many, and which ones a later prompt can find again."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockPool:
    """A fixed number of blocks, each empty, private to one holder, or cached.

    A cached block has an identity and any number of holders. Without holders it stays to be
    found again, and counts as free: the one let go longest ago is reused first.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._empty = size
        self._holders: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def free(self) -> int:
        return self._empty + len(self._idle)

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return self.size - self.free

    def cached(self, identities: Sequence[int]) -> int:
        """How many of `identities`, from the first on, are cached without a gap."""
        for count, identity in enumerate(identities):
            if identity not in self._holders:
                return count
        return len(identities)

    def idle(self, identities: Iterable[int]) -> int:
        """How many of `identities` are cached and held by nobody."""
        return sum(identity in self._idle for identity in identities)

    def share(self, identities: Iterable[int]) -> None:
        """Hold cached blocks."""
        for identity in identities:
            self._holders[identity] += 1
            self._idle.pop(identity, None)

    def take(self, count: int) -> None:
        """Make `count` free blocks private; there must be so many."""
        while self._empty < count:
            oldest, _ = self._idle.popitem(last=False)
            del self._holders[oldest]
            self._empty += 1
        self._empty -= count

    def publish(self, identity: int) -> bool:
        """A private block becomes cached, held by its owner; False: there is one already."""
        if identity in self._holders:
            return False
        self._holders[identity] = 1
        return True

    def give_back(self, private: int, shared: Sequence[int]) -> None:
        """Let blocks go. Of cached ones the last goes first: the ends of prompts age first."""
        self._empty += private
        for identity in reversed(shared):
            self._holders[identity] -= 1
            if not self._holders[identity]:
                self._idle[identity] = None

"""Waiting for sockets: epoll where there is one, poll elsewhere."""

import select


class Poller:
    """epoll where there is one, poll elsewhere; both as (fd, mask) pairs."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = None if self._epoll else select.poll()

    def watch(self, fd: int, mask: int, *, known: bool) -> None:
        source = self._epoll or self._poll
        assert source is not None
        (source.modify if known else source.register)(fd, mask)

    def forget(self, fd: int) -> None:
        source = self._epoll or self._poll
        assert source is not None
        source.unregister(fd)

    def wait(self, seconds: float, most: int) -> list[tuple[int, int]]:
        """What is ready, longest first; no more than `most` where epoll is there."""
        if self._epoll is not None:
            return self._epoll.poll(seconds, most)
        assert self._poll is not None
        return self._poll.poll(seconds * 1000)

"""Server-sent events out of stamped bytes (WHATWG HTML, section 9.2, as far as APIs use it)."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")


class EventStream:
    """A body of stamped pieces, read event by event.

    data: the whole of it. at: where the next event begins. begun: where the latest one did.
    """

    def __init__(self, pieces: Sequence[bytes], stamps: Sequence[int]) -> None:
        self.data = b"".join(pieces)
        self.at = self.begun = 0
        self._ends = list(accumulate(map(len, pieces)))
        self._stamps = stamps

    def arrival(self, place: int) -> int:
        """When the bytes before this place had arrived: the stamp of the piece with the last."""
        return self._stamps[bisect_left(self._ends, place)]

    def arrivals(self, places: list[int]) -> Sequence[int]:
        """The same of many places, in ascending order."""
        first = bisect_left(self._ends, places[0])
        if self._ends[first : first + len(places)] == places:  # an event to a read
            return self._stamps[first : first + len(places)]
        return [self.arrival(place) for place in places]

    def next(self) -> tuple[int, bytes] | None:
        """(arrival, data) of the next event; None at the end.

        Comments and fields other than data are dropped, data lines are joined by a newline.
        A last event without its blank line counts too: servers forget it.
        """
        while self.at < len(self.data):
            self.begun = self.at
            stop, self.at = self._bounds(self.at)
            data = _data(self.data[self.begun : stop])
            if data is not None:
                return self.arrival(self.at), data
        return None

    def _bounds(self, begin: int) -> tuple[int, int]:
        """(end of the block that begins here, begin of the next)."""
        stop = self.data.find(b"\n\n", begin)
        if stop >= 0 and self.data.find(b"\r", begin, stop) < 0:
            return stop, stop + 2
        boundary = _BOUNDARY.search(self.data, begin)
        return boundary.span() if boundary else (len(self.data), len(self.data))


def _data(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    lines = []
    for line in _LINE.split(block):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None

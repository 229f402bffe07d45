"""How long the event loop was away: what came meanwhile had to wait for it."""

from array import array

import numpy as np
import numpy.typing as npt

STALL_NS = 5_000_000
_FOLD = 4096
_PER_OCTAVE = 16
_BINS = 64 * _PER_OCTAVE


class Turns:
    """Turns of a loop: the times between two looks at what is ready, waiting apart.

    Kept as a histogram with 16 bins per factor of two and the exact sum of each.
    """

    def __init__(self, begun_ns: int = 0) -> None:
        self._begun_ns = self._ended_ns = begun_ns
        self._recent = array("q")
        self._counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS, np.float64)
        self._stalls = 0

    def add(self, length_ns: int) -> None:
        self._recent.append(length_ns)
        if len(self._recent) == _FOLD:
            self._fold()

    def end(self, at_ns: int) -> None:
        """The loop is over; what it did since `begun_ns` is what counts."""
        self._ended_ns = at_ns

    def _fold(self) -> None:
        recent = np.maximum(np.array(self._recent), 1)
        self._recent = array("q")
        place = (np.log2(recent) * _PER_OCTAVE).astype(np.intp)
        self._counts += np.bincount(place, minlength=_BINS)
        self._sums += np.bincount(place, weights=recent, minlength=_BINS)
        self._stalls += int((recent > STALL_NS).sum())

    @property
    def stalls(self) -> int:
        """Turns longer than 5 ms."""
        self._fold()
        return self._stalls

    @property
    def wait_p99_ns(self) -> float:
        """How long the loop lets something wait that comes at any instant: the p99 over time.

        A turn of length d makes d - x of time wait for longer than x.
        """
        self._fold()
        used = self._counts > 0
        lengths, counts = self._sums[used] / self._counts[used], self._counts[used]
        return _excess_above(lengths[::-1], counts[::-1], 0.01 * (self._ended_ns - self._begun_ns))


def _excess_above(
    lengths: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], most: float
) -> float:
    """The x with sum(counts * max(lengths - x, 0)) = most, 0 where even 0 has less.

    lengths: in descending order.
    """
    if float(lengths @ counts) <= most:
        return 0.0
    # With the k longest above x: x = (their sum - most) / their number, for the largest such x.
    sums, numbers = np.cumsum(lengths * counts), np.cumsum(counts)
    return float(np.max((sums - most) / numbers))

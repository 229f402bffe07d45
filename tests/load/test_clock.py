"""Kernel stamps, told in monotonic time."""

import numpy as np
import pytest

from runners.load import clock
from runners.load.clock import WallClock, monotonic_ns, timespec

MS = 1_000_000


def test_stamps_are_told_by_the_offset_of_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = [10**18, 10**18 + 700, 10**18 + 900]
    coming = iter(offsets)
    monkeypatch.setattr(clock, "wall_offset_ns", lambda: next(coming))
    wall, start = WallClock(), monotonic_ns()
    wall.refresh(start + 100 * MS)
    wall.refresh(start + 120 * MS)  # too soon to look again
    wall.refresh(start + 200 * MS)
    read = np.array([start + at * MS for at in (50, 99, 150, 250)])
    in_force = np.array([offsets[0], offsets[0], offsets[1], offsets[2]])
    arrived = read - 3000
    stamps = [timespec(int(at)) for at in arrived + in_force]
    for some in (slice(0, 4), slice(1, 3), slice(2, 3)):
        assert wall.arrivals(stamps[some], read[some]).tolist() == arrived[some].tolist()
    assert wall.largest_step_ns == 700


def test_nothing_arrives_after_it_was_read() -> None:
    wall, now = WallClock(), monotonic_ns()
    stamp = timespec(now + wall.offset_ns + 5000)
    assert wall.arrivals([stamp], np.array([now])).tolist() == [now]

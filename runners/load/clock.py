"""Clocks of the instrument: monotonic nanoseconds, kernel stamps, precise waiting."""

import ctypes
import os
import platform
import socket
import struct
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

monotonic_ns = time.monotonic_ns

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
SO_TIMESTAMPNS = 35  # Linux, asm-generic/socket.h
_TIMESPEC = struct.Struct("=qq")
STAMP_SPACE = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0


def enable_kernel_stamps(sock: socket.socket) -> bool:
    """Ask the kernel to stamp arriving segments; False where it cannot."""
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def keep_stamping() -> socket.socket | None:
    """A socket that has the kernel stamp from now on, for as long as it is open.

    The kernel starts with the first socket that asks, but a little later: what arrives in
    between has no stamp.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if enable_kernel_stamps(keeper):
        return keeper
    keeper.close()
    return None


def kernel_stamp(ancillary: list[tuple[int, int, bytes]]) -> bytes | None:
    """The wall-clock timespec of the last segment of a read; None without one."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            return data[: _TIMESPEC.size]
    return None


def nanoseconds(timespec: bytes) -> int:
    seconds, rest = _TIMESPEC.unpack(timespec)
    return int(seconds * 1_000_000_000 + rest)


def timespec(wall_ns: int) -> bytes:
    return _TIMESPEC.pack(*divmod(wall_ns, 1_000_000_000))


def wall_offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the tightest of several brackets."""
    best_width, best_offset = 1 << 62, 0
    for _ in range(8):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best_width:
            best_width, best_offset = after - before, wall - (before + after) // 2
    return best_offset


class WallClock:
    """Translates kernel stamps (wall clock) to monotonic time while NTP slews the wall.

    The offset is looked at again at least every 50 ms, far more often than any slew
    (at most 0.5 ms per s) could matter; a jump of it is a stepped clock. All offsets are
    kept, so that a stamp can be translated later by the offset of its own time.
    """

    def __init__(self) -> None:
        self.offset_ns, self._checked_ns = wall_offset_ns(), monotonic_ns()
        self.largest_step_ns = 0
        self._since = array("q", [self._checked_ns])
        self._offsets = array("q", [self.offset_ns])

    def refresh(self, now_ns: int) -> None:
        if now_ns - self._checked_ns < 50_000_000:
            return
        offset = wall_offset_ns()
        self.largest_step_ns = max(self.largest_step_ns, abs(offset - self.offset_ns))
        self.offset_ns, self._checked_ns = offset, now_ns
        self._since.append(now_ns)
        self._offsets.append(offset)

    def arrivals(
        self, stamps: Sequence[bytes], read_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Kernel stamps of successive reads as monotonic ns, none later than its read.

        stamps: as `kernel_stamp` gives them; read_ns: when each read returned.
        """
        timespecs = np.frombuffer(b"".join(stamps), np.int64).reshape(-1, 2)
        walls = timespecs[:, 0] * 1_000_000_000 + timespecs[:, 1]
        # The offsets in force from the first read to the last: the one before, and any since.
        first, last = bisect_right(self._since, read_ns[0]), bisect_right(self._since, read_ns[-1])
        offset: npt.NDArray[np.int64] | int = self._offsets[first - 1]
        if last > first:
            at = np.searchsorted(np.array(self._since[first:last]), read_ns, side="right")
            offset = np.array(self._offsets[first - 1 : last])[at]
        return np.asarray(np.minimum(walls - offset, read_ns), np.int64)


class Alarm:
    """A timer one can poll on, finer than epoll's milliseconds: timerfd on Linux.

    `fd` is None where there is no timerfd; the caller then rounds to milliseconds.
    """

    _CLOCK_MONOTONIC = 1
    _ABSOLUTE = 1
    _NONBLOCK = 0o4000
    _CLOEXEC = 0o2000000

    def __init__(self) -> None:
        self.fd: int | None = None
        self._settime = None
        if sys.platform.startswith("linux"):
            libc = ctypes.CDLL(None, use_errno=True)
            fd = libc.timerfd_create(self._CLOCK_MONOTONIC, self._NONBLOCK | self._CLOEXEC)
            if fd >= 0:
                self.fd = fd
                self._settime = libc.timerfd_settime
        self._due_ns = 0

    def set(self, due_ns: int) -> None:
        """Ring at the monotonic instant `due_ns`; a past instant rings at once."""
        if self._settime is None or due_ns == self._due_ns:
            return
        self._due_ns = due_ns
        due_ns = max(due_ns, 1)
        spec = struct.pack("=qqqq", 0, 0, due_ns // 1_000_000_000, due_ns % 1_000_000_000)
        self._settime(self.fd, self._ABSOLUTE, ctypes.c_char_p(spec), None)

    def clear(self) -> None:
        """Take note that it rang."""
        self._due_ns = 0
        if self.fd is not None:
            try:
                os.read(self.fd, 8)
            except BlockingIOError:
                return

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def tighten_timers() -> None:
    """Let the kernel wake this thread within 1 us of its timers instead of 50 us."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(29, 1000, 0, 0, 0)  # PR_SET_TIMERSLACK, ns


def ask_for_short_turns() -> None:
    """Ask Linux (6.12 and later) to let this thread run for 0.1 ms at a time, but soon.

    Its share of the processor stays the same. Elsewhere nothing changes.
    """
    call = _SCHED_SETATTR.get(platform.machine())
    if sys.platform.startswith("linux") and call is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        # struct sched_attr: size, policy (the usual one), flags, nice, priority, runtime, …
        attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, nice, 0, 100_000, 0, 0)
        ctypes.CDLL(None).syscall(call, 0, attributes, 0)


def die_with_parent() -> None:
    """Ask Linux to end this process (SIGTERM) when its parent dies."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG

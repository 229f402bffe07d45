"""Clocks of the instrument: monotonic nanoseconds, kernel stamps, precise waiting."""

import ctypes
import os
import socket
import struct
import sys
import time
from dataclasses import dataclass

monotonic_ns = time.monotonic_ns

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


def kernel_stamp_ns(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The wall-clock stamp of the last segment of a read, in ns; None without one."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return None


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


@dataclass
class WallClock:
    """Translates kernel stamps (wall clock) to monotonic time while NTP slews the wall.

    The offset is looked at again at least every 50 ms, far more often than any slew
    (at most 0.5 ms per s) could matter; a jump of it is a stepped clock.
    """

    offset_ns: int
    checked_ns: int
    largest_step_ns: int = 0

    @classmethod
    def start(cls) -> "WallClock":
        return cls(wall_offset_ns(), monotonic_ns())

    def refresh(self, now_ns: int) -> None:
        if now_ns - self.checked_ns < 50_000_000:
            return
        offset = wall_offset_ns()
        self.largest_step_ns = max(self.largest_step_ns, abs(offset - self.offset_ns))
        self.offset_ns, self.checked_ns = offset, now_ns


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


def die_with_parent() -> None:
    """Ask Linux to end this process (SIGTERM) when its parent dies."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG

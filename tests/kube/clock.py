"""Time of a scripted cluster: it stands still until told, or runs faster than real time."""

import threading
import time

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class FakeClock:
    """Unix seconds. speed 0: only `advance` and `set` move it; 1200: a real second is 20 min."""

    def __init__(self, start: float = START, speed: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._base = start
        self._real = time.monotonic()
        self.speed = speed

    def now(self) -> float:
        with self._lock:
            return self._base + (time.monotonic() - self._real) * self.speed

    def set(self, unix_s: float) -> None:
        """Forward only."""
        now = self.now()
        with self._lock:
            self._base = max(unix_s, now)
            self._real = time.monotonic()

    def advance(self, seconds: float) -> None:
        self.set(self.now() + seconds)

    def run(self, speed: float) -> None:
        """From now on fake seconds per real second."""
        now = self.now()
        with self._lock:
            self._base, self._real, self.speed = now, time.monotonic(), speed

    def sleep(self, seconds: float) -> None:
        """What a program under test may use instead of time.sleep.

        A standing clock moves by `seconds` at once; a running one takes its real time.
        """
        if self.speed:
            time.sleep(max(seconds, 0.0) / self.speed)
        else:
            self.advance(seconds)

"""Things to do at fake times: in order, in the caller's thread or in one of their own."""

import heapq
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.kube.clock import FakeClock

Action = Callable[[], None]


class Schedule:
    """Actions by due time. Standing clock: `advance` runs them; running clock: a thread does."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, Action]] = []
        self._count = 0
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.failure: BaseException | None = None

    def after(self, seconds: float, action: Action) -> None:
        with self._wake:
            self._count += 1
            heapq.heappush(self._due, (self.clock.now() + seconds, self._count, action))
            self._wake.notify_all()

    def advance(self, seconds: float) -> None:
        """Move the clock and do everything that falls due, each thing at its own time."""
        target = self.clock.now() + seconds
        while (due := self._next(target)) is not None:
            self.clock.set(due[0])
            due[2]()
        self.clock.set(target)

    def run(self, speed: float) -> None:
        """Let time pass by itself, `speed` fake seconds per real one."""
        self.clock.run(speed)
        if self._thread is None:
            self._thread = threading.Thread(target=self._play, name="scripted", daemon=True)
            self._thread.start()
        with self._wake:
            self._wake.notify_all()

    def stop(self) -> None:
        """End the thread; raises what went wrong in it."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)
        if self.failure is not None:
            raise RuntimeError("a scripted action failed") from self.failure

    def _next(self, until: float) -> tuple[float, int, Action] | None:
        with self._wake:
            if self._due and self._due[0][0] <= until:
                return heapq.heappop(self._due)
        return None

    def _play(self) -> None:
        with suppress(SystemExit):
            while not self._stopping:
                due = self._next(self.clock.now())
                if due is None:
                    self._rest()
                    continue
                try:
                    due[2]()
                except Exception as failure:  # told to the test when it stops the cluster
                    self.failure = self.failure or failure

    def _rest(self) -> None:
        with self._wake:
            if self._stopping:
                return
            if not self._due:
                self._wake.wait(1.0)
                return
            speed = self.clock.speed or 1.0
            left = (self._due[0][0] - self.clock.now()) / speed
            if left > 0:
                self._wake.wait(min(left, 1.0))

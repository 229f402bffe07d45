"""lifecycle.json: the phases of start-up, and why it failed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runners.rundir import RunDirectory


class Lifecycle:
    """Collects phases; times are seconds, starts on the wall clock, durations monotonic.

    to_unix_s: what makes a wall clock of the clock that phases are given in; by default that
    clock is time.monotonic.
    """

    def __init__(self, run: RunDirectory, to_unix_s: float | None = None) -> None:
        self._run = run
        self._phases: list[dict[str, str | float]] = []
        self._more: dict[str, Any] = {}
        # one offset for the run: a stepping wall clock must not tear the phases apart
        self._to_unix_s = time.time() - time.monotonic() if to_unix_s is None else to_unix_s

    def add(self, name: str, start_s: float, end_s: float) -> None:
        """A phase between two readings of the clock."""
        self._phases.append(
            {
                "name": name,
                "start_unix_s": round(start_s + self._to_unix_s, 3),
                "duration_s": round(end_s - start_s, 3),
            }
        )

    def tell(self, key: str, value: Any) -> None:
        """A further key of the file, beside phases and failure."""
        self._more[key] = value

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase as long as the context, kept also when it fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(name, started, time.monotonic())

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write the file at the end of start-up, with the failure where there was one."""
        try:
            yield
        except BaseException as error:
            self.write(str(error) or type(error).__name__)
            raise
        self.write()

    def write(self, failure: str | None = None) -> None:
        self._run.write_json(
            "lifecycle.json", {"phases": self._phases, "failure": failure, **self._more}
        )

"""What a person sees while a long step runs: its name, its latest detail, its time.

Everything goes to stderr, so that stdout stays free for results and `--json`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Step:
    """A running step; `detail` replaces the text behind its title."""

    def __init__(self, title: str, status: Status | None) -> None:
        self.title = title
        self._status = status
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def detail(self, text: str) -> None:
        if self._status is not None:
            shown = text.replace("[", "\\[")
            self._status.update(f"{self.title} [dim]{self.elapsed_s:.0f} s  {shown}[/dim]")


class Progress:
    """Steps of a run on stderr: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce `title`, then say how long it took, also when it failed."""
        if self.console.is_terminal:
            with self.console.status(title) as status:
                step = Step(title, status)
                yield from self._finish(step)
        else:
            self.console.print(f"… {title}", markup=False)
            step = Step(title, None)
            yield from self._finish(step)

    def _finish(self, step: Step) -> Iterator[Step]:
        try:
            yield step
        except BaseException:
            self.console.print(f"✗ {step.title} ({step.elapsed_s:.1f} s)", markup=False)
            raise
        self.console.print(f"✓ {step.title} ({step.elapsed_s:.1f} s)", markup=False)

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, markup=False)

"""What a client sends next: the plan, and before it the turns that answers have made possible."""

from collections import deque
from collections.abc import Iterator

from runners.load.limits import Planned


class Agenda:
    """Planned requests in order; `next` is the first of them, None when there is none.

    A conversation that has begun goes on before another begins.
    """

    def __init__(self, plan: Iterator[Planned]) -> None:
        self._plan = plan
        self._turns: deque[Planned] = deque()
        self._upcoming = next(plan, None)
        self.next = self._upcoming

    def take(self) -> Planned:
        """`next`, which must be there; another takes its place."""
        taken = self.next
        assert taken is not None
        if self._turns:
            self._turns.popleft()
        else:
            self._upcoming = next(self._plan, None)
        self.next = self._turns[0] if self._turns else self._upcoming
        return taken

    def add_turn(self, planned: Planned) -> None:
        """The next turn of a conversation."""
        self._turns.append(planned)
        self.next = self._turns[0]

    def end(self) -> None:
        """Nothing more is to be sent."""
        self._turns.clear()
        self._upcoming = self.next = None

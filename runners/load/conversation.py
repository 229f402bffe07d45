"""Conversations: turns that carry what was said before, the server's own answers included."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from runners.load.exchange import Exchange
from runners.load.limits import Planned


@dataclass(frozen=True)
class Rows:
    """Columns of the schedule; turn None: every request stands for itself."""

    prompt_id: list[int]
    requested_tokens: list[int]
    warmup: list[bool]
    intended_ns: list[int] | None
    turn: list[int] | None

    def __len__(self) -> int:
        return len(self.prompt_id)

    def goes_on(self, request_id: int) -> bool:
        """Whether the next row is a later turn of the same conversation."""
        if self.turn is None:
            return False
        after = request_id % len(self) + 1
        return after < len(self) and self.turn[after] > 0


class Conversations:
    """Makes each later turn out of the turn before and its answer.

    bodies: of single turns, by prompt id. framed: a body as a whole HTTP request.
    """

    def __init__(self, rows: Rows, bodies: list[bytes], framed: Callable[[bytes], bytes]) -> None:
        self._rows, self._bodies, self._framed = rows, bodies, framed
        self._said: dict[int, list[Any]] = {}

    def next_turn(self, exchange: Exchange, answer: str | None) -> Planned | None:
        """What comes after this exchange; None after the last turn, or without an answer."""
        rows, now = self._rows, exchange.request_id
        said = self._said.pop(now, None)
        if answer is None or not rows.goes_on(now):
            return None
        if said is None:
            said = orjson.loads(self._bodies[exchange.prompt_id])["messages"]
        at = (now + 1) % len(rows)
        body = orjson.loads(self._bodies[rows.prompt_id[at]])
        body["messages"] = [*said, {"role": "assistant", "content": answer}, *body["messages"]]
        goes_on = rows.goes_on(now + 1)
        if goes_on:
            self._said[now + 1] = body["messages"]
        return Planned(
            request_id=now + 1,
            prompt_id=rows.prompt_id[at],
            requested_tokens=rows.requested_tokens[at],
            warmup=rows.warmup[at] and now + 1 < len(rows),
            intended_ns=None,
            message=self._framed(orjson.dumps(body)),
            goes_on=goes_on,
        )

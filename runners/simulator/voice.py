"""How an answer is worded, whatever the API; one file per API in runners/simulator/voices/."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from runners.simulator.asked import Asked
from runners.simulator.wire import Usage


@dataclass(frozen=True)
class Topic:
    """What an answer is about. id: as the answer names itself, where its API has that.

    usage: the counts to state; None: none, though asked for.
    """

    asked: Asked
    model: str
    id: str
    created_s: int
    usage: Usage | None


class Said(NamedTuple):
    """Bytes of one write, and the tokens in each content-bearing event among them."""

    data: bytes
    events: tuple[int, ...]


class Voice(Protocol):
    """Words one answer. Streamed parts are whole chunks of the transfer encoding."""

    def opening(self) -> bytes:
        """What comes before the first token; empty where the API has no such thing."""

    def tokens(self, field: str, start: int, count: int, last: bool) -> Said:
        """Tokens `start` to `start + count`; `field` is the delta's, where the API has one.

        last: the answer's last ones, with what the API says at that point.
        """

    def nothing(self) -> bytes:
        """The end of an answer that has no content."""

    def closing(self, tokens: int) -> list[bytes]:
        """The writes after the last token; the last of them ends the body."""

    def whole(self, tokens: int, reasoning: tuple[str, int] | None) -> dict[str, Any]:
        """A non-streaming answer. reasoning: its field, and how many tokens it takes."""

    def end_mark(self) -> bytes:
        """What ends any stream, also one that broke off with an error."""

    def failure(self, status: int, kind: str, message: str) -> dict[str, Any]:
        """An error, as a body or as an event."""

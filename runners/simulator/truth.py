"""The truth about each request, by the server's own clock."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson


@dataclass
class Truth:
    """One completion request; every time is CLOCK_MONOTONIC in nanoseconds.

    request: position in the order of arrival. id: as in the answer, None without one.
    received_ns: its last byte had been read. admitted_ns: its schedule began; None: it waited.
    due_ns, sent_ns: per content-bearing event, when the schedule wanted it, and the instant
        before the send in which the kernel took its last byte.
    tokens: tokens in each of these events (a non-streaming body is one event).
    outcome: length, stop, error, abort, or the fault that ended it; None: still running.
    """

    request: int
    received_ns: int
    probe: bool
    prompt_tokens: int = 0
    fault: str | None = None
    id: str | None = None
    admitted_ns: int | None = None
    due_ns: "array[int]" = field(default_factory=lambda: array("q"))
    sent_ns: "array[int]" = field(default_factory=lambda: array("q"))
    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    ended_ns: int | None = None
    outcome: str | None = None


def lines(truths: list[Truth]) -> Iterator[bytes]:
    """JSON lines with the fields of `Truth`, in the order of arrival."""
    for truth in truths:
        yield orjson.dumps(vars(truth), default=list, option=orjson.OPT_APPEND_NEWLINE)

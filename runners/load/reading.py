"""Understanding a complete response: what every dialect has in common."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from runners.load.answer import Answer
from runners.load.dialects.dialect import Dialect, Json
from runners.load.dialects.shape import shape_of, take_run
from runners.load.exchange import Exchange
from runners.load.sse import EventStream

_FACTS = (
    ("prompt_tokens", int),
    ("output_tokens", int),
    ("cached_tokens", int),
    ("finish_reason", str),
)


class Reader:
    """Understands the answers of one server, in one dialect.

    The shape of plain events is learned from one of them and holds for later answers too.
    """

    def __init__(self, dialect: Dialect, stream: bool, keep_text: bool = False) -> None:
        self._dialect, self._stream, self._keep_text = dialect, stream, keep_text
        self._shape: re.Pattern[bytes] | None = None

    def read(self, exchange: Exchange) -> Answer:
        """Understand a complete response; a failure becomes the answer's error class."""
        answer = Answer()
        if exchange.status != 200:
            _refused(exchange, answer)
        elif exchange.encoding not in (None, "identity"):
            detail = f"the answer came {exchange.encoding}-encoded though not asked"
            answer.fail("malformed", detail)
        else:
            try:
                if self._stream:
                    objects = self._objects(exchange, answer)
                    self._dialect.read_events(objects, answer, self._keep_text)
                else:
                    _read_whole(self._dialect, exchange, answer, self._keep_text)
            # Whatever JSON a server sends, the worker lives on and the request has failed.
            except (AttributeError, KeyError, OverflowError, TypeError) as error:
                answer.fail("malformed", f"not of this API's form: {error}")
            _check_types(answer)
            if answer.error is None:
                _judge(answer, exchange)
        answer.share_tokens()
        return answer

    def _objects(self, exchange: Exchange, answer: Answer) -> Iterator[tuple[int, Json]]:
        """(arrival, object) per event, up to the first that is none or tells of an error.

        Events of a shape already known go straight into the answer.
        """
        stream, learned = EventStream(exchange.body, exchange.stamps), False
        while (found := stream.next()) is not None:
            stamp, data = found
            if data == b"[DONE]":
                answer.done = True
                continue
            event = _object(data, answer, "an event")
            if event is None:
                return
            yield stamp, event
            if not learned and self._dialect.is_plain is not None and self._dialect.is_plain(event):
                learned = True  # once in an answer: it costs more than a few events
                self._learn(stream.data[stream.begun : stream.at], data)
            if self._shape is not None:
                place, arrivals = stream.at, stream.arrivals
                stream.at = take_run(
                    self._shape, stream.data, place, answer, arrivals, self._keep_text
                )

    def _learn(self, raw: bytes, data: bytes) -> None:
        if raw.rstrip(b"\r\n") == b"data: " + data:
            self._shape = shape_of(raw) or self._shape


def read_answer(
    dialect: Dialect, exchange: Exchange, stream: bool, keep_text: bool = False
) -> Answer:
    """Understand one complete response."""
    return Reader(dialect, stream, keep_text).read(exchange)


def error_message(body: bytes) -> str:
    """The message of an error body in any of the forms servers use; else its beginning."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return " ".join(body[:300].decode("utf-8", "replace").split())
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _refused(exchange: Exchange, answer: Answer) -> None:
    detail = error_message(b"".join(exchange.body))
    if exchange.location:
        detail = f"redirect to {exchange.location} is not followed"
    answer.fail(f"http_{exchange.status}", detail)


def _read_whole(dialect: Dialect, exchange: Exchange, answer: Answer, keep_text: bool) -> None:
    body = _object(b"".join(exchange.body), answer, "the answer")
    if body is not None:
        dialect.read_whole(body, exchange.end_ns or 0, answer, keep_text)


def _object(data: bytes, answer: Answer, what: str) -> Json | None:
    try:
        value: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        answer.fail("malformed", f"{what} is not JSON: {data[:120]!r}")
        return None
    if not isinstance(value, dict):
        answer.fail("malformed", f"{what} is not an object: {data[:120]!r}")
        return None
    if value.get("error"):
        answer.fail("stream_error", error_message(data))
        return None
    return value


def _check_types(answer: Answer) -> None:
    """Facts that readers took over as the server gave them."""
    for name, kind in _FACTS:
        value = getattr(answer, name)
        if value is not None and (type(value) is not kind or not _is_sane(value)):
            setattr(answer, name, None)
            answer.fail("malformed", f"not of this API's form: {name} is {value!r}")


def _is_sane(value: object) -> bool:
    """Counts fit into a column of the records."""
    return not isinstance(value, int) or 0 <= value < 1 << 31


def _judge(answer: Answer, exchange: Exchange) -> None:
    if not exchange.complete or not (answer.done or answer.finish_reason):
        answer.fail("broken_stream", "the answer ended before its last event")
    elif not answer.arrivals:
        answer.fail("empty", f"no content (finish reason {answer.finish_reason})")

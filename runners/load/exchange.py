"""One request and what came back, kept as raw stamped bytes until it is parsed."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools


def _times() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class Exchange:
    """A request under way or done. Times are monotonic ns.

    body: pieces of the response body in order, one per read that brought any; stamps: the
    arrival of each. error: an error class (see docs/metrics.md) or None. connect_ns, tls_ns:
    how long TCP and TLS took where the request opened its own connection. goes_on: another
    request waits for the answer.
    """

    request_id: int
    prompt_id: int
    requested_tokens: int
    warmup: bool
    intended_ns: int
    sent_ns: int | None = None
    end_ns: int | None = None
    status: int | None = None
    location: str | None = None
    encoding: str | None = None
    body: list[bytes] = field(default_factory=list)
    stamps: "array[int]" = field(default_factory=_times)
    error: str | None = None
    error_detail: str | None = None
    capped: bool = False
    connect_ns: int | None = None
    tls_ns: int | None = None
    complete: bool = False
    goes_on: bool = False

    def arrive(self, stamp: int, piece: bytes) -> None:
        """The next piece of the body."""
        self.body.append(piece)
        self.stamps.append(stamp)

    def fail(self, error: str, detail: str, at_ns: int) -> None:
        self.error, self.error_detail, self.end_ns = error, detail[:300], at_ns


class ResponseFraming:
    """Finds the body and the end of HTTP/1.1 responses on one connection (llhttp).

    Feed it every read; the body pieces land in the current exchange. chunked: whether the
    current response is, once its head has been read.
    """

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.keep_alive = True
        self.ends_with_connection = False
        self.chunked = False
        self._framed = False
        self._stamp = 0
        self._interim = False
        self._parts: list[bytes] = []
        self.on_body = self._parts.append
        self._parser: Any = httptools.HttpResponseParser(self)

    def feed(self, reads: Sequence[bytes], stamps: Sequence[int]) -> None:
        """Raises httptools.HttpParserError for what is not HTTP/1.1."""
        feed, parts, upto = self._parser.feed_data, self._parts, []
        try:
            for data, self._stamp in zip(reads, stamps, strict=True):
                feed(data)
                upto.append(len(parts))
        finally:
            upto += [len(parts)] * (len(reads) - len(upto))
            self._keep(stamps, upto)

    def _keep(self, stamps: Sequence[int], upto: list[int]) -> None:
        """Make one piece of the parts that a read brought. upto: parts after each read."""
        parts, exchange = self._parts, self.exchange
        if exchange is not None and upto == list(range(1, len(upto) + 1)):
            exchange.body += parts  # an event to a read, as nearly always
            exchange.stamps.extend(stamps)
        elif exchange is not None:
            begin = 0
            for stamp, end in zip(stamps, upto, strict=True):
                if end > begin:
                    exchange.arrive(stamp, b"".join(parts[begin:end]))
                begin = end
        parts.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.exchange is None:
            return
        lowered = name.lower()
        if lowered == b"location":
            self.exchange.location = value.decode("latin-1")
        elif lowered == b"content-encoding":
            self.exchange.encoding = value.decode("latin-1").lower()
        elif lowered == b"content-length":
            self._framed = True
        elif lowered == b"transfer-encoding":
            self._framed = True
            self.chunked = value.lower().rstrip().endswith(b"chunked")

    def on_message_begin(self) -> None:
        self.chunked = False

    def on_headers_complete(self) -> None:
        status = int(self._parser.get_status_code())
        self._interim = 100 <= status < 200
        if self.exchange is not None and not self._interim:
            self.exchange.status = status
            self.keep_alive = bool(self._parser.should_keep_alive())
            self.ends_with_connection = not self._framed
            self._framed = False

    def on_message_complete(self) -> None:
        if self.exchange is not None and not self._interim:
            self.exchange.complete = True
            self.exchange.end_ns = self._stamp

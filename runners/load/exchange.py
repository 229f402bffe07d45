"""One request and what came back, kept as raw stamped bytes until it is parsed."""

from dataclasses import dataclass, field
from typing import Any

import httptools


@dataclass(slots=True)
class Exchange:
    """A request under way or done. Times are monotonic ns.

    body: pieces of the response body in order, each with the stamp of the read that
    brought it. error: an error class (see docs/metrics.md) or None. connect_ns, tls_ns: how
    long TCP and TLS took where the request opened its own connection.
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
    body: list[tuple[int, bytes]] = field(default_factory=list)
    error: str | None = None
    error_detail: str | None = None
    capped: bool = False
    connect_ns: int | None = None
    tls_ns: int | None = None
    complete: bool = False

    def fail(self, error: str, detail: str, at_ns: int) -> None:
        self.error, self.error_detail, self.end_ns = error, detail[:300], at_ns


class ResponseFraming:
    """Finds the body and the end of HTTP/1.1 responses on one connection (llhttp).

    Feed it every read; the body pieces land in the current exchange.
    """

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.keep_alive = True
        self.ends_with_connection = False
        self._framed = False
        self._stamp = 0
        self._interim = False
        self._parser: Any = httptools.HttpResponseParser(self)

    def feed(self, data: bytes, stamp: int) -> None:
        """Raises httptools.HttpParserError for what is not HTTP/1.1."""
        self._stamp = stamp
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.exchange is None:
            return
        lowered = name.lower()
        if lowered == b"location":
            self.exchange.location = value.decode("latin-1")
        elif lowered == b"content-encoding":
            self.exchange.encoding = value.decode("latin-1").lower()
        elif lowered in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        status = int(self._parser.get_status_code())
        self._interim = 100 <= status < 200
        if self.exchange is not None and not self._interim:
            self.exchange.status = status
            self.keep_alive = bool(self._parser.should_keep_alive())
            self.ends_with_connection = not self._framed
            self._framed = False

    def on_body(self, body: bytes) -> None:
        if self.exchange is not None:
            self.exchange.body.append((self._stamp, body))

    def on_message_complete(self) -> None:
        if self.exchange is not None and not self._interim:
            self.exchange.complete = True
            self.exchange.end_ns = self._stamp

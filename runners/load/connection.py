"""A connection of the load client: its stream, its framing, and the request it carries."""

import ssl
from contextlib import suppress
from dataclasses import dataclass

import httptools

from runners.load.exchange import ResponseFraming
from runners.load.stream import Reads, Stream

FAILURES = (OSError, httptools.HttpParserError)


@dataclass(eq=False, slots=True)
class Connection:
    """A stream, the framing of what comes on it, and the message it was last to send.

    reads: where reads are kept unseen for now; None while each is looked at. used: it has
    carried an answer already.
    """

    stream: Stream
    framing: ResponseFraming
    message: bytes = b""
    last_ns: int = 0
    used: bool = False
    reads: Reads | None = None

    def take_in(self, reads: list[bytes], stamps: list[int]) -> bool:
        """Frame successive reads; True when the last of them is the end of the connection.

        From the head of an answer in chunks on, later reads may be kept. Raises
        httptools.HttpParserError, and OSError where nothing was asked.
        """
        ended = not reads[-1]
        framing, self.reads, self.last_ns = self.framing, None, stamps[-1]
        if ended:
            reads, stamps = reads[:-1], stamps[:-1]
        framing.feed(reads, stamps)
        exchange = framing.exchange
        if exchange is None:
            if not ended:
                raise OSError("the server spoke without being asked")
        elif framing.chunked and exchange.status is not None and not exchange.complete:
            self.reads = self.stream.keep_reads()
        return ended

    def catch_up(self) -> None:
        """Frame what is kept, of a connection that has no more to say."""
        reads, stamps = self.stream.kept()
        if reads:
            with suppress(*FAILURES):
                self.take_in(reads, stamps)

    @property
    def last_heard_ns(self) -> int:
        """When it was last written to or read from."""
        kept = self.reads.read_ns if self.reads is not None else None
        return kept[-1] if kept else self.last_ns


def reason_of(error: Exception) -> str:
    """Why a connection was lost, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, httptools.HttpParserError):
        return f"not HTTP/1.1: {error}"
    return str(error)

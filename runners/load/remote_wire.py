"""The language between a coordinator and its load workers on other machines.

A frame is 4 bytes (big endian) with the length of a JSON object, that object, and as many
bytes as its key `bytes` says. Every object has a `type`. Both sides prove that they know
the shared token before anything else is said; the token itself never travels.
"""

import hashlib
import hmac
import json
import os
import secrets
import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners import __version__

PROTOCOL = 1
TOKEN_ENV = "KSERVE_BENCH_WORKER_TOKEN"
HANDSHAKE_S = 10.0
FEWEST_TOKEN_CHARACTERS = 16

_HEADER_AT_MOST = 1 << 20
_PART = 1 << 20
_SEND_S = 60.0


class Gone(Exception):
    """The other side closed, broke off or kept silent; `str()` of it says which."""


class Refused(Exception):
    """The other side is not who or what it must be; `str()` of it says why."""


class NotStored(Exception):
    """A received file could not be written here; `str()` of it is the system's reason."""


class ToldToEnd(Exception):
    """This process was asked to end while it waited."""


@dataclass(frozen=True)
class Message:
    """A JSON object from the other side, with its time of arrival (monotonic ns)."""

    kind: str
    fields: dict[str, Any]
    at_ns: int

    def integer(self, name: str) -> int:
        """A field that has to be a whole number. Raises Refused."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(f"the message {self.kind} has no whole number {name}")
        return value

    def text(self, name: str) -> str:
        """A field that has to be text. Raises Refused."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise Refused(f"the message {self.kind} has no text {name}")
        return value


class Link:
    """One connection, spoken in frames.

    wake: a file descriptor that becomes readable when this process was told to end.
    Sending raises Gone; so does receiving, which also raises Refused for what is no frame
    and ToldToEnd. One thread sends and one receives, at most.
    """

    def __init__(self, sock: socket.socket, wake: int | None = None) -> None:
        self._sock, self._wake = sock, wake
        sock.settimeout(_SEND_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        notice_a_dead_peer(sock)

    def fileno(self) -> int:
        return self._sock.fileno()

    def wakers(self) -> list[int]:
        """What else to wait for beside a message; `receive` then raises ToldToEnd."""
        return [] if self._wake is None else [self._wake]

    def close(self) -> None:
        """Break off; a thread that waits for a frame gets Gone."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def send(self, kind: str, **fields: Any) -> None:
        self._send(_frame({"type": kind, **fields}))

    def send_file(self, name: str, path: Path) -> None:
        """Send a file under `name`, as long as it is now."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._send(_frame({"type": "file", "name": name, "bytes": size}))
            while size and (part := file.read(min(_PART, size))):
                self._send(part)
                size -= len(part)
        if size:
            raise Gone(f"{path.name} became shorter while it was sent")

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Gone(_reason(error)) from None

    def receive(
        self, files: Mapping[str, Path] | None = None, seconds: float | None = None
    ) -> Message:
        """The next message. A file is written where `files` puts its name, or refused.

        seconds: how long to wait for each part of it; None without end.
        """
        length = int.from_bytes(self._exactly(4, seconds), "big")
        if not 0 < length <= _HEADER_AT_MOST:
            raise Refused("it does not speak the language of load workers")
        data = self._exactly(length, seconds)
        at_ns = time.monotonic_ns()
        try:
            fields = json.loads(data)
        except ValueError:
            raise Refused("it does not speak the language of load workers") from None
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise Refused("it does not speak the language of load workers")
        message = Message(fields["type"], fields, at_ns)
        if message.kind == "file":
            path = (files or {}).get(message.text("name"))
            if path is None:
                raise Refused(f"it sent a file that nobody asked for: {message.text('name')[:40]}")
            self._store(path, message.integer("bytes"), seconds)
        return message

    def _store(self, path: Path, size: int, seconds: float | None) -> None:
        try:
            with path.open("wb") as file:
                while size > 0:
                    part = self._some(min(size, _PART), seconds)
                    file.write(part)
                    size -= len(part)
        except OSError as error:
            raise NotStored(error.strerror or str(error)) from None

    def _exactly(self, size: int, seconds: float | None) -> bytes:
        data = b""
        while len(data) < size:
            data += self._some(size - len(data), seconds)
        return data

    def _some(self, size: int, seconds: float | None) -> bytes:
        try:
            ready = select.select([self.fileno(), *self.wakers()], [], [], seconds)[0]
            if self._wake in ready:
                raise ToldToEnd
            if not ready:
                raise Gone(f"it said nothing for {seconds:g} s")
            data = self._sock.recv(size)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread
            raise Gone(_reason(error)) from None
        if not data:
            raise Gone("it closed the connection")
        return data


def token_from_environment() -> str:
    """The shared token, at least 16 characters. Raises Refused with the way out."""
    token = os.environ.get(TOKEN_ENV, "")
    if len(token) < FEWEST_TOKEN_CHARACTERS:
        raise Refused(
            f"set the environment variable {TOKEN_ENV} to the same secret of at least "
            f"{FEWEST_TOKEN_CHARACTERS} characters on this machine and on every worker's"
        )
    return token


def admit(link: Link, token: str) -> None:
    """The worker's side of the handshake. Raises Refused, which the other side is told."""
    ours = secrets.token_hex(16)
    link.send("hello", protocol=PROTOCOL, toolkit=__version__, nonce=ours)
    hello = link.receive(seconds=HANDSHAKE_S)
    try:
        _same_language(hello)
        theirs = hello.text("nonce")
        if not hmac.compare_digest(hello.text("proof"), _proof(token, "coordinator", ours, theirs)):
            raise Refused(f"its token is another one; {TOKEN_ENV} must be the same on both sides")
    except Refused as refusal:
        link.send("refused", reason=str(refusal))
        raise
    link.send("welcome", proof=_proof(token, "worker", ours, theirs))


def introduce(link: Link, token: str) -> None:
    """The coordinator's side of the handshake. Raises Refused or Gone."""
    hello = link.receive(seconds=HANDSHAKE_S)
    _same_language(hello)
    ours, theirs = secrets.token_hex(16), hello.text("nonce")
    proof = _proof(token, "coordinator", theirs, ours)
    link.send("hello", protocol=PROTOCOL, toolkit=__version__, nonce=ours, proof=proof)
    answer = link.receive(seconds=HANDSHAKE_S)
    if answer.kind == "refused":
        raise Refused(f"it refused us: {answer.text('reason')[:300]}")
    if not hmac.compare_digest(answer.text("proof"), _proof(token, "worker", theirs, ours)):
        raise Refused(f"its token is another one; {TOKEN_ENV} must be the same on both sides")


def _same_language(hello: Message) -> None:
    if hello.kind != "hello":
        raise Refused("it does not speak the language of load workers")
    protocol, toolkit = hello.integer("protocol"), hello.text("toolkit")
    if (protocol, toolkit) != (PROTOCOL, __version__):
        raise Refused(
            f"it is kserve-bench {toolkit[:40]} (protocol {protocol}), this is {__version__} "
            f"(protocol {PROTOCOL}); install the same version on both sides"
        )


def _proof(token: str, role: str, worker_nonce: str, coordinator_nonce: str) -> str:
    said = f"{role}:{worker_nonce}:{coordinator_nonce}"
    return hmac.new(token.encode(), said.encode(), hashlib.sha256).hexdigest()


def notice_a_dead_peer(sock: socket.socket) -> None:
    """Let the kernel break a connection whose other machine has been silent for about 20 s."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
    for name, value in wanted.items():
        if hasattr(socket, name):  # not every platform lets them be chosen
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def split_address(text: str) -> tuple[str, int]:
    """`host:port`, `[address]:port` or `:port` (every address). Raises Refused."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535 or (":" in host and host[0] != "["):
        raise Refused(f"{text} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _frame(header: dict[str, Any]) -> bytes:
    data = json.dumps(header).encode()
    return len(data).to_bytes(4, "big") + data


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not take what is sent"
    return getattr(error, "strerror", None) or str(error)

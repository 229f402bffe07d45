"""A non-blocking byte stream to one server, plain or TLS, whose reads carry stamps."""

import errno
import os
import socket
import ssl
from array import array
from dataclasses import dataclass
from pathlib import Path

from runners.load.clock import (
    STAMP_SPACE,
    WallClock,
    enable_kernel_stamps,
    kernel_stamp_ns,
    monotonic_ns,
)

READ_SIZE = 1 << 18


@dataclass(frozen=True)
class Address:
    """A resolved server: the first of its addresses, and the name to verify."""

    family: int
    sockaddr: tuple[object, ...]
    host: str
    tls: ssl.SSLContext | None


def resolve(host: str, port: int, tls: ssl.SSLContext | None) -> list[Address]:
    """Addresses of a server in the resolver's order; raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [Address(family, sockaddr, host, tls) for family, _, _, _, sockaddr in found]


def tls_context(ca_cert: Path | None) -> ssl.SSLContext:
    """A verifying client context; `ca_cert` is trusted in place of the system's store."""
    context = ssl.create_default_context(cafile=str(ca_cert) if ca_cert else None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class ReadLag:
    """How late the client read what the kernel had stamped, in ns.

    Of a long run an evenly spaced share of the reads is kept: at most two million values.
    """

    def __init__(self) -> None:
        self.values = array("q")
        self._every = 1
        self._skip = 0

    def add(self, lag_ns: int) -> None:
        if self._skip:
            self._skip -= 1
            return
        self.values.append(lag_ns)
        self._skip = self._every - 1
        if len(self.values) == 2_000_000:
            self.values = self.values[::2]
            self._every *= 2


class Stream:
    """One connection. `ready` turns true once bytes can be sent (after TLS, if any).

    opened_ns, connected_ns, ready_ns: when it was asked for, had TCP, and could send.
    """

    def __init__(self, address: Address, wall: WallClock, lag: ReadLag) -> None:
        self._wall, self._lag = wall, lag
        self.sock = socket.socket(address.family, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kernel_stamps = enable_kernel_stamps(self.sock)
        self.ready = False
        self.opened_ns = monotonic_ns()
        self.connected_ns: int | None = None
        self.ready_ns: int | None = None
        self._unsent = bytearray()
        self._tls: ssl.SSLObject | None = None
        if address.tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = address.tls.wrap_bio(
                self._incoming, self._outgoing, server_hostname=address.host
            )
        code = self.sock.connect_ex(address.sockaddr)
        if code not in (0, errno.EINPROGRESS):
            self.sock.close()
            raise OSError(code, os.strerror(code))

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def is_tls(self) -> bool:
        return self._tls is not None

    @property
    def wants_write(self) -> bool:
        return self.connected_ns is None or bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Hand `data` to the kernel now; what does not fit follows when it can."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent += data[sent:]

    def on_writable(self) -> None:
        """Finish connecting, or send what is left. Raises OSError (ssl.SSLError too)."""
        if self.connected_ns is None:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            self.connected_ns = monotonic_ns()
            if self._tls is None:
                self._is_ready()
            else:
                self._handshake()
        if self._unsent:
            try:
                del self._unsent[: self.sock.send(self._unsent)]
            except BlockingIOError:
                return

    def read(self) -> tuple[bytes, int] | None:
        """What has arrived and when (monotonic ns); b"" at the end, None for nothing yet.

        The stamp is the kernel's for the last segment of the read, which is the one
        that completed it; without kernel stamps, the instant the read returned.
        """
        try:
            data, ancillary, _, _ = self.sock.recvmsg(READ_SIZE, STAMP_SPACE)
        except BlockingIOError:
            return None
        now = monotonic_ns()
        stamp = now
        if self.kernel_stamps and data:
            wall = kernel_stamp_ns(ancillary)
            if wall is None:
                self.kernel_stamps = False
            else:
                self._wall.refresh(now)
                stamp = min(wall - self._wall.offset_ns, now)
                self._lag.add(now - stamp)
        if self._tls is None:
            return data, stamp
        return self._decrypt(data, stamp)

    def _is_ready(self) -> None:
        self.ready, self.ready_ns = True, monotonic_ns()

    def _handshake(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
            self._is_ready()
        except ssl.SSLWantReadError:
            pass
        self._unsent += self._outgoing.read()
        if self._unsent:
            try:
                del self._unsent[: self.sock.send(self._unsent)]
            except BlockingIOError:
                return

    def _decrypt(self, data: bytes, stamp: int) -> tuple[bytes, int] | None:
        assert self._tls is not None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        if not self.ready:
            self._handshake()
            if not self.ready:
                return (b"", stamp) if not data else None
        plain: list[bytes] = []
        while True:
            try:
                part = self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            if not part:
                return b"".join(plain), stamp
            plain.append(part)
        return (b"".join(plain), stamp) if plain else None

    def close(self) -> None:
        self.sock.close()

"""A non-blocking byte stream to one server, plain or TLS, whose reads carry stamps."""

import errno
import os
import socket
import ssl
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runners.load.clock import (
    STAMP_SPACE,
    WallClock,
    enable_kernel_stamps,
    kernel_stamp,
    monotonic_ns,
    nanoseconds,
    timespec,
)

READ_SIZE = 1 << 16
_END = b"\r\n\r\n"
# Kept reads. More would cost less, but looking at all of an answer at its end keeps others
# waiting where many end at once: with 256, two events of a stream came to share a stamp.
_MOST_KEPT = 8
_MOST_LAGS = 2_000_000


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
        self.extend(np.array([lag_ns]))

    def extend(self, lags_ns: npt.NDArray[np.int64]) -> None:
        """Of successive reads."""
        kept = lags_ns[self._skip :: self._every]
        self._skip = (self._skip - len(lags_ns)) % self._every
        self.values.frombytes(kept.tobytes())
        if len(self.values) >= _MOST_LAGS:
            self.values = self.values[::2]
            self._every *= 2


class Reads:
    """Reads of one connection kept as the kernel gave them, to be looked at later.

    An answer in chunks ends with an empty line, so only a read that ends with one, or is too
    short to tell, can be its last: until then nothing has to be understood.

    stamped: whether the kernel has stamped every byte of it.
    """

    __slots__ = ("_data", "_recvmsg", "_stamps", "_wall", "read_ns", "stamped")

    def __init__(self, sock: socket.socket, wall: WallClock) -> None:
        self._recvmsg, self._wall = sock.recvmsg, wall
        self.stamped = True
        self.read_ns = array("q")
        self._data: list[bytes] = []
        self._stamps: list[bytes] = []

    def take(self) -> bool:
        """Read once; False when it is time to look. Raises OSError."""
        try:
            data, ancillary, _, _ = self._recvmsg(READ_SIZE, STAMP_SPACE)
        except BlockingIOError:
            return True
        now = monotonic_ns()
        if len(ancillary) == 1:
            stamp = ancillary[0][2]
        else:
            self.stamped = self.stamped and not data
            stamp = timespec(now + self._wall.offset_ns)
        self._data.append(data)
        self.read_ns.append(now)
        self._stamps.append(stamp)
        return len(data) >= 4 and data[-4:] != _END and len(self._data) < _MOST_KEPT

    def clear(self) -> tuple[list[bytes], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(data, arrivals, lags) of what was kept, in ns; nothing is kept any more."""
        data, read_ns = self._data, np.array(self.read_ns)
        arrivals = self._wall.arrivals(self._stamps, read_ns)
        self._data, self.read_ns, self._stamps = [], array("q"), []
        return data, arrivals, read_ns - arrivals


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
        self._reads = Reads(self.sock, wall)
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
            kernel = kernel_stamp(ancillary)
            if kernel is None:
                # A handshake may be faster than the kernel starts stamping.
                self.kernel_stamps = not self.ready
            else:
                stamp = min(nanoseconds(kernel) - self._wall.offset_ns, now)
                self._lag.add(now - stamp)
        if self._tls is None:
            return data, stamp
        return self._decrypt(data, stamp)

    def keep_reads(self) -> Reads | None:
        """Where reads may be kept unseen from here on; None where each has to be looked at."""
        return self._reads if self.kernel_stamps and self._tls is None else None

    def kept(self) -> tuple[list[bytes], list[int]]:
        """(data, arrivals) of the reads kept since; b"" at the end, as of `read`."""
        if not len(self._reads.read_ns):
            return [], []
        data, arrivals, lags = self._reads.clear()
        self.kernel_stamps = self.kernel_stamps and self._reads.stamped
        self._lag.extend(lags)
        return data, arrivals.tolist()

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

"""A raw HTTP server for tests: it plays scripted bytes and remembers what it was asked."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Play = Callable[["Conversation"], None]


class Conversation:
    """One connection, from the server's side; times are CLOCK_MONOTONIC ns."""

    def __init__(self, sock: socket.socket, log: "Log") -> None:
        self.sock, self.log = sock, log
        self.body = b""

    def request(self) -> bytes:
        """The head of one whole request, its body in `body`; b"" when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.sock.recv(65536)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        length = next(lengths, 0)
        while len(body) < length:
            body += self.sock.recv(65536)
        self.body = body
        self.log.requests.append((time.monotonic_ns(), head, body))
        return head

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.log.sends.append(time.monotonic_ns())


@dataclass
class Log:
    requests: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    sends: list[int] = field(default_factory=list)
    connections: int = 0


@dataclass(frozen=True)
class Server:
    url: str
    host: str
    port: int
    log: Log


@contextmanager
def serve(play: Play, *, tls: ssl.SSLContext | None = None, ipv6: bool = False) -> Iterator[Server]:
    """Run `play` once per connection, each in its own thread."""
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    host = "::1" if ipv6 else "127.0.0.1"
    listener = socket.create_server((host, 0), family=family, backlog=256)
    log = Log()
    open_sockets: list[socket.socket] = []

    def converse(sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
            play(Conversation(sock, log))
        except OSError:
            pass
        finally:
            sock.close()

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            log.connections += 1
            open_sockets.append(sock)
            threading.Thread(target=converse, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port = listener.getsockname()[1]
    scheme = "https" if tls else "http"
    shown = f"[{host}]" if ipv6 else ("localhost" if tls else host)
    try:
        yield Server(f"{scheme}://{shown}:{port}", "localhost" if tls else host, port, log)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in open_sockets:
            sock.close()


def chunked(*parts: bytes) -> bytes:
    """`parts` as HTTP chunks, without the last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def plain(status: str, body: bytes, *headers: bytes) -> bytes:
    """A whole response with a length."""
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body

"""Listening addresses that lead to a pod's real endpoint, as kube-proxy makes them."""

import random
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.kube.portforward import Address

NODE_PORTS = range(30000, 32768)


class Relay:
    """TCP from one address to whatever `target` names at the moment of a connection.

    reads_head: target is given the first request's head, else nothing; a gateway answers 503
    itself where there is no target. Raises OSError when the address cannot be listened at.
    """

    def __init__(
        self,
        address: Address,
        target: Callable[[bytes], Address | None],
        reads_head: bool = False,
    ) -> None:
        self._target = target
        self._reads_head = reads_head
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(address)
        except OSError:
            self._listener.close()
            raise
        self._listener.listen(64)
        self.address: Address = self._listener.getsockname()
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        for each in (self._listener, *list(self._open)):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            head = read_head(client) if self._reads_head else b""
            address = self._target(head)
            if address is None:
                client.sendall(UNAVAILABLE if head else b"")
                return
            with socket.create_connection(address, timeout=5) as remote:
                remote.settimeout(None)
                self._open |= {client, remote}
                remote.sendall(head)
                exchange(client, remote)
                self._open -= {client, remote}
        except OSError:
            pass  # nobody behind the address: the client sees its connection end
        finally:
            client.close()


def exchange(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                data = source.recv(65536)
                if not data:
                    return
                key.data.sendall(data)


UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n"
    b"Connection: close\r\n\r\nno healthy upstream"
)


def read_head(client: socket.socket) -> bytes:
    """Up to the end of the first request's headers, and what came with it."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(65536)
        if not data:
            raise ConnectionError("the client left before it asked")
        head += data
    return head


def host_of(head: bytes) -> str:
    """The Host header, without a port."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"host":
            return value.decode("latin-1").strip().split(":")[0]
    return ""


def on_a_free_node_port(target: Callable[[bytes], Address | None], wanted: int) -> Relay:
    """On the wanted port of 127.0.0.1, or on another of the range when it is taken."""
    for port in [wanted, *random.sample(NODE_PORTS, 50)]:
        with suppress(OSError):
            return Relay(("127.0.0.1", port), target)
    raise OSError("no node port is free")

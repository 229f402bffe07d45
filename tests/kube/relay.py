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

    Raises OSError when the address cannot be listened at.
    """

    def __init__(self, address: Address, target: Callable[[], Address | None]) -> None:
        self._target = target
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
        address = self._target()
        try:
            if address is None:
                return
            with socket.create_connection(address, timeout=5) as remote:
                remote.settimeout(None)
                self._open |= {client, remote}
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


def on_a_free_node_port(target: Callable[[], Address | None], wanted: int) -> Relay:
    """On the wanted port of 127.0.0.1, or on another of the range when it is taken."""
    for port in [wanted, *random.sample(NODE_PORTS, 50)]:
        with suppress(OSError):
            return Relay(("127.0.0.1", port), target)
    raise OSError("no node port is free")

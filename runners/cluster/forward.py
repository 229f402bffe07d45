"""Port-forward in pure Python: a local port whose bytes travel through the API server to a pod.

For looking, not for measuring: everything passes through one stream of the API server and
the kubelet.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from runners.cluster.api import Connection

_LOOK_S = 0.5
_CHUNK = 65536
_NOTICE_S = 5.0


@contextmanager
def forwarded(connection: Connection, pod: str, port: int) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to `port` of a pod while the context is open.

    A connection that cannot be made through is closed, as by a server that is not there.
    """
    stop = threading.Event()
    dial = _dialler(connection, pod, port)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.settimeout(_LOOK_S)
        thread = threading.Thread(
            target=_accept, args=(listener, dial, stop), name=f"port-forward {pod}", daemon=True
        )
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop.set()
            thread.join()


@dataclass(frozen=True)
class _Stream:
    """A websocket and the library's threads that carry bytes over it."""

    websocket: Any
    carriers: list[threading.Thread]

    def end(self) -> None:
        """After the local socket was closed, by which the threads notice that it is over."""
        for thread in self.carriers:
            thread.join(_NOTICE_S)
        # The library leaves it open when the other side ends first.
        with suppress(Exception):
            self.websocket.shutdown()


def _dialler(connection: Connection, pod: str, port: int) -> Any:
    """A function that opens one stream to the pod's port: its socket and its stream."""
    client = import_module("kubernetes.client")
    # Of its own: while it dials, the client library replaces a method of the object.
    api = client.CoreV1Api(client.ApiClient(connection.client.client.configuration))
    portforward = import_module("kubernetes.stream").portforward
    lock = threading.Lock()

    def dial() -> Any:
        with lock:
            before = set(threading.enumerate())
            opened = portforward(
                api.connect_get_namespaced_pod_portforward,
                pod,
                connection.namespace,
                ports=str(port),
            )
            threads = [each for each in threading.enumerate() if each not in before]
        remote = opened.socket(port)
        remote.setblocking(True)
        carriers = [each for each in threads if each.name.startswith("Kubernetes port forward")]
        return remote, _Stream(opened.websocket, carriers)

    return dial


def _accept(listener: socket.socket, dial: Any, stop: threading.Event) -> None:
    """Carry each connection until the end; then close those that are left."""
    carried: list[tuple[Any, ...]] = []
    while not stop.is_set():
        try:
            local, _ = listener.accept()
        except TimeoutError:
            continue
        local.settimeout(None)
        try:
            remote, stream = dial()
        # The library raises ApiException, websocket errors and plain Exceptions alike.
        except Exception:
            local.close()
            continue
        carried.append((local, remote, stream))
        for source, sink in ((local, remote), (remote, local)):
            threading.Thread(target=_pump, args=(source, sink, stream), daemon=True).start()
    for local, remote, stream in carried:
        _end(local, remote, stream)


def _pump(source: Any, sink: Any, stream: _Stream) -> None:
    """Bytes from one socket to the other, until one of them ends."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    _end(source, sink, stream)


def _end(local: Any, remote: Any, stream: _Stream) -> None:
    for each in (local, remote):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            each.close()
    stream.end()

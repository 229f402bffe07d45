"""Port-forward over a WebSocket (v4.channel.k8s.io): channel 2i carries data, 2i+1 errors."""

import base64
import hashlib
import selectors
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
Address = tuple[str, int]


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def handshake(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of `101 Switching Protocols`."""
    key = headers.get("Sec-WebSocket-Key", "")
    accepted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    answer = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accepted}
    offered = [each.strip() for each in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    spoken = [each for each in offered if each in PROTOCOLS[1:]]
    return {**answer, "Sec-WebSocket-Protocol": spoken[0]} if spoken else answer


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked frame from the server."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


class Frames:
    """Frames of a client, cut out of the bytes as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        found = []
        while (one := self._next()) is not None:
            found.append(one)
        return found

    def _next(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, size, at = buffer[0] & 15, buffer[1] & 127, 2
        extra = {126: 2, 127: 8}.get(size, 0)
        masked = 4 if buffer[1] & 128 else 0
        if len(buffer) < at + extra + masked:
            return None
        if extra:
            size = int.from_bytes(buffer[at : at + extra], "big")
            at += extra
        mask = bytes(buffer[at : at + masked])
        at += masked
        if len(buffer) < at + size:
            return None
        payload = bytes(buffer[at : at + size])
        del buffer[: at + size]
        if mask:
            repeated = (mask * (size // 4 + 1))[:size]
            mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
            payload = mixed.to_bytes(size, "big")
        return opcode, payload


def forward(
    client: socket.socket,
    ports: Sequence[int],
    address_of: Callable[[int], Address | None],
    stopped: Callable[[], bool],
) -> None:
    """Carry bytes between the WebSocket and the ports' real addresses until one side ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(client, selectors.EVENT_READ)
        remotes: dict[int, socket.socket] = {}
        for index, port in enumerate(ports):
            number = struct.pack("<H", port)
            for channel in (2 * index, 2 * index + 1):
                client.sendall(frame(BINARY, bytes([channel]) + number))
            remote = connected(address_of(port))
            if remote is None:
                client.sendall(frame(BINARY, bytes([2 * index + 1]) + refusal(port)))
            else:
                remotes[2 * index] = remote
                ready.register(remote, selectors.EVENT_READ, 2 * index)
        frames = Frames()
        try:
            while remotes and not stopped():
                for key, _ in ready.select(0.5):
                    if key.fileobj is client:
                        going = from_client(client, frames, remotes)
                    else:
                        going = from_remote(client, ready, remotes, key.data)
                    if not going:
                        return
        except OSError:
            return  # either side is gone, which ends a port-forward
        finally:
            for remote in remotes.values():
                remote.close()


def from_client(client: socket.socket, frames: Frames, remotes: dict[int, socket.socket]) -> bool:
    data = client.recv(65536)
    for opcode, payload in frames.feed(data):
        if opcode == CLOSE:
            client.sendall(frame(CLOSE, payload))
            return False
        if opcode == PING:
            client.sendall(frame(PONG, payload))
        elif payload and payload[0] in remotes:
            remotes[payload[0]].sendall(payload[1:])
    return bool(data)


def from_remote(
    client: socket.socket,
    ready: selectors.BaseSelector,
    remotes: dict[int, socket.socket],
    channel: int,
) -> bool:
    remote = remotes[channel]
    data = remote.recv(65536)
    if data:
        client.sendall(frame(BINARY, bytes([channel]) + data))
        return True
    ready.unregister(remote)
    remotes.pop(channel).close()
    if not remotes:
        client.sendall(frame(CLOSE, b"\x03\xe8"))
    return bool(remotes)


def connected(address: Address | None) -> socket.socket | None:
    try:
        return socket.create_connection(address, timeout=5) if address else None
    except OSError:
        return None


def refusal(port: int) -> bytes:
    return (
        f"error forwarding port {port} to pod: failed to connect to localhost:{port} inside "
        f"namespace, IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused"
    ).encode()

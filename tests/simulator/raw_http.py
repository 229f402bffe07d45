"""A client so plain that what it sees is what the server wrote."""

import json
import socket
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One response; `chunks` of the transfer encoding are None under content-length."""

    status: int
    headers: dict[str, str]
    chunks: list[bytes] | None
    body: bytes
    end_ns: int

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[bytes]:
        """The data of each server-sent event."""
        *events, rest = self.body.split(b"\n\n")
        assert rest == b""
        assert all(event.startswith(b"data: ") for event in events)
        return [event.removeprefix(b"data: ") for event in events]

    def messages(self) -> list[dict[str, Any]]:
        """The events as JSON, without the final [DONE]."""
        *messages, done = self.events()
        assert done == b"[DONE]"
        return [json.loads(message) for message in messages]

    def text(self) -> str:
        """All content of a chat stream."""
        deltas = [one["choices"][0]["delta"] for one in self.messages() if one["choices"]]
        return "".join(delta.get("content", "") for delta in deltas)


class ClosedEarly(Exception):
    """The server closed the connection; `got` came before."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"closed after {len(got)} bytes")
        self.got = got


class RawClient:
    """One connection; every wait fails after 20 s."""

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        self.socket = socket.create_connection((url.hostname, url.port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reads: list[tuple[int, bytes]] = []
        self._got = b""
        self._all = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, method: str, path: str, body: object = None, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + data)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        self.send(method, path, body, **headers)
        return self.receive()

    def receive(self) -> Answer:
        """The next response, framing checked to the byte; raises ClosedEarly."""
        self._all = self._got
        head = self._until(b"\r\n\r\n").decode().split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = dict(line.split(": ", 1) for line in head[1:])
        if "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
            return Answer(status, headers, None, body, monotonic_ns())
        assert headers["transfer-encoding"] == "chunked"
        chunks: list[bytes] = []
        while size := int(self._until(b"\r\n"), 16):
            chunks.append(self._exactly(size))
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return Answer(status, headers, chunks, b"".join(chunks), monotonic_ns())

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._got:
            self._read()
        found, self._got = self._got.split(mark, 1)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._got) < size:
            self._read()
        found, self._got = self._got[:size], self._got[size:]
        return found

    def _read(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise ClosedEarly(self._all)
        self.reads.append((monotonic_ns(), data))
        self._got += data
        self._all += data


def chat(max_tokens: int = 8, stream: bool = True, **more: object) -> dict[str, object]:
    """A chat request; a stream asks for its usage."""
    body: dict[str, object] = {
        "model": "simulated",
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "max_tokens": max_tokens,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    return {**body, **more}


def truths(base_url: str) -> list[dict[str, Any]]:
    """The truth log so far."""
    with RawClient(base_url) as client:
        lines = client.ask("GET", "/simulator/truth").body.splitlines()
    return [json.loads(line) for line in lines]


def samples(base_url: str) -> dict[str, float]:
    """The samples of /metrics, by `name` or `name{label=value,…}` without the common labels."""
    from prometheus_client.parser import text_string_to_metric_families

    with RawClient(base_url) as client:
        text = client.ask("GET", "/metrics").body.decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {k: v for k, v in sample.labels.items() if k not in ("engine", "model_name")}
            pairs = ",".join(f"{key}={value}" for key, value in own.items())
            found[sample.name + (f"{{{pairs}}}" if pairs else "")] = sample.value
    return found

"""One client connection: HTTP/1.1 requests in, routes, answers out."""

import asyncio
import zlib
from collections.abc import Set
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, cast
from urllib.parse import quote

from runners import __version__
from runners.simulator import truth as truth_log
from runners.simulator import wire
from runners.simulator.asked import (
    CHARACTERS_PER_TOKEN,
    MAX_MODEL_LEN,
    RequestError,
    check_model,
    read_asked,
    read_body,
    read_prompt,
)
from runners.simulator.engine import Engine
from runners.simulator.exposition import exposition
from runners.simulator.generate import is_generate, read_generate
from runners.simulator.settings import Fault
from runners.simulator.stream import Stream
from runners.simulator.truth import Truth

# A request with this header meets no fault and does not count for `@every`.
PROBE_HEADER = "x-simulator-probe"
_LARGEST_HEAD = 65_536
_LARGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True)
class HttpRequest:
    """A request that is complete; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """Answers one request after the other; what comes meanwhile waits in the buffer."""

    transport: asyncio.Transport

    def __init__(self, engine: Engine, api_key: str | None, connections: "set[Connection]") -> None:
        self.blocked = False
        self._engine = engine
        self._api_key = api_key
        self._connections = connections
        self._buffer = bytearray()
        self._head: HttpRequest | None = None
        self._busy = False
        self._reading = False
        self._closing = False
        self._stream: Stream | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # With these limits, "paused" means exactly: the kernel has not taken every byte yet.
        self.transport.set_write_buffer_limits(high=0)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._stream is not None:
            self._stream.abort()

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        if self._stream is not None:
            self._stream.unblocked()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def answered(self) -> None:
        """An answer is through: close where the client asked for it, or read on."""
        self._stream = None
        self._busy = False
        if self._closing:
            self.transport.close()
        elif self._buffer and not self._reading:
            self._read()

    # requests

    def _read(self) -> None:
        self._reading = True
        while not self._busy and not self.transport.is_closing():
            try:
                request = self._next_request()
            except RequestError as rejected:
                self._closing = True
                self._reject(rejected, "")
                break
            if request is None:
                break
            self._busy = True
            self._closing = request.headers.get("connection", "").lower() == "close"
            self._answer(request)
        self._reading = False

    def _next_request(self) -> HttpRequest | None:
        """The request at the front of the buffer, once all of it is there."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _LARGEST_HEAD:
                    raise RequestError(431, "BadRequestError", "the request head is too long")
                return None
            self._head = _read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if self._head.headers.get("expect", "").lower() == "100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = _body_length(self._head)
        if len(self._buffer) < length:
            return None
        head, self._head = self._head, None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return HttpRequest(head.method, head.path, head.headers, body)

    def _reject(self, rejected: RequestError, path: str) -> None:
        value = _failure(path, rejected.status, rejected.kind, str(rejected))
        self._send(wire.json_response(rejected.status, value))

    def _send(self, data: bytes) -> None:
        self.transport.write(data)
        self.answered()

    # routes

    def _answer(self, request: HttpRequest) -> None:
        received_ns = monotonic_ns()
        try:
            if request.path.startswith("/v1/") and not self._key_is_right(request):
                self._send(wire.json_response(401, {"error": "Unauthorized"}))
                return
            match request.method, request.path:
                case "POST", "/v1/chat/completions" | "/v1/completions":
                    self._complete(request, received_ns)
                case "POST", path if is_generate(path):
                    self._complete(request, received_ns)
                case "POST", "/tokenize":
                    self._tokenize(read_body(request.body))
                case "GET", path:
                    self._get(path)
                case _:
                    raise RequestError(404, "NotFoundError", f"no {request.method} {request.path}")
        except RequestError as rejected:
            self._reject(rejected, request.path)

    def _key_is_right(self, request: HttpRequest) -> bool:
        if self._api_key is not None:
            return request.headers.get("authorization") == f"Bearer {self._api_key}"
        # Without a key nobody can have the right one: that is the fault.
        always = Fault("unauthorized") in self._engine.behaviour.fault
        listing = request.path == "/v1/models"
        return not (always and listing) or PROBE_HEADER in request.headers

    def _get(self, path: str) -> None:
        engine = self._engine
        match path:
            case "/health" | "/ping" | "/v2/health/live" | "/v2/health/ready":
                self._send(wire.response(200, b""))
            case "/version":
                self._send(wire.json_response(200, {"version": f"simulated-{__version__}"}))
            case "/v1/models":
                self._send(wire.json_response(200, _models(engine.model)))
            case "/metrics":
                self._send_metrics(engine.metrics.apis)
            case "/prometheus/metrics":
                self._send_metrics({"trtllm-serve"})
            case ready if ready == f"/v2/models/{quote(engine.model, safe='')}/ready":
                self._send(wire.response(200, b""))
            case "/simulator/truth":
                body = b"".join(truth_log.lines(engine.truths))
                self._send(wire.response(200, body, "application/x-ndjson"))
            case _:
                raise RequestError(404, "NotFoundError", f"no GET {path}")

    def _send_metrics(self, apis: Set[str]) -> None:
        engine = self._engine
        text = exposition(engine.metrics, engine.gauges(), engine.model, apis)
        self._send(wire.response(200, text, "text/plain; version=0.0.4; charset=utf-8"))

    def _tokenize(self, body: dict[str, Any]) -> None:
        check_model(body, self._engine.model)
        prompt = read_prompt(body)
        if isinstance(prompt, str):
            starts = range(0, len(prompt), CHARACTERS_PER_TOKEN)
            pieces = (prompt[start : start + CHARACTERS_PER_TOKEN] for start in starts)
            tokens = [zlib.crc32(piece.encode()) % wire.VOCABULARY for piece in pieces]
        else:
            tokens = list(prompt)
        value = {"count": len(tokens), "max_model_len": MAX_MODEL_LEN, "tokens": tokens}
        self._send(wire.json_response(200, {**value, "token_strs": None}))

    def _complete(self, request: HttpRequest, received_ns: int) -> None:
        engine = self._engine
        truth, fault = engine.arrive(received_ns, PROBE_HEADER in request.headers)
        if fault is not None and self._refused(fault, truth, request.path):
            return
        try:
            body = read_body(request.body)
            if is_generate(request.path):
                asked = read_generate(request.path, body, engine.model)
            else:
                chat = request.path == "/v1/chat/completions"
                asked = read_asked(body, engine.model, chat)
            engine.check(asked)
        except RequestError as rejected:
            _ended(truth, f"http_{rejected.status}")
            raise
        name = request.headers.get("x-request-id") or f"{truth.request:08x}"
        self._stream = stream = engine.answer(self, asked, truth, fault, name)
        if stream.gone:
            self._stream = None

    def _refused(self, fault: Fault, truth: Truth, path: str) -> bool:
        """Carry out a fault that leaves no answer; whether there was one."""
        if fault.kind == "refuse":
            _ended(truth, "refuse")
            self.transport.close()
            return True
        if fault.kind == "unauthorized" and self._api_key is None:
            _ended(truth, "http_401")
            self._send(wire.json_response(401, {"error": "Unauthorized"}))
            return True
        if fault.kind == "status":
            status = fault.argument
            _ended(truth, f"http_{status}")
            wait = (("retry-after", "1"),) if status in (429, 503) else ()
            value = _failure(path, status, "SimulatedError", f"simulated status {status}")
            self._send(wire.json_response(status, value, wait))
            return True
        return False


def _failure(path: str, status: int, kind: str, message: str) -> dict[str, Any]:
    """An error as the API of `path` words it, before anything else is known."""
    if path.startswith("/v2/"):
        return {"error": message}
    if is_generate(path):
        return {"error": message, "error_type": kind}
    return wire.error(status, kind, message)


def _ended(truth: Truth, outcome: str) -> None:
    truth.ended_ns = monotonic_ns()
    truth.outcome = outcome


def _models(model: str) -> dict[str, Any]:
    one = {
        "id": model,
        "object": "model",
        "created": 0,
        "owned_by": wire.OWNER,
        "root": model,
        "parent": None,
        "max_model_len": MAX_MODEL_LEN,
    }
    return {"object": "list", "data": [one]}


def _read_head(head: bytes) -> HttpRequest:
    first, *rest = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1":
        raise RequestError(400, "BadRequestError", "the simulator speaks HTTP/1.1 only")
    headers: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon:
            raise RequestError(400, "BadRequestError", "a header line without a colon")
        headers[name.lower()] = value.strip()
    return HttpRequest(parts[0], parts[1].partition("?")[0], headers, b"")


def _body_length(head: HttpRequest) -> int:
    if "transfer-encoding" in head.headers:
        raise RequestError(411, "BadRequestError", "send the body with a content-length")
    text = head.headers.get("content-length", "0")
    if not text.isdecimal():
        raise RequestError(400, "BadRequestError", "content-length is not a number")
    if int(text) > _LARGEST_BODY:
        raise RequestError(413, "BadRequestError", f"the body is longer than {_LARGEST_BODY} bytes")
    return int(text)

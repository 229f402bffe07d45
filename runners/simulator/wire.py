"""The bytes of HTTP responses, and the JSON shapes that APIs have in common."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from zlib import crc32

import orjson

FINGERPRINT = "simulated"
OWNER = "kserve-bench-simulator"
VOCABULARY = 32_000
_STAMP = f"server: {OWNER}\r\nx-simulated: true\r\n".encode()

STREAM_HEADERS = (
    b"HTTP/1.1 200 OK\r\n" + _STAMP + b"content-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def response(
    status: int,
    body: bytes,
    content_type: str = "application/json",
    headers: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A complete HTTP/1.1 response."""
    further = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{_STAMP.decode()}{further}"
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def json_response(status: int, value: Any, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    return response(status, orjson.dumps(value), headers=headers)


def error(status: int, kind: str, message: str) -> dict[str, Any]:
    """vLLM's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def chunked(data: bytes) -> bytes:
    """One chunk of the chunked transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(value: Any, field: bytes = b"data: ") -> bytes:
    """A server-sent event in a chunk of its own."""
    return chunked(field + orjson.dumps(value) + b"\n\n")


def token(text: str, special: bool = False) -> dict[str, Any]:
    """A token as TGI and the Open Inference Protocol describe one."""
    return {
        "id": crc32(text.encode()) % VOCABULARY,
        "text": text,
        "logprob": -1.0,
        "special": special,
    }


@dataclass
class Usage:
    """Token counts of one request, as the server states them.

    cached_tokens: settled once the request is admitted.
    excess: share by which completion tokens are overstated; 0.0 is the truth.
    """

    prompt_tokens: int
    cached_tokens: int
    excess: float = 0.0

    def at(self, completion_tokens: int) -> dict[str, Any]:
        stated = completion_tokens
        if self.excess and completion_tokens:
            stated += max(1, round(completion_tokens * self.excess))
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + stated,
            "completion_tokens": stated,
        }

    def final(self, completion_tokens: int) -> dict[str, Any]:
        details = {"cached_tokens": self.cached_tokens}
        return {**self.at(completion_tokens), "prompt_tokens_details": details}


@dataclass(frozen=True)
class Shape:
    """The JSON of one answer: `chat` or completions, with its id, time and model."""

    chat: bool
    id: str
    created_s: int
    model: str

    def envelope(self, choices: list[Any], stream: bool = True) -> dict[str, Any]:
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if stream else "chat.completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }

    def choice(self, field: str, text: str, finish_reason: str | None) -> dict[str, Any]:
        """A choice of a chunk; `field` is the delta's, without meaning for completions."""
        said: dict[str, Any] = {"delta": {field: text}} if self.chat else {"text": text}
        ending = {} if finish_reason is None else {"stop_reason": None}
        return {
            "index": 0,
            **said,
            "logprobs": None,
            "finish_reason": finish_reason,
            **ending,
        }

    def role(self) -> dict[str, Any]:
        """The first chunk of a chat answer: a role and no token."""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return self.envelope([choice])

    def whole(self, message: dict[str, Any], finish_reason: str) -> dict[str, Any]:
        """A non-streaming answer without its usage."""
        said: dict[str, Any] = {"message": message} if self.chat else {"text": message["content"]}
        choice = {
            "index": 0,
            **said,
            "logprobs": None,
            "finish_reason": finish_reason,
            "stop_reason": None,
        }
        return self.envelope([choice], stream=False)


@dataclass(frozen=True)
class TokenEvent:
    """The event of a chunk of text; all but its text and counts is built once."""

    before: bytes
    after: bytes
    usage: Usage | None

    @classmethod
    def of(cls, shape: Shape, field: str, usage: Usage | None) -> "TokenEvent":
        gap = "\x00"
        data = orjson.dumps(shape.envelope([shape.choice(field, gap, None)]))
        before, after = data.split(orjson.dumps(gap)[1:-1])
        return cls(b"data: " + before, after[:-1], usage)

    def event(self, text: str, completion_tokens: int) -> bytes:
        """`text` must not need escaping in JSON; `completion_tokens` so far, for the usage."""
        usage = b""
        if self.usage is not None:
            usage = b',"usage":' + orjson.dumps(self.usage.at(completion_tokens))
        return chunked(b"".join((self.before, text.encode(), self.after, usage, b"}\n\n")))

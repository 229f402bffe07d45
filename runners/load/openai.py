"""The OpenAI dialect (chat and completions) as vLLM, TGI and trtllm-serve speak it."""

from typing import Any

import orjson

from runners.load.answer import Answer, Chunk
from runners.load.exchange import Exchange
from runners.load.sse import events

_DELTA_TEXTS = (
    ("content", "content"),
    ("reasoning_content", "reasoning"),
    ("reasoning", "reasoning"),
)


def read_answer(exchange: Exchange, stream: bool, keep_text: bool = False) -> Answer:
    """Understand a complete response; a failure becomes the answer's error class."""
    answer = Answer()
    if exchange.status != 200:
        _refused(exchange, answer)
    elif exchange.encoding not in (None, "identity"):
        answer.fail("malformed", f"the answer came {exchange.encoding}-encoded though not asked")
    elif stream:
        _read_stream(exchange, answer, keep_text)
    else:
        _read_whole(exchange, answer, keep_text)
    answer.share_tokens()
    return answer


def _refused(exchange: Exchange, answer: Answer) -> None:
    detail = error_message(b"".join(piece for _, piece in exchange.body))
    if exchange.location:
        detail = f"redirect to {exchange.location} is not followed"
    answer.fail(f"http_{exchange.status}", detail)


def error_message(body: bytes) -> str:
    """The message of an error body in any of the forms servers use; else its beginning."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return " ".join(body[:300].decode("utf-8", "replace").split())
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _read_stream(exchange: Exchange, answer: Answer, keep_text: bool) -> None:
    counted = 0
    for stamp, data in events(exchange.body):
        if data == b"[DONE]":
            answer.done = True
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            return answer.fail("malformed", f"an event is not JSON: {data[:120]!r}")
        if not isinstance(event, dict):
            return answer.fail("malformed", f"an event is not an object: {data[:120]!r}")
        if event.get("error"):
            return answer.fail("stream_error", error_message(data))
        usage = event.get("usage")
        if usage:
            _take_usage(usage, answer)
        for choice in event.get("choices") or ():
            _take_choice(choice, stamp, answer, keep_text)
            if usage and answer.chunks and answer.chunks[-1].arrival_ns == stamp:
                chunk = answer.chunks[-1]
                if chunk.tokens is None and answer.output_tokens is not None:
                    chunk.tokens = float(answer.output_tokens - counted)
                    counted = answer.output_tokens
                    answer.counted_chunks = True
    _judge(answer, exchange)
    return None


def _read_whole(exchange: Exchange, answer: Answer, keep_text: bool) -> None:
    data = b"".join(piece for _, piece in exchange.body)
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return answer.fail("malformed", f"the answer is not JSON: {data[:120]!r}")
    if not isinstance(body, dict):
        return answer.fail("malformed", "the answer is not a JSON object")
    if body.get("error"):
        return answer.fail("stream_error", error_message(data))
    stamp = exchange.end_ns or 0
    if body.get("usage"):
        _take_usage(body["usage"], answer)
    for choice in body.get("choices") or ():
        whole = dict(choice)
        whole["delta"] = choice.get("message")
        _take_choice(whole, stamp, answer, keep_text)
    answer.done = True
    _judge(answer, exchange)
    return None


def _take_choice(choice: dict[str, Any], stamp: int, answer: Answer, keep_text: bool) -> None:
    if choice.get("finish_reason"):
        answer.finish_reason = choice["finish_reason"]
    delta = choice.get("delta") or {}
    texts = [(kind, delta.get(key)) for key, kind in _DELTA_TEXTS]
    texts.append(("content", choice.get("text")))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        texts.append(
            ("tool_call", (function.get("name") or "") + (function.get("arguments") or ""))
        )
    size, first_kind = 0, None
    for kind, text in texts:
        if text:
            size += len(text.encode())
            first_kind = first_kind or kind
            if keep_text:
                answer.texts.append(text)
    if first_kind:
        answer.chunks.append(Chunk(stamp, size, first_kind))


def _take_usage(usage: dict[str, Any], answer: Answer) -> None:
    answer.prompt_tokens = usage.get("prompt_tokens", answer.prompt_tokens)
    answer.output_tokens = usage.get("completion_tokens", answer.output_tokens)
    details = usage.get("prompt_tokens_details")
    if details and details.get("cached_tokens") is not None:
        answer.cached_tokens = details["cached_tokens"]


def _judge(answer: Answer, exchange: Exchange) -> None:
    if not exchange.complete or not (answer.done or answer.finish_reason):
        answer.fail("broken_stream", "the answer ended before its last event")
    elif not answer.chunks:
        answer.fail("empty", f"no content (finish reason {answer.finish_reason})")

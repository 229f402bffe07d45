"""What counts as content, as a token and as a failure in the OpenAI dialect."""

from typing import Any

import orjson
import pytest

from runners.load.answer import Answer
from runners.load.dialects import DIALECTS
from runners.load.exchange import Exchange
from runners.load.reading import read_answer

DONE = (9, b"data: [DONE]\n\n")


def stream(*events: dict[str, Any] | tuple[int, bytes]) -> Answer:
    """Each event arrives at 1, 2, 3, …"""
    exchange = Exchange(0, 0, 8, False, 0, status=200, complete=True)
    for number, event in enumerate(events, 1):
        if isinstance(event, tuple):
            exchange.arrive(*event)
        else:
            exchange.arrive(number, b"data: " + orjson.dumps(event) + b"\n\n")
    return read_answer(DIALECTS["chat"], exchange, stream=True)


def delta(tokens: int | None = None, finish: str | None = None, **content: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"choices": [{"delta": content, "finish_reason": finish}]}
    if tokens is not None:
        event["usage"] = {"prompt_tokens": 7, "completion_tokens": tokens}
    return event


def usage(tokens: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": tokens}}


def test_a_role_or_an_empty_delta_is_not_a_token() -> None:
    answer = stream(delta(role="assistant", content=""), delta(content="a"), DONE)
    assert [chunk.arrival_ns for chunk in answer.chunks] == [2]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"content": "x"}, "content"),
        ({"reasoning_content": "x"}, "reasoning"),
        ({"reasoning": "x"}, "reasoning"),
        ({"tool_calls": [{"function": {"arguments": "{"}}]}, "tool_call"),
        ({"tool_calls": [{"function": {"name": "f", "arguments": None}}]}, "tool_call"),
    ],
)
def test_reasoning_and_tool_calls_are_content(content: dict[str, Any], kind: str) -> None:
    assert [chunk.kind for chunk in stream(delta(**content), DONE).chunks] == [kind]


def test_continuous_usage_counts_tokens_per_chunk() -> None:
    answer = stream(
        delta(0, role="assistant"), delta(1, content="a"), delta(5, content="bcd"), usage(6), DONE
    )
    # the sixth token had no text of its own: it belongs to the last chunk
    assert [chunk.tokens for chunk in answer.chunks] == [1, 5]
    assert answer.output_tokens == 6


def test_without_it_tokens_are_shared_by_bytes() -> None:
    answer = stream(delta(content="a"), delta(content="bcd"), usage(8), DONE)
    assert [chunk.tokens for chunk in answer.chunks] == [2, 6]


def test_no_usage_means_no_tokens_rather_than_zero() -> None:
    answer = stream(delta(content="a"), DONE)
    assert answer.output_tokens is None
    assert answer.chunks[0].tokens is None
    assert answer.error is None


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ((delta(content="a"),), "broken_stream"),
        ((delta(content="a"), (2, b"data: {oops\n\n")), "malformed"),
        ((delta(content="a"), {"error": {"message": "no"}}), "stream_error"),
        ((delta(role="assistant"), delta(finish="stop"), DONE), "empty"),
        ((delta(content="a"), delta(finish="stop")), None),
    ],
)
def test_what_fails(events: tuple[Any, ...], error: str | None) -> None:
    assert stream(*events).error == error


def test_a_whole_answer_has_one_arrival_and_no_first_token() -> None:
    body = {
        "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }
    exchange = Exchange(0, 0, 8, False, 0, status=200, complete=True, end_ns=55)
    exchange.arrive(50, orjson.dumps(body))
    answer = read_answer(DIALECTS["chat"], exchange, stream=False)
    assert (answer.output_tokens, answer.cached_tokens, answer.error) == (4, 2, None)
    assert [(chunk.arrival_ns, chunk.tokens) for chunk in answer.chunks] == [(55, 4)]

"""Recognising events by their shape must never change what is read."""

import json
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.load.answer import Answer
from runners.load.dialects import DIALECTS
from runners.load.dialects.shape import shape_of
from runners.load.exchange import Exchange
from runners.load.reading import read_answer

CHAT = DIALECTS["chat"]


def read(bodies: list[bytes], *, by_shape: bool) -> Answer:
    exchange = Exchange(0, 0, 8, False, 0, status=200, complete=True)
    for at, body in enumerate(bodies):
        exchange.arrive(at, b"data: " + body + b"\n\n")
    exchange.arrive(len(bodies), b"data: [DONE]\n\n")
    dialect = CHAT if by_shape else replace(CHAT, is_plain=None)
    return read_answer(dialect, exchange, stream=True, keep_text=True)


def event(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": more.pop("end", None)}
    return {"id": "chatcmpl-1", "created": 17, "choices": [choice], **more}


texts = st.text(max_size=6) | st.sampled_from(['"', "\\", '","finish_reason":"stop', "ü", "\n"])
deltas = st.one_of(
    st.fixed_dictionaries({"content": texts}),
    st.fixed_dictionaries({"content": texts, "reasoning": texts}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.just("")}),
    st.fixed_dictionaries({"reasoning_content": texts}),
)
ends = st.sampled_from([None, None, None, "stop"])


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(st.tuples(deltas, ends, st.integers(0, 3)), min_size=1, max_size=12),
    counted=st.booleans(),
    ascii_only=st.booleans(),
)
def test_answers_are_the_same_with_and_without_shapes(
    steps: list[tuple[dict[str, Any], str | None, int]], counted: bool, ascii_only: bool
) -> None:
    bodies, total = [], 0
    for delta, end, tokens in steps:
        total += tokens
        usage = {"usage": {"prompt_tokens": 3, "completion_tokens": total}} if counted else {}
        value = event(delta, end=end, **usage)
        text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
        bodies.append(text.encode("utf-8", "surrogatepass"))
    assert read(bodies, by_shape=True) == read(bodies, by_shape=False)


def test_usual_events_are_recognised_and_others_are_not() -> None:
    shape = shape_of(orjson.dumps(event({"content": "one"}, usage={"completion_tokens": 1})))
    assert shape is not None
    for text, within in (("two, ü", "two, ü"), ('"two"\n', '\\"two\\"\\n')):
        next_one = orjson.dumps(event({"content": text}, usage={"completion_tokens": 12}))
        found = shape.fullmatch(next_one)
        assert found is not None
        assert (found["text"].decode(), found["tokens"]) == (within, b"12")
    for other in (
        event({"content": ""}, usage={"completion_tokens": 2}),
        event({"content": "x"}, end="stop", usage={"completion_tokens": 2}),
        event({"content": "x", "reasoning": "y"}, usage={"completion_tokens": 2}),
        {"error": {"message": "x"}},
    ):
        assert shape.fullmatch(orjson.dumps(other)) is None

"""Each API's own form: what is asked, what counts as content, as a token, as a failure."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from runners.errors import UsageError
from runners.load.answer import Answer
from runners.load.dialects import DIALECTS, Question
from runners.load.exchange import Exchange, ResponseFraming
from runners.load.reading import read_answer
from runners.profiles.workload_section import Workload
from runners.workloads.prompts import request_body, request_path
from tests.load.scripted_server import LAST_CHUNK, STREAM_HEAD, chunked

Json = dict[str, Any]


def streamed(api: str, *events: Json | bytes, complete: bool = True) -> Answer:
    """Each event arrives at 1, 2, 3, …"""
    exchange = Exchange(0, 0, 8, False, 0, status=200, complete=complete)
    for number, event in enumerate(events, 1):
        data = event if isinstance(event, bytes) else json.dumps(event).encode()
        exchange.arrive(number, b"data:" + data + b"\n\n")
    return read_answer(DIALECTS[api], exchange, stream=True, keep_text=True)


def whole(api: str, body: Json, status: int = 200) -> Answer:
    exchange = Exchange(0, 0, 8, False, 0, status=status, complete=True, end_ns=55)
    exchange.arrive(50, json.dumps(body).encode())
    return read_answer(DIALECTS[api], exchange, stream=False, keep_text=True)


def tgi(text: str, special: bool = False, **last: Any) -> Json:
    token = {"id": 7, "text": text, "logprob": -0.3, "special": special}
    return {"index": 1, "token": token, "generated_text": None, "details": None, **last}


def tgi_details(tokens: int, finish: str = "length") -> Json:
    return {"finish_reason": finish, "generated_tokens": tokens, "seed": None, "input_length": 9}


def triton(text: str, **more: Any) -> Json:
    return {"model_name": "m", "model_version": "1", "text_output": text, **more}


def oip(text: str, special: bool | None = False, finish: str | None = None) -> Json:
    """special: of the event's token; None: an answer without details."""
    token = {"id": 7, "text": text, "logprob": -0.3, "special": special}
    details = None if special is None else {"finish_reason": finish, "token": token}
    return {"text_output": text, "model_name": "m", "details": details}


def arrivals(answer: Answer) -> list[tuple[int, float | None]]:
    return [(chunk.arrival_ns, chunk.tokens) for chunk in answer.chunks]


# TGI


def test_tgi_special_and_empty_tokens_are_no_content_but_count() -> None:
    answer = streamed(
        "tgi",
        tgi("<s>", special=True),
        tgi(" one"),
        tgi(""),
        tgi(" two"),
        tgi("</s>", special=True, generated_text=" one two", details=tgi_details(5, "eos_token")),
    )
    # What had no text counts with the next text, what came after the last one with it.
    assert arrivals(answer) == [(2, 2), (4, 3)]
    assert (answer.output_tokens, answer.prompt_tokens, answer.error) == (5, 9, None)
    assert (answer.finish_reason, "".join(answer.texts)) == ("eos_token", " one two")


def test_tgi_ends_with_generated_text_and_not_before() -> None:
    cut = streamed("tgi", tgi(" one"), tgi(" two"))
    assert (cut.error, cut.output_tokens) == ("broken_stream", 2)
    done = streamed("tgi", tgi(" one", generated_text=" one"))
    assert (done.error, done.output_tokens, done.finish_reason) == (None, 1, None)


def test_tgi_names_its_errors_in_the_stream_and_out_of_it() -> None:
    broken = {
        "error": "Request failed during generation: out of memory",
        "error_type": "generation",
    }
    answer = streamed("tgi", tgi(" one"), broken)
    assert (answer.error, answer.error_detail) == ("stream_error", broken["error"])
    assert arrivals(answer)[0][0] == 1
    refused = whole("tgi", {"error": "Model is overloaded", "error_type": "overloaded"}, 429)
    assert (refused.error, refused.error_detail) == ("http_429", "Model is overloaded")


def test_tgi_only_special_tokens_are_an_empty_answer() -> None:
    event = tgi("</s>", special=True, generated_text="", details=tgi_details(1, "eos_token"))
    assert streamed("tgi", event).error == "empty"


def test_tgi_without_streaming() -> None:
    details = {"finish_reason": "length", "generated_tokens": 4, "prefill": [], "tokens": []}
    answer = whole("tgi", {"generated_text": "a b c d", "details": details})
    assert (arrivals(answer), answer.output_tokens) == ([(55, 4)], 4)
    assert answer.prompt_tokens is None
    assert whole("tgi", {"details": details}).error == "malformed"


# Triton


def test_triton_deltas_with_counts() -> None:
    counts = {"num_input_tokens": 9}
    answer = streamed(
        "triton",
        triton("", num_output_tokens=1, **counts),
        triton(" one", num_output_tokens=1, **counts),
        triton(" two three", num_output_tokens=2, finish_reason="length", **counts),
    )
    assert arrivals(answer) == [(2, 2), (3, 2)]
    assert (answer.output_tokens, answer.prompt_tokens) == (4, 9)
    assert (answer.finish_reason, answer.error) == ("length", None)


def test_triton_without_counts_leaves_the_tokens_unknown() -> None:
    answer = streamed("triton", triton(" one"), triton(" two"))
    assert arrivals(answer) == [(1, None), (2, None)]
    assert (answer.output_tokens, answer.error) == (None, None)


def test_triton_accumulated_text_is_told_from_deltas() -> None:
    whole_texts = streamed("triton", *map(triton, ["I", "I am", "I am", "I am an AI"]))
    assert whole_texts.texts == ["I", " am", " an AI"]
    assert [chunk.arrival_ns for chunk in whole_texts.chunks] == [1, 2, 4]
    same = streamed("triton", *map(triton, [" no", " no", " no"]))
    assert same.texts == [" no", " no", " no"]
    assert streamed("triton", *map(triton, ["a", "ab", "c"])).texts == ["a", "ab", "c"]


def test_triton_ends_with_its_response() -> None:
    assert streamed("triton", triton("a"), complete=False).error == "broken_stream"
    failed = streamed("triton", triton("a"), {"error": "no"})
    assert (failed.error, len(failed.chunks)) == ("stream_error", 1)


def test_triton_without_streaming() -> None:
    answer = whole("triton", triton("a b", num_output_tokens=2, num_input_tokens=3))
    assert (arrivals(answer), answer.prompt_tokens) == ([(55, 2)], 3)
    assert whole("triton", {"outputs": []}).error == "malformed"


# Open Inference Protocol


def test_oip_counts_a_token_an_event_when_it_has_details() -> None:
    answer = streamed(
        "oip", oip("<s>", special=True), oip(" a"), oip(" b", finish="length"), b"[DONE]"
    )
    assert arrivals(answer) == [(2, 2), (3, 1)]
    assert (answer.output_tokens, answer.finish_reason, answer.error) == (3, "length", None)


def test_oip_without_details_leaves_the_tokens_unknown() -> None:
    answer = streamed("oip", oip(" a", special=None), oip(" b", special=None))
    assert (len(answer.chunks), answer.output_tokens, answer.error) == (2, None, None)


def test_oip_without_streaming() -> None:
    tokens = [oip("x")["details"]["token"]] * 3
    details = {"finish_reason": "stop_sequence", "logprobs": tokens}
    answer = whole("oip", {"text_output": "abc", "model_name": "m", "details": details})
    assert (answer.output_tokens, answer.finish_reason) == (3, "stop_sequence")


# Of every dialect

STREAMS: dict[str, list[Json]] = {
    "tgi": [
        tgi("<s>", special=True),
        tgi(" größe"),
        tgi(" 漢字"),
        tgi(" end", generated_text="x", details=tgi_details(4)),
    ],
    "triton": [triton(" größe", num_output_tokens=3), triton(" 漢\r\n", num_output_tokens=1)],
    "oip": [oip(" größe"), oip("</s>", special=True), oip(" 漢字", finish="length")],
}


@settings(max_examples=150, deadline=None)
@given(
    api=st.sampled_from(sorted(STREAMS)),
    cuts=st.lists(st.integers(0, 10_000), max_size=40),
    field=st.sampled_from(["data:", "data: "]),
    end=st.sampled_from(["\n\n", "\r\n\r\n"]),
)
def test_any_split_of_the_same_bytes_gives_the_same_records(
    api: str, cuts: list[int], field: str, end: str
) -> None:
    events = [f"{field}{json.dumps(one, ensure_ascii=False)}{end}" for one in STREAMS[api]]
    data = STREAM_HEAD + chunked(*(event.encode() for event in events)) + LAST_CHUNK
    found = [_understood(api, data, some) for some in ([], cuts)]
    assert found[0] == found[1]
    assert found[0][0] is None
    assert found[0][2] == {"tgi": 4, "triton": 4, "oip": 3}[api]


def _understood(api: str, data: bytes, cuts: list[int]) -> tuple[object, ...]:
    framing = ResponseFraming()
    exchange = framing.exchange = Exchange(0, 0, 8, False, 0)
    edges = sorted({0, *(cut % len(data) for cut in cuts), len(data)})
    reads = [data[start:stop] for start, stop in pairwise(edges)]
    framing.feed(reads, range(len(reads)))
    answer = read_answer(DIALECTS[api], exchange, stream=True, keep_text=True)
    chunks = [(chunk.bytes, chunk.tokens) for chunk in answer.chunks]
    return answer.error, answer.texts, answer.output_tokens, chunks


@pytest.mark.parametrize("api", sorted(DIALECTS))
@settings(max_examples=60, deadline=None)
@given(
    event=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "delta",
                        "message",
                        "content",
                        "text",
                        "usage",
                        "completion_tokens",
                        "prompt_tokens",
                        "token",
                        "details",
                        "generated_text",
                        "generated_tokens",
                        "text_output",
                        "num_output_tokens",
                        "num_input_tokens",
                        "logprobs",
                        "finish_reason",
                        "special",
                        "error",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_strange_json_fails_the_request_and_never_the_worker(api: str, event: object) -> None:
    data = json.dumps(event).encode()
    exchange = Exchange(0, 0, 8, False, 0, status=200, complete=True, end_ns=2)
    exchange.arrive(1, data)
    for stream, body in ((False, data), (True, b"data: " + data + b"\n\n")):
        exchange.body[0] = body
        answer = read_answer(DIALECTS[api], exchange, stream=stream)
        assert answer.output_tokens is None or isinstance(answer.output_tokens, int)


# What is asked


def test_tgi_is_greedy_without_a_temperature_which_it_would_reject() -> None:
    parameters = DIALECTS["tgi"].body(Question("m", "hi", 5))["parameters"]
    assert parameters == {"max_new_tokens": 5, "do_sample": False, "details": True}
    warm = DIALECTS["tgi"].body(Question("m", "hi", 5, temperature=0.5))["parameters"]
    assert (warm["temperature"], warm["do_sample"]) == (0.5, True)


@pytest.mark.parametrize("api", ["tgi", "oip"])
def test_what_an_api_cannot_do_is_refused_with_the_way_out(api: str) -> None:
    with pytest.raises(UsageError, match=r"ignore_eos: .* set it to false"):
        DIALECTS[api].body(Question("m", "hi", 5, ignore_eos=True))
    with pytest.raises(ValidationError, match=r"ignore_eos: .* set it to false"):
        Workload(api=api, ignore_eos=True)


def test_triton_always_makes_as_many_tokens_where_asked() -> None:
    workload = Workload(api="triton", ignore_eos=True, max_tokens=7)
    body = request_body(workload, "m", "hi", continuous_usage=False)
    assert (body["min_tokens"], body["max_tokens"], body["text_input"]) == (7, 7, "hi")


def test_extra_parameters_join_ours() -> None:
    workload = Workload(api="oip", extra_body={"parameters": {"top_p": 0.9}, "id": "x"})
    body = request_body(workload, "m", "hi", continuous_usage=False)
    assert body["id"] == "x"
    assert body["parameters"] == {
        "max_tokens": 64,
        "temperature": 0.0,
        "details": True,
        "top_p": 0.9,
    }


@pytest.mark.parametrize(
    ("api", "stream", "path"),
    [
        ("completions", True, "/v1/completions"),
        ("tgi", True, "/generate_stream"),
        ("tgi", False, "/generate"),
        ("triton", True, "/v2/models/org%2Fm%201/generate_stream"),
        ("oip", False, "/v2/models/org%2Fm%201/generate"),
    ],
)
def test_paths(api: str, stream: bool, path: str) -> None:
    assert request_path(Workload(api=api, stream=stream), "org/m 1") == path

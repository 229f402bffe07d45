"""Each fault, as a client meets it."""

import json
import select
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from runners.errors import UsageError
from runners.simulator import wire
from runners.simulator.asked import read_asked
from runners.simulator.faults import with_fault
from runners.simulator.process import Running
from runners.simulator.scripts import Answer, Step, drawn_beats, script
from runners.simulator.settings import FAULTS, Behaviour, Fault, read_behaviour
from runners.simulator.voice import Topic
from runners.simulator.voices import VOICES
from tests.simulator.raw_http import Answer as RawAnswer
from tests.simulator.raw_http import ClosedEarly, RawClient, chat, truths

Simulator = Callable[..., Running]


def ask(running: Running, **body: Any) -> RawAnswer:
    with RawClient(running.base_url) as client:
        return client.ask("POST", "/v1/chat/completions", chat(**body))


def closed(running: Running) -> bytes:
    with pytest.raises(ClosedEarly) as caught:
        ask(running)
    got: bytes = caught.value.got
    return got


def test_drop_closes_after_so_many_events(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault="drop:3")
    got = closed(running)
    assert got.count(b'"delta":{"content"') == 3
    assert b"[DONE]" not in got
    assert truths(running.base_url)[0]["outcome"] == "drop"


def test_refuse_closes_without_a_byte(simulator: Simulator) -> None:
    assert closed(simulator(fault="refuse")) == b""


def test_stall_sends_headers_and_then_no_token(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault="stall@every 2")
    with RawClient(running.base_url) as first, RawClient(running.base_url) as second:
        assert first.ask("POST", "/v1/chat/completions", chat()).status == 200
        second.send("POST", "/v1/chat/completions", chat())
        assert second.socket.recv(65_536).endswith(b"\r\n\r\n")
        # A whole answer on the other connection, and still nothing here.
        assert first.ask("POST", "/v1/chat/completions", chat()).status == 200
        assert select.select([second.socket], [], [], 0)[0] == []


@pytest.mark.parametrize(("status", "wait"), [(429, "1"), (500, None), (503, "1")])
def test_a_status_comes_with_a_reason_and_when_to_retry(
    simulator: Simulator, status: int, wait: str | None
) -> None:
    answer = ask(simulator(fault=f"status:{status}"))
    assert answer.status == status
    assert answer.headers.get("retry-after") == wait
    assert answer.json()["error"]["code"] == status


def test_unauthorized_without_a_key_is_for_everybody(simulator: Simulator) -> None:
    running = simulator(fault="unauthorized")
    assert ask(running).status == 401
    with RawClient(running.base_url) as client:
        assert client.ask("GET", "/v1/models").status == 401


def test_malformed_has_one_event_that_is_not_json(simulator: Simulator) -> None:
    events = ask(simulator(ttft_ms=0, itl_ms=0, fault="malformed:2"), max_tokens=4).events()
    broken = []
    for index, event in enumerate(events[:-1]):
        try:
            json.loads(event)
        except ValueError:
            broken.append(index)
    # After the role and two tokens.
    assert broken == [3]


def test_an_error_event_ends_the_stream(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault="error-event:2")
    *messages, last = ask(running, max_tokens=4).messages()
    assert len(messages) == 3
    assert last["error"]["code"] == 500
    assert truths(running.base_url)[0]["outcome"] == "error"


def test_no_usage_though_asked(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault="no-usage")
    options = {"include_usage": True, "continuous_usage_stats": True}
    messages = ask(running, stream_options=options).messages()
    assert messages and all("usage" not in message for message in messages)
    assert "usage" not in ask(running, stream=False).json()


def test_wrong_usage_overstates_by_a_tenth(simulator: Simulator) -> None:
    answer = ask(simulator(ttft_ms=0, itl_ms=0, fault="wrong-usage"), max_tokens=40)
    assert answer.messages()[-1]["usage"]["completion_tokens"] == 44
    assert len(answer.text()) == 4 * 40


def test_role_late_sends_the_role_at_once_and_content_later(simulator: Simulator) -> None:
    running = simulator(ttft_ms=300, itl_ms=0, fault="role-late")
    with RawClient(running.base_url) as client:
        client.ask("POST", "/v1/chat/completions", chat(max_tokens=1))
        role = next(stamp for stamp, data in client.reads if b'"role"' in data)
        assert not any(
            b'"role"' in data and b'"delta":{"content"' in data for _, data in client.reads
        )
    (truth,) = truths(running.base_url)
    assert role < truth["due_ns"][0]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_comes_first(simulator: Simulator, field: str) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault=f"{field.replace('_', '-')}:3")
    _, *tokens, _ = ask(running, max_tokens=5).messages()
    fields = [next(iter(token["choices"][0]["delta"])) for token in tokens]
    assert fields == [field] * 3 + ["content"] * 2
    assert len(truths(running.base_url)[0]["sent_ns"]) == 5


def test_empty_finishes_without_content(simulator: Simulator) -> None:
    answer = ask(simulator(ttft_ms=0, fault="empty"))
    assert answer.text() == ""
    *_, finish, usage = answer.messages()
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 0


def test_slow_headers_hold_back_everything(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault="slow-headers:120")
    with RawClient(running.base_url) as client:
        client.ask("POST", "/v1/chat/completions", chat())
        first_byte = client.reads[0][0]
    (truth,) = truths(running.base_url)
    assert first_byte - truth["received_ns"] >= 119_000_000
    assert truth["admitted_ns"] - truth["received_ns"] >= 119_000_000


def steps(fault: Fault | None) -> list[Step]:
    """The script of a seven-token chat answer."""
    asked = read_asked(dict(chat(max_tokens=7)), "simulated", chat=True)
    usage = wire.Usage(asked.prompt_tokens, 0)
    topic = Topic(asked, "simulated", "chatcmpl-1", 0, usage)
    beats = drawn_beats(Behaviour(), asked.max_tokens, Random(0))
    answer = Answer(asked, VOICES["chat"](topic), usage, beats, Behaviour(), fault, Random(0))
    return list(with_fault(script(answer), answer))


def test_split_and_merged_change_the_writes_and_not_the_bytes() -> None:
    plain, split, merged = steps(None), steps(Fault("split", 7)), steps(Fault("merged", 3))
    joined = [b"".join(step.data for step in one) for one in (plain, split, merged)]
    assert joined[0] == joined[1] == joined[2]
    assert all(1 <= len(step.data) <= 7 for step in split)
    assert len({len(step.data) for step in split}) > 3
    # The role and two tokens, then three, then two with the usage, then the end.
    assert [step.events for step in merged] == [(1, 1), (1, 1, 1), (1, 1), ()]
    assert merged[0].offset_ns == plain[2].offset_ns
    for one in (plain, split, merged):
        assert sum(step.tokens for step in one) == 7
        assert all(before.offset_ns <= after.offset_ns for before, after in pairwise(one))


@pytest.mark.parametrize("fault", ["split", "merged"])
def test_split_and_merged_streams_are_answers_like_any_other(
    simulator: Simulator, fault: str
) -> None:
    assert len(ask(simulator(ttft_ms=1, itl_ms=1, fault=fault), max_tokens=7).text()) == 28


def test_every_nth_request_counts_without_probes_and_the_first_fault_wins(
    simulator: Simulator,
) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, fault=["status:429@every 3", "status:500@every 2"])
    statuses = []
    with RawClient(running.base_url) as client:
        for _ in range(6):
            probe = client.ask("POST", "/v1/chat/completions", chat(), x_simulator_probe="1")
            assert probe.status == 200
            statuses.append(client.ask("POST", "/v1/chat/completions", chat()).status)
    assert statuses == [200, 500, 429, 500, 200, 429]
    outcomes = [one["outcome"] for one in truths(running.base_url) if not one["probe"]]
    assert outcomes == ["length", "http_500", "http_429", "http_500", "length", "http_429"]


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"stall", "drop", "refuse"}))
def test_every_fault_leaves_a_non_streaming_answer_that_is_framed(
    simulator: Simulator, fault: str
) -> None:
    number = ":1" if fault == "slow-headers" else ""
    running = simulator(ttft_ms=0, itl_ms=0, fault=fault + number)
    with RawClient(running.base_url) as client:
        answer = client.ask("POST", "/v1/chat/completions", chat(stream=False))
        assert client.ask("GET", "/health").status == 200
    if fault == "malformed":
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    else:
        assert isinstance(answer.json(), dict)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fault", "explode"),
        ("fault", "stall:3"),
        ("fault", "status:200"),
        ("fault", "drop@every 0"),
        ("fault", "split:0"),
        ("ttft_ms", "-1"),
        ("ttft_ms", "lognormal:50"),
        ("itl_ms", "nan"),
        ("acceptance", 1.5),
        ("max_running", 0),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"^engine\.args\.{key}: .*give "):
        read_behaviour({key: value}, place="engine.args.")

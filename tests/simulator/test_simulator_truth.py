"""The truth log: what was due, what was sent, and that a client cannot know better."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from runners.simulator.process import Running
from tests.simulator.raw_http import RawClient, chat, samples, truths

Simulator = Callable[..., Running]


def test_every_chunk_is_due_on_an_absolute_schedule_and_never_sent_before(
    simulator: Simulator,
) -> None:
    running = simulator(ttft_ms=20, itl_ms=3)
    with RawClient(running.base_url) as client:
        client.ask("POST", "/v1/chat/completions", chat(max_tokens=12))
    running.stop()
    (truth,) = [json.loads(line) for line in running.truth_path.read_text().splitlines()]
    start = truth["admitted_ns"]
    assert truth["received_ns"] <= start
    assert truth["due_ns"] == [start + 20_000_000 + 3_000_000 * n for n in range(12)]
    assert all(sent >= due for due, sent in zip(truth["due_ns"], truth["sent_ns"], strict=True))
    assert all(before <= after for before, after in pairwise(truth["sent_ns"]))
    assert truth["tokens"] == [1] * 12
    assert truth["outcome"] == "length"


def test_a_client_sees_each_chunk_after_it_was_sent(simulator: Simulator) -> None:
    running = simulator(ttft_ms=5, itl_ms=2)
    with RawClient(running.base_url) as client:
        answer = client.ask(
            "POST", "/v1/chat/completions", chat(max_tokens=10), x_request_id="mine"
        )
        (truth,) = truths(running.base_url)
        seen = []
        got = b""
        for stamp, data in client.reads:
            before = got.count(b'"delta":{"content"')
            got += data
            seen += [stamp] * (got.count(b'"delta":{"content"') - before)
    assert answer.messages()[0]["id"] == truth["id"] == "chatcmpl-mine"
    assert len(seen) == 10
    assert all(arrival >= sent for arrival, sent in zip(seen, truth["sent_ns"], strict=True))


def offsets(running: Running) -> list[Any]:
    with RawClient(running.base_url) as client:
        for _ in range(2):
            client.ask("POST", "/v1/chat/completions", chat(max_tokens=6))
    return [[due - one["admitted_ns"] for due in one["due_ns"]] for one in truths(running.base_url)]


def test_a_seed_fixes_what_is_drawn(simulator: Simulator) -> None:
    drawn = {"ttft_ms": "lognormal:5,0.5", "itl_ms": "lognormal:1,0.5"}
    first, again, other = (offsets(simulator(seed=seed, **drawn)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_beyond_max_running_requests_wait_their_turn(simulator: Simulator) -> None:
    running = simulator(ttft_ms=200, itl_ms=0, max_running=1)
    with RawClient(running.base_url) as one, RawClient(running.base_url) as two:
        for client in (one, two):
            client.send("POST", "/v1/chat/completions", chat(max_tokens=2))
        while samples(running.base_url)["vllm:num_requests_waiting"] != 1:
            assert truths(running.base_url)[-1]["outcome"] is None
        for client in (one, two):
            assert client.receive().status == 200
    first, second = truths(running.base_url)
    assert second["received_ns"] < first["ended_ns"] <= second["admitted_ns"]


def test_a_client_that_leaves_frees_its_place(simulator: Simulator) -> None:
    running = simulator(fault="stall", max_running=1)
    with RawClient(running.base_url) as client:
        client.send("POST", "/v1/chat/completions", chat())
        while samples(running.base_url)["vllm:num_requests_running"] != 1:
            pass
    while samples(running.base_url)["vllm:num_requests_running"] != 0:
        pass
    (truth,) = truths(running.base_url)
    assert truth["outcome"] == "abort"
    assert truth["sent_ns"] == []

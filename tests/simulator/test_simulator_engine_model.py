"""The engine model behind the server: what clients, /metrics and the truth log see of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runners.simulator.process import Running
from tests.simulator.raw_http import RawClient, chat, samples, truths

Simulator = Callable[..., Running]

ROOT = Path(__file__).resolve().parents[2]
PATH = "/v1/chat/completions"


def test_tokens_are_due_when_the_steps_end_that_requests_share(simulator: Simulator) -> None:
    running = simulator(engine_model=True, base_step_ms=8)
    with RawClient(running.base_url) as one, RawClient(running.base_url) as two:
        for client in (one, two):
            client.send("POST", PATH, chat(max_tokens=20))
        for client in (one, two):
            assert client.receive().messages()[-1]["usage"]["completion_tokens"] == 20
    first, second = truths(running.base_url)
    assert first["tokens"] == second["tokens"] == [1] * 20
    together = [due for due in second["due_ns"] if due <= first["due_ns"][-1]]
    assert together and set(together) <= set(first["due_ns"])
    for truth in (first, second):
        assert truth["received_ns"] <= truth["admitted_ns"] < truth["due_ns"][0]
        pairs = zip(truth["due_ns"], truth["sent_ns"], strict=True)
        assert all(due <= sent for due, sent in pairs)


def test_requests_wait_while_the_engine_is_full(simulator: Simulator) -> None:
    running = simulator(engine_model=True, base_step_ms=40, max_running=1, kv_blocks=10)
    with RawClient(running.base_url) as one, RawClient(running.base_url) as two:
        for client in (one, two):
            client.send("POST", PATH, chat(max_tokens=6))
        while (found := samples(running.base_url))["vllm:num_requests_waiting"] != 1:
            assert truths(running.base_url)[-1]["outcome"] is None
        for client in (one, two):
            assert client.receive().status == 200
    assert found["vllm:num_requests_running"] == 1
    assert found["vllm:kv_cache_usage_perc"] == 0.1
    first, second = truths(running.base_url)
    assert second["admitted_ns"] >= first["due_ns"][-1]
    found = samples(running.base_url)
    waited = sum(one["admitted_ns"] - one["received_ns"] for one in (first, second))
    assert found["vllm:request_queue_time_seconds_sum"] == pytest.approx(waited / 1e9)
    assert found["vllm:inter_token_latency_seconds_count"] == 10
    assert found["vllm:num_requests_waiting"] == 0


def test_preemption_is_counted_and_costs_no_token(simulator: Simulator) -> None:
    running = simulator(engine_model=True, base_step_ms=2, kv_blocks=8)
    with RawClient(running.base_url) as one, RawClient(running.base_url) as two:
        for client in (one, two):
            client.send("POST", PATH, chat(max_tokens=100))
        answers = [client.receive().messages()[-1]["usage"] for client in (one, two)]
    assert [usage["completion_tokens"] for usage in answers] == [100, 100]
    found = samples(running.base_url)
    assert found["vllm:num_preemptions_total"] >= 1
    assert found["vllm:generation_tokens_total"] == 200
    assert found["vllm:kv_cache_usage_perc"] == 0


def test_a_prompt_seen_before_is_computed_faster_and_said_to_be_cached(
    simulator: Simulator,
) -> None:
    running = simulator(engine_model=True, base_step_ms=1, prefill_tokens_s=10_000)
    long = [{"role": "user", "content": "x" * 4 * 1000}]
    with RawClient(running.base_url) as client:
        usages = [
            client.ask("POST", PATH, chat(2, messages=long)).messages()[-1]["usage"]
            for _ in range(2)
        ]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    # 62 full blocks of 16 in 1000 tokens; at 10,000 a second they take 99.2 ms.
    assert cached == [0, 992]
    first, second = (one["due_ns"][0] - one["admitted_ns"] for one in truths(running.base_url))
    assert first - second == 99_200_000
    found = samples(running.base_url)
    assert found["vllm:prefix_cache_queries_total"] == 2000
    assert found["vllm:prefix_cache_hits_total"] == 992
    assert found["vllm:prompt_tokens_cached_total"] == 992


def test_accepted_drafts_come_in_one_chunk_and_are_counted(simulator: Simulator) -> None:
    running = simulator(engine_model=True, base_step_ms=1, acceptance=1, speculative_tokens=3)
    with RawClient(running.base_url) as client:
        client.ask("POST", PATH, chat(max_tokens=13))
    (truth,) = truths(running.base_url)
    found = samples(running.base_url)
    assert truth["tokens"] == [1, 4, 4, 4]
    assert found["vllm:spec_decode_num_drafts_total"] == 3
    assert found["vllm:spec_decode_num_accepted_tokens_total"] == 9


def test_a_request_longer_than_the_cache_and_one_that_is_given_up(simulator: Simulator) -> None:
    running = simulator(engine_model=True, base_step_ms=30, kv_blocks=2)
    with RawClient(running.base_url) as client:
        assert client.ask("POST", PATH, chat(max_tokens=30)).status == 400
        client.send("POST", PATH, chat(max_tokens=20))
        while samples(running.base_url)["vllm:num_requests_running"] != 1:
            pass
    while samples(running.base_url)["vllm:num_requests_running"] != 0:
        pass
    assert samples(running.base_url)["vllm:kv_cache_usage_perc"] == 0
    assert [one["outcome"] for one in truths(running.base_url)] == ["http_400", "abort"]


def said(running: Running) -> list[Any]:
    """What a streaming and a non-streaming answer say, but for their time."""
    with RawClient(running.base_url) as client:
        stream = client.ask("POST", PATH, chat(7), x_request_id="a").messages()
        whole = client.ask("POST", PATH, chat(7, stream=False), x_request_id="b")
    every = [*stream, json.loads(whole.body)]
    return [{**one, "created": 0} for one in every]


@pytest.mark.parametrize("fault", ["merged:3", "split:7", "role-late", "reasoning:2", "empty"])
def test_faults_and_words_do_not_depend_on_who_decides_the_times(
    simulator: Simulator, fault: str
) -> None:
    drawn = simulator(ttft_ms=1, itl_ms=0, fault=fault)
    modelled = simulator(engine_model=True, base_step_ms=1, fault=fault)
    assert said(modelled) == said(drawn)


def output_rate(out: Path, concurrency: int, requests: int) -> float:
    """Tokens per second that a run from the command line measures."""
    options = ["json", "profile=cpu-smoke", "target=simulator", f"out={out}", "max-tokens=8"]
    options += [f"concurrency={concurrency}", f"requests={requests}"]
    for setting in ("engine_model=true", "max_running=4", "base_step_ms=7"):
        options.append(f"set=engine.args.{setting}")
    command = [sys.executable, "-m", "runners.cli", *(f"--{option}" for option in options)]
    results = json.loads(
        subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    )
    assert results["simulated"] is True
    return float(results["metrics"]["output_throughput_tok_s"]["value"])


@pytest.fixture(scope="module")
def rate_of_one(tmp_path_factory: pytest.TempPathFactory) -> float:
    return output_rate(tmp_path_factory.mktemp("one"), concurrency=1, requests=3)


def test_throughput_grows_with_concurrency_until_the_engine_is_full(
    rate_of_one: float, tmp_path: Path
) -> None:
    # Four run at a time: 16 clients get more than one does, and not 16 times as much.
    assert 2 < output_rate(tmp_path, concurrency=16, requests=24) / rate_of_one < 6

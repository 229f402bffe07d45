"""/metrics, held against what was streamed."""

from collections.abc import Callable

import pytest

from runners.simulator.process import Running
from tests.simulator.raw_http import RawClient, chat, samples, truths

Simulator = Callable[..., Running]


def test_counters_equal_what_was_streamed(simulator: Simulator) -> None:
    running = simulator(ttft_ms=2, itl_ms=0, tokens_per_chunk=4, fault="drop:2@every 3")
    with RawClient(running.base_url) as client:
        usages = [
            client.ask("POST", "/v1/chat/completions", chat(max_tokens=tokens)).messages()[-1]
            for tokens in (5, 17)
        ]
        client.send("POST", "/v1/chat/completions", chat(max_tokens=50))
        while client.socket.recv(65_536):
            pass
    found = samples(running.base_url)
    log = truths(running.base_url)
    assert found["vllm:generation_tokens_total"] == 5 + 17 + 8
    assert found["vllm:generation_tokens_total"] == sum(sum(one["tokens"]) for one in log)
    prompt_tokens = usages[0]["usage"]["prompt_tokens"]
    assert found["vllm:prompt_tokens_total"] == 3 * prompt_tokens
    assert found["vllm:request_success_total{finished_reason=length}"] == 2
    assert found["vllm:request_success_total{finished_reason=abort}"] == 1
    assert found["vllm:time_to_first_token_seconds_count"] == 3
    assert found["vllm:time_to_first_token_seconds_bucket{le=+Inf}"] == 3
    waits = [one["sent_ns"][0] - one["received_ns"] for one in log]
    assert found["vllm:time_to_first_token_seconds_sum"] == pytest.approx(sum(waits) / 1e9)
    assert found["vllm:num_requests_running"] == 0
    assert found["vllm:kv_cache_usage_perc"] == 0


def test_repeated_prompts_hit_the_prefix_cache(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    long = [{"role": "user", "content": "x" * 4 * 40}]
    with RawClient(running.base_url) as client:
        usages = [
            client.ask("POST", "/v1/chat/completions", chat(2, messages=long)).messages()[-1][
                "usage"
            ]
            for _ in range(2)
        ]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    # Two full blocks of 16 in 40 tokens.
    assert cached == [0, 32]
    found = samples(running.base_url)
    assert found["vllm:prefix_cache_queries_total"] == 80
    assert found["vllm:prefix_cache_hits_total"] == 32
    assert found["vllm:prompt_tokens_cached_total"] == 32


def test_speculation_meets_its_acceptance_and_its_identities(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, acceptance=0.6, speculative_tokens=4)
    tokens = 20_000
    with RawClient(running.base_url) as client:
        answer = client.ask("POST", "/v1/chat/completions", chat(max_tokens=tokens))
    found = samples(running.base_url)
    drafts = found["vllm:spec_decode_num_drafts_total"]
    drafted = found["vllm:spec_decode_num_draft_tokens_total"]
    accepted = found["vllm:spec_decode_num_accepted_tokens_total"]
    per_position = [
        found[f"vllm:spec_decode_num_accepted_tokens_per_pos_total{{position={position}}}"]
        for position in range(4)
    ]
    (truth,) = truths(running.base_url)
    assert drafts == len(truth["tokens"]) - 1
    assert drafted == 4 * drafts
    assert accepted == sum(per_position)
    assert per_position == sorted(per_position, reverse=True)
    assert accepted / drafted == pytest.approx(0.6, abs=0.02)
    # One token from the prompt, one and the accepted ones per draft; the last may be cut off.
    assert tokens <= 1 + drafts + accepted < tokens + 4
    assert found["vllm:generation_tokens_total"] == tokens
    assert answer.messages()[-1]["usage"]["completion_tokens"] == tokens


def test_without_speculation_there_are_no_speculative_counters(simulator: Simulator) -> None:
    found = samples(simulator().base_url)
    assert not [name for name in found if "spec_decode" in name]

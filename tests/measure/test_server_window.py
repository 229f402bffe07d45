"""Counters of the server over exactly the window in which the client measured."""

from collections.abc import Callable
from typing import Any

import pytest

from runners.measure import measure
from runners.rundir import RunDirectory

Request = Callable[..., dict[str, Any]]
WriteRun = Callable[..., RunDirectory]


def counters(second: int) -> dict[str, float]:
    """Steady growth per second: 50 tokens in two engines, 10 drafts of 3 with 18 accepted."""
    return {
        'vllm:generation_tokens_total{"engine": "0"}': 1000 + 30.0 * second,
        'vllm:generation_tokens_total{"engine": "1"}': 20.0 * second,
        'vllm:prompt_tokens_total{"engine": "0"}': 100.0 * second,
        'vllm:spec_decode_num_drafts_total{"engine": "0"}': 10.0 * second,
        'vllm:spec_decode_num_draft_tokens_total{"engine": "0"}': 30.0 * second,
        'vllm:spec_decode_num_accepted_tokens_total{"engine": "0"}': 18.0 * second,
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{"position": "0"}': 9.0 * second,
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{"position": "1"}': 6.0 * second,
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{"position": "10"}': 3.0 * second,
        'vllm:request_success_total{"finished_reason": "stop"}': 10.0 * second,
        'vllm:prefix_cache_queries_total{"engine": "0"}': 100.0 * second,
        'vllm:prefix_cache_hits_total{"engine": "0"}': 25.0 * second,
        'vllm:time_to_first_token_seconds_sum{"engine": "0"}': 0.15 * second,
        'vllm:time_to_first_token_seconds_count{"engine": "0"}': 10.0 * second,
        'vllm:num_requests_running{"engine": "0"}': 2.0,
        'vllm:num_requests_running{"engine": "1"}': float(second % 2),
        'vllm:kv_cache_usage_perc{"engine": "0"}': 0.2,
        'vllm:kv_cache_usage_perc{"engine": "1"}': 0.4,
    }


def load(ok_request: Request, seconds: int) -> tuple[list[dict[str, Any]], list[Any]]:
    """Ten requests a second of five tokens each, from 0.5 s on."""
    rows = [ok_request(i, 500 + 100 * i, 520 + 100 * i, 560 + 100 * i) for i in range(10 * seconds)]
    chunks = [(i, 520 + 100 * i + 10 * k, 1.0) for i in range(10 * seconds) for k in range(5)]
    return rows, chunks


def test_counters_and_client_speak_of_the_same_window(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows, chunks = load(ok_request, 20)
    server = {1000.0 * k: counters(k) for k in range(23)}
    results = measure(write_run(rows, chunks=chunks, server=server))
    window, seen = results["window"], results["server"]
    assert window["snapped"] is True
    assert (window["start_s"], window["end_s"]) == (1.0, 20.0)
    client_tokens = results["metrics"]["output_throughput_tok_s"]["value"] * 19
    assert seen["generation_tokens"] == 19 * 50 == pytest.approx(client_tokens)
    assert seen["request_success"] == {"stop": 190.0}
    assert seen["acceptance_per_position"] == pytest.approx([0.9, 0.6, 0.3])
    assert seen["ttft_mean_ms"] == pytest.approx(15.0)
    assert seen["running_mean"] == pytest.approx(2.5)
    assert seen["running_max"] == 3.0
    assert seen["kv_cache_usage_mean"] == pytest.approx(0.3)
    assert (seen["scrapes"], seen["gaps"]) == (23, 0)
    assert "preemptions" not in seen


def test_speculation_and_prefix_cache_come_from_counters(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows, chunks = load(ok_request, 20)
    server = {1000.0 * k: counters(k) for k in range(23)}
    metrics = measure(write_run(rows, chunks=chunks, server=server))["metrics"]
    assert metrics["acceptance_rate"]["value"] == pytest.approx(0.6)
    assert metrics["mean_acceptance_length"]["value"] == pytest.approx(2.8)
    assert metrics["prefix_cache_hit_rate"]["value"] == pytest.approx(0.25)
    assert metrics["acceptance_rate"]["low"] == pytest.approx(0.6)


def test_a_window_too_short_for_scrapes_keeps_its_edges_and_says_so(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows, chunks = load(ok_request, 2)
    server = {1000.0 * k: counters(k) for k in range(4)}
    results = measure(write_run(rows, chunks=chunks, server=server))
    assert results["window"]["snapped"] is False
    assert "less than 80 %" in results["window"]["reason"]
    assert (results["window"]["start_s"], results["window"]["end_s"]) == (0.5, 2.4)
    assert results["server"]["span"]["edges"] == "the scrapes around the window"
    assert results["server"]["generation_tokens"] == 150.0
    acceptance = results["metrics"]["acceptance_rate"]
    assert (acceptance["value"], acceptance["low"]) == (pytest.approx(0.6), None)
    assert "5 needed" in results["not_measured"]["acceptance_rate.interval"]


def test_a_server_that_does_not_speculate_has_no_acceptance(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows, chunks = load(ok_request, 20)
    server = {
        1000.0 * k: {name: v for name, v in counters(k).items() if "spec_decode" not in name}
        for k in range(23)
    }
    results = measure(write_run(rows, chunks=chunks, server=server))
    assert results["metrics"]["acceptance_rate"] is None
    assert "does not count" in results["not_measured"]["acceptance_rate"]
    assert "acceptance_per_position" not in results["server"]


def test_without_server_metrics_everything_of_the_server_is_unknown(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows, chunks = load(ok_request, 20)
    results = measure(write_run(rows, chunks=chunks))
    assert results["server"] is None
    assert results["not_measured"]["server"] == "no server metrics were scraped"
    assert results["not_measured"]["prefix_cache_hit_rate"] == "no server metrics were scraped"
    assert results["window"]["snapped"] is False

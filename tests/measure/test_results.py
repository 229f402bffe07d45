"""Whole runs with figures that can be worked out on paper."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runners.errors import UsageError
from runners.measure import measure
from runners.measure.metrics import METRICS
from runners.rundir import RunDirectory

ROOT = Path(__file__).parents[2]
Results = dict[str, Any]
Request = Callable[..., dict[str, Any]]
WriteRun = Callable[..., RunDirectory]


def checked(run: RunDirectory) -> Results:
    """Measure, and hold what was written against schema and contract of the file."""
    results = measure(run)
    written = json.loads((run / "results.json").read_text(), parse_constant=_refuse)
    assert written == results
    schema = json.loads((ROOT / "docs" / "results.schema.json").read_text())
    jsonschema.validate(written, schema)
    for name, metric in results["metrics"].items():
        assert metric is not None or results["not_measured"][name]
        for key, statistic in (metric or {}).items():
            if statistic is None and key not in ("low", "high", "price_source", "price_date"):
                assert results["not_measured"][f"{name}.{key}"]
    return results


def _refuse(constant: str) -> float:
    raise AssertionError(f"{constant} in results.json")


def steady(ok_request: Request, count: int = 20, **more: Any) -> list[dict[str, Any]]:
    """Sent every 100 ms from 1 s on; TTFT 10, 11, 12 … ms; then 5 tokens, 10 ms apart."""
    return [
        ok_request(i, 1000 + 100 * i, 1010 + 101 * i, 1050 + 101 * i, **more) for i in range(count)
    ]


def chunks_of(requests: list[dict[str, Any]]) -> list[tuple[int, float, float | None]]:
    """Five chunks of one token per answered request, evenly spread."""
    return [
        (row["request_id"], first + k * (row["last_content_ns"] - first) / 4, 1.0)
        for row in requests
        if (first := row.get("first_content_ns")) is not None
        for k in range(5)
    ]


def test_latencies_are_those_of_the_records(write_run: WriteRun, ok_request: Request) -> None:
    requests = steady(ok_request)
    results = checked(write_run(requests, chunks=chunks_of(requests)))
    ttft = results["metrics"]["ttft_ms"]
    assert ttft["count"] == 20
    assert ttft["mean"]["value"] == pytest.approx(19.5)
    assert ttft["mean"]["low"] < 19.5 < ttft["mean"]["high"]
    assert ttft["p50"]["value"] == 19.0
    assert ttft["p90"]["value"] == 27.0
    assert ttft["p95"]["value"] == 28.0
    assert ttft["max"] == 29.0
    assert ttft["p99"] is None
    assert "100 needed" in results["not_measured"]["ttft_ms.p99"]
    assert ttft["p95"]["high"] is None
    assert results["metrics"]["tpot_ms"]["mean"]["value"] == pytest.approx(10.0)
    assert results["metrics"]["e2e_latency_ms"]["p50"]["value"] == 59.0
    gaps = results["metrics"]["inter_chunk_latency_ms"]
    assert (gaps["count"], gaps["max"], gaps["tokens_per_chunk"]) == (80, 10.0, 1.0)
    assert results["requests"] | {"by_error": None} == {
        "ok": 20,
        "failed": 0,
        "in_window": 20,
        "warmup": 0,
        "not_sent": 0,
        "capped": 0,
        "by_error": None,
        "prompt_tokens": 200,
        "output_tokens": 100,
    }
    assert results["verdict"] == {"status": "valid", "reasons": []}


def test_only_what_arrives_inside_the_window_is_throughput(
    write_run: WriteRun, ok_request: Request
) -> None:
    # The window is (1000, 2900] ms: the last request is sent at its end and adds nothing, a
    # warm-up answer still arriving adds two of its three tokens, half of itself and of its prompt.
    requests = steady(ok_request)
    warm = ok_request(90, 900, 950, 1100, tokens=3, warmup=True)
    chunks = [*chunks_of(requests), (90, 950, 1.0), (90, 1050, 1.0), (90, 1100, 1.0)]
    results = checked(write_run([*requests, warm], chunks=chunks))
    window = results["window"]
    assert (window["start_s"], window["end_s"], window["warmup_s"]) == (1.0, 2.9, 0.1)
    metrics = results["metrics"]
    assert metrics["output_throughput_tok_s"]["value"] == pytest.approx((19 * 5 + 2) / 1.9)
    assert metrics["request_throughput_req_s"]["value"] == pytest.approx((19 + 0.5) / 1.9)
    assert metrics["total_throughput_tok_s"]["value"] == pytest.approx(
        (19 * 5 + 2 + 19.5 * 10) / 1.9
    )
    assert metrics["ttft_ms"]["count"] == 20


def test_waves_of_a_closed_loop_leave_rates_certain(
    write_run: WriteRun, ok_request: Request
) -> None:
    # 16 slots, all answered every second: the work of any second is the same.
    requests = [ok_request(i, 1000 * (i // 16), 1000 * (i // 16) + 50, 1000 * (i // 16) + 999)
                for i in range(480)]  # fmt: skip
    chunks = [(i, 1000 * (i // 16) + 190 * (k + 1), 1.0) for i in range(480) for k in range(5)]
    metrics = checked(write_run(requests, chunks=chunks, window="fixed"))["metrics"]
    total = metrics["total_throughput_tok_s"]
    assert total["value"] == pytest.approx(16 * (10 + 5), rel=0.02)
    assert total["high"] - total["low"] < 0.2 * total["value"]


def test_a_load_that_changes_by_plan_has_no_one_rate(
    write_run: WriteRun, ok_request: Request
) -> None:
    requests = steady(ok_request)
    results = checked(write_run(requests, chunks=chunks_of(requests), load={"pattern": "stages"}))
    for name in ("request_throughput_req_s", "output_throughput_tok_s"):
        rate = results["metrics"][name]
        assert rate["value"] > 0
        assert (rate["low"], rate["high"]) == (None, None)
        assert "stages changes by plan" in results["not_measured"][f"{name}.interval"]


def test_few_long_requests_are_measured_to_their_last_arrival(
    write_run: WriteRun, ok_request: Request
) -> None:
    requests = [ok_request(i, 10 * i, 1000, 5000) for i in range(4)]
    results = checked(write_run(requests, chunks=chunks_of(requests)))
    assert results["window"]["end_s"] == 5.0
    assert "last arrival" in results["window"]["reason"]
    assert results["metrics"]["output_throughput_tok_s"]["value"] == pytest.approx(20 / 5)


def test_a_stall_shows_in_latency_from_intended_alone(
    write_run: WriteRun, ok_request: Request
) -> None:
    # One slot: the client waits out a 1 s stall, so every request after it leaves late.
    requests = [
        ok_request(i, 1000 + 100 * i + (1000 if i >= 10 else 0), 0, 0)
        | {"intended_ns": 1000 + 100 * i}
        for i in range(20)
    ]
    for row in requests:
        row |= {"first_content_ns": row["sent_ns"] + 10, "last_content_ns": row["sent_ns"] + 50}
    metrics = checked(write_run(requests, chunks=chunks_of(requests)))["metrics"]
    assert metrics["ttft_ms"]["p90"]["value"] == 10.0
    assert metrics["ttft_from_intended_ms"]["p90"]["value"] == 1010.0
    assert metrics["e2e_latency_from_intended_ms"]["p50"]["value"] == 50.0
    assert metrics["e2e_latency_from_intended_ms"]["p90"]["value"] == 1050.0


def test_failed_requests_raise_the_adjusted_percentile_alone(
    write_run: WriteRun, ok_request: Request, failed_request: Request
) -> None:
    requests = steady(ok_request, 199)
    one = [*requests, failed_request(199, 10_000)]
    results = checked(write_run(one, chunks=chunks_of(requests), window="fixed"))
    ttft = results["metrics"]["ttft_ms"]
    # 200 samples with the failure: the 198th smallest, where 199 without it have the 198th too.
    assert ttft["count"] == 199
    assert ttft["adjusted_p99"]["value"] == 207.0
    assert results["requests"]["by_error"] == {"timeout": 1}
    assert results["verdict"]["status"] == "degraded"
    assert "0.50%" in results["verdict"]["reasons"][0]


def test_an_infinite_adjusted_percentile_is_null_with_a_reason(
    write_run: WriteRun, ok_request: Request, failed_request: Request
) -> None:
    requests = steady(ok_request, 180)
    broken = [failed_request(180 + i, 5000 + 10 * i, "http_503") for i in range(20)]
    results = checked(write_run([*requests, *broken], chunks=chunks_of(requests)))
    assert results["metrics"]["ttft_ms"]["p99"]["value"] == 188.0
    assert results["metrics"]["ttft_ms"]["adjusted_p99"] is None
    assert "10.0%" in results["not_measured"]["ttft_ms.adjusted_p99"]
    assert results["verdict"]["status"] == "invalid"
    assert "error budget of 5.00%" in results["verdict"]["reasons"][0]


def test_goodput_counts_a_request_only_if_it_met_every_limit(
    write_run: WriteRun, ok_request: Request, failed_request: Request
) -> None:
    # TTFT <= 19 ms holds for requests 0 to 9; their answers end at 1050 … 1959 ms.
    requests = steady(ok_request)
    rows = [*requests, failed_request(20, 2800)]
    results = checked(
        write_run(rows, chunks=chunks_of(requests), slo={"ttft_ms": 19.0, "tpot_ms": 50.0})
    )
    assert results["metrics"]["goodput_req_s"]["value"] == pytest.approx(10 / 1.9)
    assert results["metrics"]["goodput_fraction"]["value"] == pytest.approx(10 / 21)


def test_when_every_request_failed_nothing_is_invented(
    write_run: WriteRun, failed_request: Request
) -> None:
    rows = [failed_request(i, 100 * i, "connect", sent_ns=None) for i in range(5)]
    run = write_run(rows, chunks=[])
    results = checked(run)
    assert set(results["metrics"]) == {metric.name for metric in METRICS}
    assert all(metric is None for metric in results["metrics"].values())
    assert results["not_measured"]["ttft_ms"] == "all 5 requests failed (connect: 5)"
    assert results["verdict"] == {
        "status": "invalid",
        "reasons": ["all 5 requests failed (connect: 5)"],
    }


def test_a_single_request_has_values_without_intervals(
    write_run: WriteRun, ok_request: Request
) -> None:
    requests = [ok_request(0, 0, 20, 60)]
    metrics = checked(write_run(requests, chunks=chunks_of(requests)))["metrics"]
    assert metrics["ttft_ms"]["mean"] == {"value": 20.0, "low": None, "high": None}
    assert metrics["ttft_ms"]["p50"] is None
    assert metrics["request_throughput_req_s"]["value"] == pytest.approx(1 / 0.06)


def test_a_run_without_a_single_record_is_complete_and_invalid(write_run: WriteRun) -> None:
    results = checked(write_run([], chunks=[]))
    assert results["window"] is None
    assert results["verdict"]["status"] == "invalid"


def test_answers_that_were_not_streamed_have_throughput_but_no_first_token(
    write_run: WriteRun, ok_request: Request
) -> None:
    requests = [row | {"first_content_ns": None} for row in steady(ok_request)]
    results = checked(write_run(requests, workload={"stream": False}))
    metrics = results["metrics"]
    assert metrics["ttft_ms"] is None
    assert "stream" in results["not_measured"]["ttft_ms"]
    assert metrics["output_throughput_tok_s"]["value"] == pytest.approx(19 * 5 / 1.9)
    assert metrics["e2e_latency_ms"]["p50"]["value"] == 59.0


def test_without_chunks_output_throughput_is_unknown_not_guessed(
    write_run: WriteRun, ok_request: Request
) -> None:
    results = checked(write_run(steady(ok_request)))
    for name in ("output_throughput_tok_s", "total_throughput_tok_s", "inter_chunk_latency_ms"):
        assert results["metrics"][name] is None
        assert "chunks.parquet" in results["not_measured"][name]
    assert results["metrics"]["request_throughput_req_s"]["value"] == pytest.approx(19 / 1.9)


def test_cost_is_price_over_throughput(write_run: WriteRun, ok_request: Request) -> None:
    # 50 tokens/s on two replicas of two GPUs at 3.60 an hour: 0.004 a second, 80 a million.
    requests = steady(ok_request)
    run = write_run(
        requests,
        chunks=[(0, 1001 + i, 5.0) for i in range(19)],
        resources={"gpu": {"count": 2}},
        serving={"replicas": 2},
        cost={"price_per_gpu_hour": 3.6, "source": "price list", "date": "2026-11"},
    )
    cost = checked(run)["metrics"]["cost_per_million_output_tokens"]
    assert cost["value"] == pytest.approx(80.0)
    assert (cost["currency"], cost["price_source"]) == ("USD", "price list")


def test_a_missing_price_names_the_line_to_add(write_run: WriteRun, ok_request: Request) -> None:
    requests = steady(ok_request)
    results = checked(write_run(requests, chunks=chunks_of(requests)))
    reason = results["not_measured"]["cost_per_million_output_tokens"]
    assert "cost: {price_per_gpu_hour:" in reason


def test_start_up_facts_are_carried_over(write_run: WriteRun, ok_request: Request) -> None:
    results = checked(write_run(steady(ok_request), facts={"startup_s": 43.1}))
    assert results["metrics"]["startup_s"] == {"value": 43.1}
    assert results["metrics"]["kv_cache_gib"] is None


def test_the_table_has_one_row_with_the_same_columns_for_any_run(
    write_run: WriteRun, ok_request: Request, failed_request: Request, tmp_path: Path
) -> None:
    # TTFT 10 to 17 ms over and over.
    requests = [ok_request(i, 100 * i, 100 * i + 10 + i % 8, 100 * i + 60) for i in range(120)]
    full = write_run(requests, chunks=chunks_of(requests), window="fixed")
    measure(full)
    kept = full.path.rename(tmp_path / "full")
    measure(write_run([failed_request(0, 0)]))
    with (kept / "results.csv").open() as file:
        header, row = list(csv.reader(file))
    with (tmp_path / "20261121T000000Z-synthetic-abc123" / "results.csv").open() as file:
        bare_header, bare_row = list(csv.reader(file))
    assert header == bare_header
    cells, bare = dict(zip(header, row, strict=True)), dict(zip(header, bare_row, strict=True))
    assert float(cells["ttft_ms.p50"]) == 13.0
    assert float(cells["ttft_ms.p50.low"]) <= 13.0 <= float(cells["ttft_ms.p50.high"])
    assert bare["ttft_ms.p50"] == ""
    assert bare["status"] == "invalid"


def test_the_same_run_measures_the_same_twice(write_run: WriteRun, ok_request: Request) -> None:
    requests = steady(ok_request, 50)
    run = write_run(requests, chunks=chunks_of(requests))
    assert measure(run) == measure(run)


def test_every_metric_is_defined_in_the_documentation_and_the_schema() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    schema = json.loads((ROOT / "docs" / "results.schema.json").read_text())
    for metric in METRICS:
        assert f"`{metric.name}`" in text
    assert schema["properties"]["metrics"]["required"] == [metric.name for metric in METRICS]


def test_a_directory_without_records_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"requests\.parquet is missing") as refused:
        measure(RunDirectory(tmp_path))
    assert "\n" not in str(refused.value)


def test_how_every_interval_was_made_is_stated(write_run: WriteRun, ok_request: Request) -> None:
    requests = [ok_request(i, 10 * i, 10 * i + 20 + i % 7, 10 * i + 60) for i in range(1200)]
    run = write_run(requests, chunks=chunks_of(requests), slo={"ttft_ms": 24.0})
    results = checked(run)
    window, count = results["window"], results["requests"]["in_window"]
    assert window["steady_state"] == "found"
    assert count > 1100
    methods = results["statistics"]["methods"]
    assert methods["ttft_ms"] == {
        "method": "batch_means",
        "samples": count,
        "batches": 16,
        "block_length": count // 16,
    }
    assert methods["goodput_fraction"]["method"] == "wilson"
    assert methods["output_throughput_tok_s"]["block_s"] == pytest.approx(
        (window["end_s"] - window["start_s"]) / 16, abs=1e-5
    )
    with_interval = {
        name
        for name, metric in results["metrics"].items()
        if metric is not None and (metric.get("mean") or metric).get("low") is not None
    }
    assert with_interval == set(methods)

"""Signals that make a run doubt itself, each from the records that show it."""

from collections.abc import Callable
from typing import Any

import pytest

from runners.measure import measure
from runners.rundir import RunDirectory

Request = Callable[..., dict[str, Any]]
WriteRun = Callable[..., RunDirectory]
GENERATED = 'vllm:generation_tokens_total{"engine": "0"}'


def every_100_ms(ok_request: Request, count: int, **more: Any) -> list[dict[str, Any]]:
    return [ok_request(i, 100 * i, 100 * i + 20, 100 * i + 60, **more) for i in range(count)]


def verdict(run: RunDirectory) -> tuple[str, str]:
    found = measure(run)["verdict"]
    return found["status"], "; ".join(found["reasons"])


def open_loop(ok_request: Request, lags: list[float]) -> list[dict[str, Any]]:
    """Due every 100 ms, sent with the given lags; TTFT 20 ms."""
    rows = every_100_ms(ok_request, len(lags))
    for row, lag in zip(rows, lags, strict=True):
        for name in ("sent_ns", "first_content_ns", "last_content_ns", "end_ns"):
            row[name] += lag
    return rows


@pytest.mark.parametrize(
    ("lags", "status", "said"),
    [
        ([0.1] * 200, "valid", ""),
        # Falling behind by 3 % of the time: 19.9 s of plan sent in 20.5 s.
        ([0.03 * 100 * i for i in range(200)], "invalid", "2.9% below the plan"),
        ([0.25 * 100 * i for i in range(200)], "invalid", "20.0% below the plan"),
        ([3.0] * 200, "degraded", "above 10% of the median TTFT (20.0 ms)"),
        ([0.1] * 150 + [12.0] * 50, "invalid", "above 50% of the median TTFT"),
    ],
)
def test_a_late_client_is_found_out(
    write_run: WriteRun, ok_request: Request, lags: list[float], status: str, said: str
) -> None:
    rows = open_loop(ok_request, lags)
    schedule = [{"request_id": i, "intended_ns": 100 * i} for i in range(len(lags))]
    run = write_run(rows, schedule=schedule, load={"pattern": "constant"})
    found, reasons = verdict(run)
    assert found == status
    assert said in reasons


def test_planned_requests_that_were_never_sent_lower_the_offered_rate(
    write_run: WriteRun, ok_request: Request
) -> None:
    schedule = [{"request_id": i, "intended_ns": 100 * i} for i in range(100)]
    rows = every_100_ms(ok_request, 97)
    found, reasons = verdict(write_run(rows, schedule=schedule, load={"pattern": "poisson"}))
    assert found == "degraded"
    assert "3.0% below the plan, above 1.0%" in reasons


def test_waiting_for_the_cap_is_not_send_lag_but_a_lower_rate(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows = open_loop(ok_request, [0.0] * 100 + [25.0 * i for i in range(100)])
    for row in rows[100:]:
        row["capped"] = True
    results = measure(write_run(rows, load={"pattern": "constant"}, window="fixed"))
    assert results["client"]["send_lag_ms"]["max"] == 0.0
    assert results["client"]["capped"] == 100
    (reason,) = results["verdict"]["reasons"]
    assert "below the plan" in reason and "100 requests waited for the concurrency cap" in reason


@pytest.mark.parametrize(
    ("counted", "status"), [(500, "valid"), (505, "degraded"), (600, "invalid")]
)
def test_client_and_server_have_to_agree_on_tokens(
    write_run: WriteRun, ok_request: Request, counted: float, status: str
) -> None:
    rows = every_100_ms(ok_request, 90)
    rows += [ok_request(90 + i, -1000 + 50 * i, -900, -800, warmup=True) for i in range(10)]
    server = {-1100: {GENERATED: 7.0}, 5000: {GENERATED: 400.0}, 9500: {GENERATED: 7 + counted}}
    found, reasons = verdict(write_run(rows, server=server))
    assert found == status
    if status != "valid":
        assert f"client counted 500 output tokens, the server {counted}" in reasons


def test_tokens_of_failed_requests_are_no_disagreement(
    write_run: WriteRun, ok_request: Request, failed_request: Request
) -> None:
    rows = [*every_100_ms(ok_request, 99), failed_request(99, 9900, "broken_stream")]
    server = {-10: {GENERATED: 0.0}, 9990: {GENERATED: 99 * 5 + 40.0}}
    results = measure(write_run(rows, server=server))
    assert results["server"]["token_check"]["limited"]
    (reason,) = results["verdict"]["reasons"]
    assert "1 of 100 requests failed" in reason


def test_a_restarted_server_invalidates_the_run(write_run: WriteRun, ok_request: Request) -> None:
    server = {
        float(1000 * k): {GENERATED: value}
        for k, value in enumerate([0.0, 50, 100, 20, 70, 120, 170, 220, 270, 320])
    }
    found, reasons = verdict(write_run(every_100_ms(ok_request, 90), server=server))
    assert found == "invalid"
    assert "server restarted" in reasons
    assert "from 100 to 20 at 3.0 s" in reasons


@pytest.mark.parametrize(
    ("load", "status", "said"),
    [
        ({"interrupted": True}, "invalid", "interrupted"),
        ({"clock_step_ns": -60_000_000}, "invalid", "clock stepped by -60 ms"),
        ({"clock_step_ns": 40_000_000}, "valid", ""),
        ({"clock_drift_ns": 60_000_000}, "invalid", "drifted by 60 ms"),
        ({"prompt_lengths": "estimated"}, "degraded", "model.tokenizer makes them exact"),
        ({"prompt_lengths": "exact"}, "valid", ""),
        ({"workers_lost": ["worker 0 ended with code -9"]}, "invalid", "worker was lost"),
        ({"stopped": "the first 20 requests all failed"}, "invalid", "stopped early"),
        ({"read_lag_p99_ms": 6.0}, "degraded", "read lag p99 was 6.0 ms"),
        ({"loop_stall_p99_ms": 7.5, "loop_stalls": 12}, "degraded", "7.5 ms at p99 (12 stalls)"),
        ({"worker_cpu_share": 0.97}, "degraded", "97% of a core, above 90%"),
        ({"worker_cpu_share": 0.5, "loop_stall_p99_ms": None}, "valid", ""),
        ({"reconnects": 2}, "degraded", "2 connections were made anew for 50 requests (4.0%)"),
        ({"shared_host": True, "client_cores": 2}, "degraded", "share 2 cores"),
        ({"shared_host": True, "client_cores": 64}, "valid", ""),
    ],
)
def test_what_the_driver_noticed_counts(
    write_run: WriteRun, ok_request: Request, load: dict[str, Any], status: str, said: str
) -> None:
    found, reasons = verdict(write_run(every_100_ms(ok_request, 50), load=load))
    assert found == status
    assert said in reasons


def test_requests_cut_off_by_an_interrupt_are_not_failures_of_the_server(
    write_run: WriteRun, ok_request: Request, failed_request: Request
) -> None:
    rows = every_100_ms(ok_request, 50) + [
        failed_request(50 + i, 5000, "interrupted") for i in range(20)
    ]
    results = measure(write_run(rows, load={"interrupted": True}))
    assert results["verdict"]["reasons"] == ["interrupted"]
    assert results["interrupted"] is True
    assert results["requests"]["by_error"] == {"interrupted": 20}
    assert results["metrics"]["ttft_ms"]["p90"]["value"] == 20.0


def test_thresholds_are_those_of_the_profile(
    write_run: WriteRun, ok_request: Request, failed_request: Request
) -> None:
    rows = [*every_100_ms(ok_request, 90), *(failed_request(90 + i, 9000) for i in range(10))]
    found, _ = verdict(write_run(rows, validity={"error_budget": 0.2}))
    assert found == "degraded"


@pytest.mark.parametrize(("extra", "status"), [(0.0, "valid"), (0.3, "degraded"), (2.0, "invalid")])
def test_chunks_must_not_carry_more_tokens_than_usage_admits(
    write_run: WriteRun, ok_request: Request, extra: float, status: str
) -> None:
    rows = every_100_ms(ok_request, 40)
    chunks = [(i, 100 * i + 20 + 8 * k, 1.0) for i in range(40) for k in range(5)]
    chunks[-10:] = [(owner, at, 1.0 + extra) for owner, at, _ in chunks[-10:]]
    run = write_run(rows, chunks=chunks, load={"token_split": "continuous_usage"})
    found, reasons = verdict(run)
    assert found == status
    if extra:
        assert f"chunks carried {200 + 10 * extra:.0f} output tokens, usage says 200" in reasons


@pytest.mark.parametrize(
    ("kind", "level", "at_s", "autoscaler", "status"),
    [
        ("restarted", "invalid", 1.0, "none", "invalid"),
        ("pod added", "degraded", 1.0, "none", "degraded"),
        ("api outage", "none", 1.0, "none", "valid"),
        ("pod lost", "invalid", 1.0, "none", "invalid"),
        ("pod lost", "invalid", 1.0, "hpa", "degraded"),
        ("restarted", "invalid", -1.0, "none", "valid"),
    ],
)
def test_what_happened_to_the_service_meanwhile_counts(  # a row of the table each
    write_run: WriteRun,
    ok_request: Request,
    kind: str,
    level: str,
    at_s: float,
    autoscaler: str,
    status: str,
) -> None:
    told = {"unix_s": 1000.0 + at_s, "kind": kind, "level": level, "text": f"{kind}: pod x"}
    run = write_run(
        every_100_ms(ok_request, 40),
        load={"t0_unix_ns": 1_000_000_000_000},
        facts={"disturbances": [told]},
        serving={"autoscaling": {"autoscaler": autoscaler, "max_replicas": 3}},
    )
    found, reasons = verdict(run)
    assert found == status
    assert (kind in reasons) == (status != "valid")


def test_a_poor_way_in_degrades_a_run(write_run: WriteRun, ok_request: Request) -> None:
    run = write_run(every_100_ms(ok_request, 40), facts={"degraded": ["a port-forward"]})
    assert verdict(run) == ("degraded", "a port-forward")

"""Warm-up is found where it is, and a run that is not steady is called what it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from runners.measure import measure
from runners.measure.steady import CERTAIN, drift, swing, truncation
from runners.rundir import RunDirectory

Floats = npt.NDArray[np.float64]
Request = Callable[..., dict[str, Any]]
WriteRun = Callable[..., RunDirectory]
SECONDS, RATE = 40, 20


def run_with(
    write_run: WriteRun, ok_request: Request, e2e_ms: Callable[[float], float], **more: Any
) -> dict[str, Any]:
    """20 requests a second for 40 s; e2e latency by the second it was sent in, with noise."""
    generator = np.random.default_rng(5)
    rows, chunks = [], []
    for i in range(SECONDS * RATE):
        sent = 1000 * i / RATE
        last = sent + e2e_ms(sent / 1000) * generator.uniform(0.9, 1.1)
        first = sent + (last - sent) / 4
        rows.append(ok_request(i, sent, first, last))
        chunks += [(i, first + (last - first) * k / 4, 1.0) for k in range(5)]
    return measure(write_run(rows, chunks=chunks, load={"pattern": "constant"}, **more))


def test_a_steady_run_is_kept_whole(write_run: WriteRun, ok_request: Request) -> None:
    results = run_with(write_run, ok_request, lambda _: 100.0)
    window = results["window"]
    assert (window["method"], window["steady_state"]) == ("mser", "found")
    assert window["start_s"] < 0.6
    assert window["end_s"] > SECONDS - 0.6
    assert results["verdict"]["status"] == "valid"
    assert set(window["series"]) == {
        "output_throughput_tok_s",
        "in_flight",
        "ttft_ms",
        "e2e_latency_ms",
    }


def test_a_slow_start_is_cut_off(write_run: WriteRun, ok_request: Request) -> None:
    """Eight seconds of a cold cache: latency five times as long."""
    results = run_with(write_run, ok_request, lambda s: 500.0 if s < 8 else 100.0)
    window = results["window"]
    assert 7.9 <= window["start_s"] <= 9.0
    assert window["warmup_s"] == pytest.approx(window["start_s"])
    assert window["steady_state"] == "found"
    assert "MSER-5" in window["reason"]
    assert results["metrics"]["e2e_latency_ms"]["mean"]["value"] == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize(("window", "count"), [("fixed", 780), ("none", 800)])
def test_the_fixed_alternatives_stay(
    write_run: WriteRun, ok_request: Request, window: str, count: int
) -> None:
    """The first 20 requests are flagged as warm-up; a detected window never begins before."""
    generator = np.random.default_rng(1)
    latency = np.where(np.arange(800) < 200, 500.0, 100.0) + generator.normal(0, 5, 800)
    rows = [
        ok_request(i, 50 * i, 50 * i + 20, 50 * i + latency[i], warmup=i < 20) for i in range(800)
    ]
    results = measure(write_run(rows, window=window))
    assert results["window"]["method"] == window
    assert results["window"]["steady_state"] == "not looked for"
    assert results["requests"]["in_window"] == count
    assert results["window"]["start_s"] == (1.0 if window == "fixed" else 0.0)


def test_growing_latency_is_called_a_drift(write_run: WriteRun, ok_request: Request) -> None:
    """An open loop above what the server can do: the queue only grows."""
    results = run_with(write_run, ok_request, lambda s: 100.0 + 20 * s)
    assert results["window"]["steady_state"] == "not found"
    assert results["verdict"]["status"] == "degraded"
    (reason,) = results["verdict"]["reasons"]
    assert "steady state not found" in reason
    assert "ttft_ms drifts (+1" in reason
    assert results["window"]["series"]["ttft_ms"]["drift"]["p"] < CERTAIN


def test_a_late_step_is_called_a_shift(write_run: WriteRun, ok_request: Request) -> None:
    """Half as slow again in the last fifth: no slow start, and nothing to be cut off unseen."""
    results = run_with(write_run, ok_request, lambda s: 150.0 if s > 32 else 100.0)
    assert results["window"]["end_s"] > SECONDS - 0.6
    (reason,) = results["verdict"]["reasons"]
    assert "e2e_latency_ms shifts (its quarters differ by 3" in reason


def test_a_load_that_fades_before_the_last_send_is_cut_off(
    write_run: WriteRun, ok_request: Request
) -> None:
    """Eight users; from 32 s on one is left, as when one worker has more to do than the others."""
    users = {user: 40 if user == 0 else 32 for user in range(8)}
    rows = [
        ok_request(0, 500 * i + 10 * user, 500 * i + 10 * user + 50, 500 * i + 10 * user + 495)
        for user, seconds in users.items()
        for i in range(2 * seconds)
    ]
    rows = [row | {"request_id": i} for i, row in enumerate(rows)]
    window = measure(write_run(rows))["window"]
    assert 31 <= window["end_s"] <= 33
    assert "in_flight fell" in window["reason"]


def test_a_swing_is_called_an_oscillation(write_run: WriteRun, ok_request: Request) -> None:
    results = run_with(write_run, ok_request, lambda s: 100.0 + 40 * np.sin(2 * np.pi * s / 5))
    assert results["window"]["steady_state"] == "not found"
    (reason,) = results["verdict"]["reasons"]
    assert "e2e_latency_ms oscillates" in reason
    assert results["window"]["series"]["ttft_ms"]["oscillation"]["period_s"] == pytest.approx(
        5.0, rel=0.1
    )


def test_a_tolerance_in_the_profile_decides(write_run: WriteRun, ok_request: Request) -> None:
    results = run_with(
        write_run,
        ok_request,
        lambda s: 100.0 + 40 * np.sin(2 * np.pi * s / 5),
        validity={"steady_change": 2.0},
    )
    assert results["verdict"]["status"] == "valid"


@pytest.mark.parametrize(
    ("count", "gap", "why"), [(49, 1000, "49 answered requests"), (90, 100, "8.9 s of load")]
)
def test_short_runs_are_not_judged(
    write_run: WriteRun, ok_request: Request, count: int, gap: int, why: str
) -> None:
    rows = [ok_request(i, gap * i, gap * i + 20 + 10 * i, gap * i + 900) for i in range(count)]
    results = measure(write_run(rows))
    assert results["window"]["method"] == "fixed"
    assert results["window"]["steady_state"] == "not looked for"
    assert why in results["window"]["reason"]
    assert results["verdict"]["status"] == "valid"


def test_a_load_that_changes_by_plan_is_not_asked_to_be_steady(
    write_run: WriteRun, ok_request: Request
) -> None:
    rows = [ok_request(i, 100 * i, 100 * i + 20 + i, 100 * i + 900 + i) for i in range(300)]
    window = measure(write_run(rows, load={"pattern": "stages"}))["window"]
    assert window["steady_state"] == "not looked for"
    assert "changes by plan" in window["reason"]


def correlated(generator: np.random.Generator, count: int) -> Floats:
    """Mean 10, standard deviation 1, AR(1) with coefficient 0.8."""
    values, noise = np.empty(count), generator.normal(0, 0.6, count)
    values[0] = generator.normal()
    for i in range(1, count):
        values[i] = 0.8 * values[i - 1] + noise[i]
    return 10 + values


def test_correlated_noise_is_neither_drift_nor_oscillation() -> None:
    generator = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        series = correlated(generator, 800)
        settled, drifts, swings = truncation(series, 0.05), drift(series), swing(series, 64)
        assert settled is not None and drifts is not None and swings is not None
        alarms += not settled.settled or drifts.p < CERTAIN or swings.p < CERTAIN
    assert alarms <= 4

"""Energy over the window, from counters and from power, and whose GPUs count."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from runners.measure import measure
from runners.rundir import RunDirectory

WriteRun = Callable[..., RunDirectory]
Request = Callable[..., dict[str, Any]]
COUNTER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
POWER = "DCGM_FI_DEV_POWER_USAGE"


def told(metric: str, **labels: str) -> str:
    """A sample's name as the fixture's `server` takes it."""
    return metric + json.dumps({"modelName": "H100", **labels}, sort_keys=True)


def scraped(
    series: Mapping[str, Callable[[float], float]], start_s: int = -5, end_s: int = 40
) -> dict[float, dict[str, float]]:
    """Each series once a second, as a function of the time in seconds."""
    return {
        second * 1e3: {name: value(float(second)) for name, value in series.items()}
        for second in range(start_s, end_s + 1)
    }


def counter(watts: float) -> Callable[[float], float]:
    return lambda second: (1000 + second) * watts * 1e3


@pytest.fixture
def measured(write_run: WriteRun, ok_request: Request) -> Callable[..., dict[str, Any]]:
    """50 tokens a second for 30 s from 0 on, at even times."""

    def make(server: Any, facts: Any = None, load: Any = None, **profile: Any) -> dict[str, Any]:
        sent = [ok_request(i, 100 * i, 100 * i + 10, 100 * i + 90) for i in range(301)]
        chunks = [(i, 100 * i + 10 + 20 * k, 1.0) for i in range(301) for k in range(5)]
        run = write_run(
            sent, chunks=chunks, server=server, facts=facts, load=load, window="fixed", **profile
        )
        return measure(run)

    return make


def test_joules_per_token_are_watts_over_tokens_per_second(
    measured: Callable[..., dict[str, Any]],
) -> None:
    gpus = {told(COUNTER, UUID="GPU-a"): counter(300), told(COUNTER, UUID="GPU-b"): counter(100)}
    results = measured(scraped(gpus), resources={"gpu": {"count": 2}})
    energy, each = results["energy"], results["metrics"]["energy_j_per_output_token"]
    assert each["value"] == pytest.approx(400 / 50, rel=0.01)
    assert each["low"] <= each["value"] <= each["high"]
    assert energy["tokens_per_joule"]["value"] == pytest.approx(1 / each["value"])
    assert energy["average_w"]["value"] == pytest.approx(400)
    assert energy["idle_w"] == pytest.approx(400)
    assert energy["joules"] == pytest.approx(400 * (energy["end_s"] - energy["start_s"]))
    assert [gpu["average_w"] for gpu in energy["gpus"]] == pytest.approx([300, 100])
    assert energy["method"] == "counter"


def test_power_before_the_load_is_idle_power(measured: Callable[..., dict[str, Any]]) -> None:
    gpu = {told(POWER, UUID="GPU-a"): lambda second: 60.0 if second <= 0 else 500.0}
    energy = measured(scraped(gpu))["energy"]
    assert energy["method"] == "power"
    assert energy["idle_w"] == pytest.approx(60)
    # Between 0 and 1 s the trapezoid goes from one to the other.
    assert energy["average_w"]["value"] == pytest.approx(500, rel=0.02)


def test_a_counter_that_began_anew_is_not_used(measured: Callable[..., dict[str, Any]]) -> None:
    gpu = {
        told(COUNTER, UUID="GPU-a"): lambda second: counter(300)(second if second < 20 else -999),
        told(POWER, UUID="GPU-a"): lambda second: 300.0,
    }
    energy = measured(scraped(gpu))["energy"]
    assert energy["method"] == "power"
    assert energy["average_w"]["value"] == pytest.approx(300)


def test_an_exporter_that_looks_rarely_is_interpolated_between_looks(
    measured: Callable[..., dict[str, Any]],
) -> None:
    gpu = {told(COUNTER, UUID="GPU-a"): lambda second: counter(300)(second // 5 * 5)}
    results = measured(scraped(gpu))
    assert results["energy"]["average_w"]["value"] == pytest.approx(300)
    assert results["metrics"]["energy_j_per_output_token"]["low"] is None
    assert "16 samples" in results["not_measured"]["energy_j_per_output_token.interval"]


def test_looks_that_do_not_enclose_the_window_are_not_enough(
    measured: Callable[..., dict[str, Any]],
) -> None:
    gpu = {told(COUNTER, UUID="GPU-a"): lambda second: counter(300)((second - 10) // 20 * 20)}
    results = measured(scraped(gpu))
    assert results["energy"] is None
    assert "dcgm-exporter -c 1000" in results["not_measured"]["energy_j_per_output_token"]


CLUSTER = {"cluster": {"namespace": "bench", "pods": [{"name": "llama-0", "node": "n"}]}}


def test_the_gpus_of_our_pods_are_counted(measured: Callable[..., dict[str, Any]]) -> None:
    gpus = {
        told(COUNTER, UUID="GPU-a", pod="llama-0", namespace="bench"): counter(300),
        told(COUNTER, UUID="GPU-b", pod="llama-0", namespace="elsewhere"): counter(100),
        told(COUNTER, UUID="GPU-c"): counter(50),
    }
    energy = measured(scraped(gpus), facts=CLUSTER)["energy"]
    assert [gpu["uuid"] for gpu in energy["gpus"]] == ["GPU-a"]


def test_gpus_nobody_can_tell_apart_need_a_name(measured: Callable[..., dict[str, Any]]) -> None:
    gpus = {
        told(COUNTER, UUID=f"GPU-{letter}", gpu=str(index)): counter(100 * index)
        for index, letter in enumerate("abc", 1)
    }
    results = measured(scraped(gpus))
    assert results["energy"] is None
    assert "telemetry: {gpus:" in results["not_measured"]["energy"]


@pytest.mark.parametrize("named", [["2"], ["GPU-b"]])
def test_a_named_gpu_is_the_one(measured: Callable[..., dict[str, Any]], named: list[str]) -> None:
    gpus = {
        told(COUNTER, UUID=f"GPU-{letter}", gpu=str(index)): counter(100 * index)
        for index, letter in enumerate("abc", 1)
    }
    results = measured(scraped(gpus), telemetry={"gpus": named})
    assert results["energy"]["average_w"]["value"] == pytest.approx(200)


def test_a_slice_has_no_energy_of_its_own(measured: Callable[..., dict[str, Any]]) -> None:
    gpu = {told(COUNTER, UUID="GPU-a", GPU_I_ID="3"): counter(300)}
    results = measured(scraped(gpu))
    assert results["energy"] is None
    assert "MIG" in results["not_measured"]["energy_j_per_output_token"]


def test_without_telemetry_the_reason_of_the_run_is_told(
    measured: Callable[..., dict[str, Any]],
) -> None:
    why = "NVML: Driver Not Loaded"
    results = measured(None, load={"gpu_telemetry": {"source": "gpu:nvml", "missing": why}})
    assert results["metrics"]["energy_j_per_output_token"] is None
    assert results["not_measured"]["energy_j_per_output_token"] == why
    assert results["energy"] is None

"""GPUs through an exporter, through Prometheus and through NVML: watts come out as put in."""

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from runners.rundir import RunDirectory
from runners.telemetry.counters import increase, read_server
from runners.telemetry.dcgm import Dcgm
from runners.telemetry.gpu import GpuMetrics, integrated, read_gpus, refreshed
from runners.telemetry.gpu_watch import Source
from runners.telemetry.nvml import Nvml
from runners.telemetry.prometheus import ENGINE, Prometheus
from runners.telemetry.scrape import write_scrapes
from tests.telemetry.gpu_servers import answering, exporter, prometheus

TWO = {"GPU-a": 100.0, "GPU-b": 300.0}
LENGTH_S = 0.4


def watched(source: Source, folder: Path) -> GpuMetrics | None:
    """Look for a moment, write server.parquet, and read the GPUs from it."""
    clocks = time.monotonic_ns(), time.time_ns()
    with source:
        time.sleep(LENGTH_S)  # the GPUs have to draw something
    write_scrapes([], RunDirectory(folder), clocks[0], list(source.rows(*clocks)))
    return read_gpus(folder / "server.parquet")


def watts(found: GpuMetrics | None) -> dict[str, float]:
    """Of each GPU, by its counter."""
    assert found is not None
    told = {}
    for gpu in found.gpus:
        assert gpu.energy is not None
        curve = refreshed(gpu.energy)
        assert curve is not None
        seconds = (curve.t_ns[-1] - curve.t_ns[0]) / 1e9
        told[gpu.uuid] = float(curve.value[-1] - curve.value[0]) / seconds
    return told


def test_an_exporter_is_asked_directly(tmp_path: Path) -> None:
    with answering(exporter(TWO, {"GPU-b": "llama-0"})) as url:
        found = watched(Dcgm(f"{url}/metrics", interval_s=0.05), tmp_path)
    told = watts(found)
    assert told["GPU-b"] / told["GPU-a"] == pytest.approx(3.0, rel=0.01)
    # A scrape is stamped with its mid-point: on a busy machine some ms of 0.4 s are open.
    assert told["GPU-a"] == pytest.approx(100.0, rel=0.4)
    assert found is not None and found.scrapes and found.gaps == 0
    assert [gpu.owners for gpu in found.gpus] == [frozenset(), frozenset({("bench", "llama-0")})]
    assert read_server(tmp_path / "server.parquet") is None


def test_an_exporter_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    source = Dcgm("http://127.0.0.1:9/metrics")
    assert watched(source, tmp_path) is None
    assert "ConnectError" in str(source.missing())


@pytest.mark.parametrize("names", [("exported_namespace", "exported_pod"), ("namespace", "pod")])
def test_prometheus_is_asked_for_the_gpus_of_our_pods(
    names: tuple[str, str], tmp_path: Path
) -> None:
    labels = {
        uuid: {names[0]: "bench", names[1]: pod}
        for uuid, pod in (("GPU-a", "llama-0"), ("GPU-b", "llama-1"), ("GPU-c", "other"))
    }
    facts = {
        "cluster": {"namespace": "bench", "pods": [{"name": "llama-0"}]},
        "disturbances": [{"unix_s": 0.0, "text": "pod llama-1 was added during the load"}],
    }
    with answering(prometheus({**TWO, "GPU-c": 700.0}, labels)) as url:
        source = Prometheus(url, facts)
        found = watched(source, tmp_path)
    assert source.missing() is None
    assert watts(found) == pytest.approx(TWO, rel=1e-4)


def test_prometheus_tells_of_engines_that_cannot_be_reached(tmp_path: Path) -> None:
    facts = {"cluster": {"namespace": "bench", "pods": [{"name": "llama-0"}, {"name": "llama-1"}]}}
    ours = {"__name__": "vllm:generation_tokens_total", "namespace": "bench"}
    labels = {
        "GPU-a": {**ours, "pod": "llama-0"},
        "GPU-b": {**ours, "pod": "llama-1"},
        "GPU-c": {**ours, "pod": "other"},
        "GPU-d": {**ours, "pod": "llama-0", "__name__": "vllm:time_to_first_token_seconds_bucket"},
    }
    with answering(prometheus(dict.fromkeys(labels, 50.0), labels)) as url:
        source = Prometheus(url, facts, wanted=ENGINE)
        watched(source, tmp_path)
    server = read_server(tmp_path / "server.parquet")
    assert server is not None and len(server.scrapes) == 2
    assert set(server.series) == {"vllm:generation_tokens_total"}
    grown = increase(server, ("vllm:generation_tokens_total",), 0, round(LENGTH_S * 1e9))
    # Two pods, 50,000 a second each, known to one scrape of the scripted server (50 ms).
    assert grown == pytest.approx(2 * 50_000 * LENGTH_S, rel=0.2)


def test_prometheus_says_why_it_knows_nothing(tmp_path: Path) -> None:
    pods = {"cluster": {"namespace": "bench", "pods": [{"name": "llama-0"}]}}
    with answering(prometheus(TWO, {})) as url:
        nobody, elsewhere = Prometheus(url, {}), Prometheus(url, pods)
        assert watched(nobody, tmp_path) is None and watched(elsewhere, tmp_path) is None
    assert "telemetry: {gpus:" in str(nobody.missing())
    assert "no DCGM metrics of our GPUs" in str(elsewhere.missing())
    denied = '{"status": "error", "error": "no such user"}'
    with answering(lambda path, headers: (401, "application/json", denied)) as url:
        refused = Prometheus(url, pods)
        assert watched(refused, tmp_path) is None
    assert "no such user" in str(refused.missing())


def pretended_nvml(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A pynvml with the GPUs of TWO, where only the first has a counter."""

    def energy(gpu: str) -> int:
        if gpu == "GPU-b":
            raise RuntimeError("Not Supported")
        return round(time.monotonic() * TWO[gpu] * 1e3)

    nvml = ModuleType("pynvml")
    gpus = list(TWO)
    vars(nvml).update(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=gpus.__getitem__,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetIndex=gpus.index,
        nvmlDeviceGetUUID=lambda gpu: gpu.encode(),
        nvmlDeviceGetName=lambda gpu: "H100",
        nvmlDeviceGetTotalEnergyConsumption=energy,
        nvmlDeviceGetPowerUsage=lambda gpu: TWO[gpu] * 1e3,
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=50),
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=1 << 30),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return nvml


def test_nvml_tells_of_the_gpus_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended_nvml(monkeypatch)
    found = watched(Nvml(interval_s=0.05), tmp_path)
    assert found is not None and found.source == "gpu:nvml"
    first, second = found.gpus
    assert first.energy is not None and second.energy is None
    assert second.power is not None
    curve = integrated(second.power)
    assert curve is not None
    seconds = (curve.t_ns[-1] - curve.t_ns[0]) / 1e9
    assert curve.value[-1] / seconds == pytest.approx(300.0)
    assert (first.index, first.model) == ("0", "H100")


def test_nvml_looks_at_the_visible_gpus_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended_nvml(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    found = watched(Nvml(interval_s=0.05), tmp_path)
    assert found is not None and [gpu.index for gpu in found.gpus] == ["1"]


def test_without_the_package_or_a_driver_nvml_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = pretended_nvml(monkeypatch)

    def no_driver() -> None:
        raise RuntimeError("Driver Not Loaded")

    monkeypatch.setattr(nvml, "nvmlInit", no_driver)
    source = Nvml()
    assert watched(source, tmp_path) is None and "Driver Not Loaded" in str(source.missing())
    monkeypatch.setitem(sys.modules, "pynvml", None)
    source = Nvml()
    assert watched(source, tmp_path) is None and "pip install" in str(source.missing())

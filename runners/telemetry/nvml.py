"""GPUs of this machine through NVML (nvidia-ml-py, an optional package).

NVML numbers GPUs by their place on the bus, CUDA by their speed unless CUDA_DEVICE_ORDER is
PCI_BUS_ID; in a machine with different GPUs name them by UUID.
"""

import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from runners.telemetry.counters import GPU_SOURCE
from runners.telemetry.scrape import SCRAPE_DURATION, UP, Row

_INSTALL = "nvidia-ml-py is not installed; pip install 'kserve-bench[gpu]'"
# Our name for each metric, and how NVML is asked for it.
READERS: dict[str, Callable[[Any, Any], float]] = {
    "nvml_total_energy_consumption_mj": lambda nvml, gpu: float(
        nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    ),
    "nvml_power_usage_mw": lambda nvml, gpu: float(nvml.nvmlDeviceGetPowerUsage(gpu)),
    "nvml_gpu_utilization_percent": lambda nvml, gpu: float(
        nvml.nvmlDeviceGetUtilizationRates(gpu).gpu
    ),
    "nvml_memory_used_bytes": lambda nvml, gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
}


@dataclass(frozen=True)
class _Look:
    """One look at all GPUs: mid-point on CLOCK_MONOTONIC, and (labels, metric, value)."""

    at_ns: int
    duration_ns: int
    found: tuple[tuple[str, str, float], ...]


class Nvml:
    """Looks at the GPUs twice a second while the context is open; never raises into the run."""

    source = f"{GPU_SOURCE}nvml"

    def __init__(self, interval_s: float = 0.5) -> None:
        self._interval_s = interval_s
        self._why: str | None = None
        self._nvml: Any = None
        self._gpus: list[tuple[str, Any]] = []
        self._looks: list[_Look] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)

    def __enter__(self) -> "Nvml":
        try:
            self._nvml = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._gpus = [(_labels(self._nvml, gpu, at), gpu) for at, gpu in _visible(self._nvml)]
            self._look()
        except ImportError:
            self._why = _INSTALL
        # NVML's errors are its own class, which is not known without it.
        except Exception as error:
            self._why = f"NVML: {error}"
        if self._why is None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
            self._look()
            self._nvml.nvmlShutdown()

    def missing(self) -> str | None:
        """Why nothing was seen; None where something was."""
        if self._why is None and not any(look.found for look in self._looks):
            return "NVML: there is no GPU, or it tells nothing"
        return self._why

    def rows(self, t0_monotonic_ns: int, t0_unix_ns: int) -> Iterator[Row]:
        """What was seen, for server.parquet. t0: the start of load on two clocks."""
        for look in self._looks:
            at = look.at_ns - t0_monotonic_ns
            yield at, self.source, UP, "{}", float(bool(look.found))
            yield at, self.source, SCRAPE_DURATION, "{}", look.duration_ns / 1e9
            for labels, metric, value in look.found:
                yield at, self.source, metric, labels, value

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._look()

    def _look(self) -> None:
        before = time.monotonic_ns()
        found = []
        for labels, gpu in self._gpus:
            for metric, read in READERS.items():
                try:
                    found.append((labels, metric, read(self._nvml, gpu)))
                except Exception:  # not every GPU tells everything (energy: from Volta on)
                    continue
        after = time.monotonic_ns()
        self._looks.append(_Look((before + after) // 2, after - before, tuple(found)))


def _visible(nvml: Any) -> Iterator[tuple[str, Any]]:
    """(index, handle) of the GPUs that CUDA_VISIBLE_DEVICES leaves, else of all."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        names = [str(index) for index in range(int(nvml.nvmlDeviceGetCount()))]
    else:
        names = [name.strip() for name in told.split(",") if name.strip()]
    for name in names:
        if name.isdecimal():
            yield name, nvml.nvmlDeviceGetHandleByIndex(int(name))
        else:
            gpu = nvml.nvmlDeviceGetHandleByUUID(name)
            yield str(nvml.nvmlDeviceGetIndex(gpu)), gpu


def _labels(nvml: Any, gpu: Any, index: str) -> str:
    """As the DCGM exporter calls them."""
    uuid, model = _text(nvml.nvmlDeviceGetUUID(gpu)), _text(nvml.nvmlDeviceGetName(gpu))
    return json.dumps({"UUID": uuid, "gpu": index, "modelName": model}, sort_keys=True)


def _text(told: Any) -> str:
    return told.decode() if isinstance(told, bytes) else str(told)

"""Energy of the GPUs over the window, per token, and what they draw idle."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runners.measure.events import output_tokens
from runners.measure.latency import Summary
from runners.measure.machines import asked_machines
from runners.measure.rates import as_json
from runners.measure.records import Floats, Recorded
from runners.measure.statistics import BATCHES, ratio
from runners.measure.window import Window
from runners.telemetry.gpu import Gpu, GpuMetrics, Samples, integrated, refreshed
from runners.telemetry.pods import pods_of

ENERGY = "energy_j_per_output_token"
NO_GPU_TELEMETRY = "no GPU telemetry"
MIN_SHARE_OF_WINDOW = 0.8
MIN_IDLE_S = 1.0


@dataclass(frozen=True)
class Drawn:
    """Joules since some instant, for each GPU that serves.

    method: counter, or power where a counter was missing and power was integrated.
    """

    gpus: tuple[Gpu, ...]
    curves: tuple[Samples, ...]
    method: str

    def at(self, instants: Floats) -> Floats:
        """Sum over the GPUs at each instant (ns), interpolated between samples."""
        each = [np.interp(instants, one.t_ns, one.value) for one in self.curves]
        return np.asarray(np.sum(each, axis=0), np.float64)


@dataclass(frozen=True)
class Energy:
    """Over [start, end] (ns), which may be a little shorter than the window.

    joules: per stretch, BATCHES of equal length. fine: there are enough samples for that.
    """

    drawn: Drawn
    start_ns: float
    end_ns: float
    joules: Floats
    fine: bool

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


def energy_of(run: Recorded, gpus: GpuMetrics | None, window: Window | None) -> Energy | str:
    """What the GPUs that serve drew over the window; or why that is not known."""
    if gpus is None:
        return str((run.load.get("gpu_telemetry") or {}).get("missing") or NO_GPU_TELEMETRY)
    if window is None or window.length_s <= 0:
        return "there is no window"
    serving = serving_gpus(run, gpus)
    if isinstance(serving, str):
        return serving
    drawn = _drawn(serving)
    if isinstance(drawn, str):
        return drawn
    start = max(window.start_ns, *(one.t_ns[0] for one in drawn.curves))
    end = min(window.end_ns, *(one.t_ns[-1] for one in drawn.curves))
    if end - start < MIN_SHARE_OF_WINDOW * (window.end_ns - window.start_ns):
        seconds = max(0.0, (end - start) / 1e9)
        return (
            f"samples of the GPUs' energy enclose {seconds:.1f} s of the window's "
            f"{window.length_s:.1f} s; run longer, or let the exporter look more often "
            "(dcgm-exporter -c 1000)"
        )
    joules = np.diff(drawn.at(np.linspace(start, end, BATCHES + 1)))
    fewest = min(int(((one.t_ns >= start) & (one.t_ns <= end)).sum()) for one in drawn.curves)
    return Energy(drawn, float(start), float(end), joules, fewest >= BATCHES)


def serving_gpus(run: Recorded, found: GpuMetrics) -> tuple[Gpu, ...] | str:
    """Those that the profile names, else those of our pods, else all if they are as many."""
    profile = run.profile
    if profile.resources.gpu.mig:
        return "a MIG slice has no energy counter of its own"
    named = profile.telemetry.gpus
    if named is not None:
        chosen = [each for each in found.gpus if {each.uuid, each.index} & set(named)]
        if len(chosen) != len(named):
            return f"telemetry.gpus names {len(named)} GPUs, {found.source} shows {len(chosen)}"
    else:
        picked = _by_pod_or_count(run, found)
        if isinstance(picked, str):
            return picked
        chosen = picked
    if any(each.sliced for each in chosen):
        return "a MIG slice has no energy counter of its own"
    return tuple(chosen)


def _by_pod_or_count(run: Recorded, found: GpuMetrics) -> list[Gpu] | str:
    facts = (run.environment.get("engine") or {}).get("facts") or {}
    namespace, pods = pods_of(facts)
    ours = [
        each
        for each in found.gpus
        if any(pod in pods and space in (None, namespace) for space, pod in each.owners)
    ]
    if ours:
        return ours
    if pods and any(each.owners for each in found.gpus):
        return f"{found.source} shows no GPU of our pods"
    asked = asked_machines(run.profile)
    if isinstance(asked, str):
        return asked
    if not asked.gpus:
        return "the profile uses no GPU"
    if len(found.gpus) != round(asked.gpus):
        return (
            f"{found.source} shows {len(found.gpus)} GPUs, the profile uses {asked.gpus:g}: which "
            'is not known; add `telemetry: {gpus: ["0"]}` with their indices or UUIDs'
        )
    return list(found.gpus)


def _drawn(gpus: tuple[Gpu, ...]) -> Drawn | str:
    """By counters; where one lacks or has gone down, power of all is integrated."""
    counted = [each.energy and refreshed(each.energy) for each in gpus]
    curves = [one for one in counted if one is not None]
    if len(curves) == len(gpus):
        return Drawn(gpus, tuple(curves), "counter")
    powers = [each.power and integrated(each.power) for each in gpus]
    curves = [one for one in powers if one is not None]
    if len(curves) == len(gpus):
        return Drawn(gpus, tuple(curves), "power")
    return "the GPUs' energy was seen less than twice, or their counter began anew"


def energy_metric(run: Recorded, found: Energy | str) -> Summary:
    """Joules per output token; its interval from stretches of equal time."""
    if isinstance(found, str):
        return Summary(missing={"": found})
    tokens = _tokens(run, found)
    if isinstance(tokens, str):
        return Summary(missing={"": tokens})
    return _per(found, tokens)


def _tokens(run: Recorded, found: Energy) -> Floats | str:
    events = output_tokens(run)
    if isinstance(events, str):
        return events
    tokens, _ = events.sums(found.start_ns, found.end_ns, BATCHES)
    return tokens if tokens.sum() else "no token arrived while the GPUs were seen"


def _per(found: Energy, amounts: Floats, invert: bool = False) -> Summary:
    """Joules per amount, or the other way round, over the stretches."""
    above, below = (amounts, found.joules) if invert else (found.joules, amounts)
    if not below.sum():
        return Summary(missing={"": "the GPUs were not seen to draw anything"})
    estimate, batches = ratio(above, below)
    if not found.fine:
        reason = f"fewer than {BATCHES} samples of the GPUs' energy in the window"
        return Summary(as_json(replace(estimate, low=None, high=None)), {"interval": reason})
    missing = {} if estimate.low is not None else {"interval": "too few stretches with tokens"}
    method = {"method": "batch_means", "samples": BATCHES, "batches": batches}
    return Summary(as_json(estimate, least=0.0), missing, method)


def energy_section(
    run: Recorded, gpus: GpuMetrics | None, found: Energy | str
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The `energy` part of results.json, and what is missing of it."""
    if isinstance(found, str) or gpus is None:
        return None, {"energy": found if isinstance(found, str) else NO_GPU_TELEMETRY}
    missing: dict[str, str] = {}
    tokens = _tokens(run, found)
    if isinstance(tokens, str):
        per_joule = Summary(missing={"": tokens})
    else:
        per_joule = _per(found, tokens, invert=True)
    power = _per(found, np.full(BATCHES, found.seconds / BATCHES))
    idle = idle_w(found.drawn)
    if isinstance(idle, str):
        missing["energy.idle_w"] = idle
    for key, summary in (("tokens_per_joule", per_joule), ("average_w", power)):
        for part, reason in summary.missing.items():
            missing[f"energy.{key}.{part}" if part else f"energy.{key}"] = reason
    section = {
        "source": gpus.source,
        "method": found.drawn.method,
        "scrapes": gpus.scrapes,
        "gaps": gpus.gaps,
        "start_s": found.start_ns / 1e9,
        "end_s": found.end_ns / 1e9,
        "joules": float(found.joules.sum()),
        "average_w": power.metric,
        "idle_w": None if isinstance(idle, str) else idle,
        "tokens_per_joule": per_joule.metric,
        "gpus": [_gpu_json(*each, found) for each in zip(*_pairs(found.drawn), strict=True)],
    }
    return section, missing


def _pairs(drawn: Drawn) -> tuple[tuple[Gpu, ...], tuple[Samples, ...]]:
    return drawn.gpus, drawn.curves


def _gpu_json(gpu: Gpu, curve: Samples, found: Energy) -> dict[str, Any]:
    edges = np.interp([found.start_ns, found.end_ns], curve.t_ns, curve.value)
    watts = float(np.diff(edges)[0]) / found.seconds
    return {"uuid": gpu.uuid, "index": gpu.index, "model": gpu.model, "average_w": watts}


def idle_w(drawn: Drawn) -> float | str:
    """Mean power before the start of load, of all GPUs; or why it was not seen."""
    start = max(float(one.t_ns[0]) for one in drawn.curves)
    last = min(float(one.t_ns[one.t_ns <= 0][-1]) if one.t_ns[0] <= 0 else start
               for one in drawn.curves)  # fmt: skip
    if last - start < MIN_IDLE_S * 1e9:
        return (
            "the GPUs were not seen for a second before the load; add "
            "`telemetry: {idle_s: 5}` to the profile (60 where an exporter looks every 30 s)"
        )
    drawn_j = np.diff(drawn.at(np.array([start, last])))
    return float(drawn_j[0]) / ((last - start) / 1e9)

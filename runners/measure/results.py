"""A run's results: every metric or the reason it is missing, and the verdict."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runners.measure.client import client_section, offered, send_lag, usage_check
from runners.measure.cost import UNIT_COSTS, bill, cost_metric, cost_section
from runners.measure.detect import find_window
from runners.measure.energy import ENERGY, energy_metric, energy_of, energy_section
from runners.measure.latency import (
    INTER_CHUNK,
    LATENCIES,
    Summary,
    inter_chunk_metric,
    latency_metric,
    window_requests,
)
from runners.measure.metrics import FACTS
from runners.measure.rates import GOODPUT_FRACTION, RATES, goodput_fraction, rate_metric
from runners.measure.records import INTERRUPTED, NOT_SENT, OK, Bools, Floats, Recorded, read_run
from runners.measure.server import (
    NO_METRICS,
    RATIOS,
    TokenCheck,
    counter_ratio,
    restart_of,
    server_section,
    span_of,
    token_check,
)
from runners.measure.statistics import CONFIDENCE
from runners.measure.validity import Evidence, verdict
from runners.measure.window import Window
from runners.rundir import RunDirectory
from runners.telemetry.engine_names import names_spoken
from runners.telemetry.gpu import read_gpus

SCHEMA_VERSION = 1
_STEADY = {None: "not looked for", True: "found", False: "not found"}


@dataclass
class Collected:
    """Metrics as they come in, and beside them what is missing and how each was made."""

    metrics: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    methods: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, summary: Summary) -> None:
        self.metrics[name] = summary.metric
        for key, reason in summary.missing.items():
            self.missing[f"{name}.{key}" if key else name] = reason
        if summary.method is not None:
            self.methods[name] = summary.method


def measured(run: RunDirectory) -> dict[str, Any]:
    """The content of results.json. Raises UsageError where there are no records to read."""
    recorded = read_run(run)
    seed = int(recorded.environment.get("seed") or 0)
    scrapes = recorded.server.instants if recorded.server else np.empty(0, np.int64)
    window = find_window(recorded, scrapes)
    chosen, failed = window_requests(recorded.requests, window)
    collected = Collected()
    nothing = _why_nothing(recorded)
    _latencies(collected, recorded, chosen, failed, nothing)
    _rates(collected, recorded, window, chosen, failed, nothing)
    _server_ratios(collected, recorded, window)
    sections = _cost_and_energy(collected, run, recorded, window)
    return _assembled(recorded, window, collected, chosen, seed) | sections


def _why_nothing(run: Recorded) -> str:
    """Why there may be no latency sample at all."""
    requests = run.requests
    measured = ~requests.warmup
    failures = _by_error(run)
    if not measured.any():
        return "no measured request was sent"
    if failures and not (requests.ok & measured).any():
        classes = ", ".join(f"{name}: {count}" for name, count in failures.items())
        return f"all {sum(failures.values())} requests failed ({classes})"
    return "no request that was sent in the window was answered"


def _latencies(
    collected: Collected, run: Recorded, chosen: Bools, failed: Bools, nothing: str
) -> None:
    for latency in LATENCIES:
        summary = latency_metric(latency, run.requests, chosen, failed, nothing)
        collected.add(latency.name, summary)
    if run.profile.workload.stream:
        gaps = inter_chunk_metric(run.chunks, run.requests, chosen, nothing)
    else:
        gaps = Summary(missing={"": "the answers were not streamed"})
    collected.add(INTER_CHUNK, gaps)


def _rates(
    collected: Collected,
    run: Recorded,
    window: Window | None,
    chosen: Bools,
    failed: Bools,
    nothing: str,
) -> None:
    for rate in RATES:
        if window is None or not chosen.any():
            collected.add(rate.name, Summary(missing={"": nothing}))
        elif window.length_s <= 0:
            collected.add(rate.name, Summary(missing={"": "the window has no length"}))
        else:
            collected.add(rate.name, rate_metric(rate, run, window))
    if chosen.any():
        collected.add(GOODPUT_FRACTION, goodput_fraction(run, chosen | failed))
    else:
        collected.add(GOODPUT_FRACTION, Summary(missing={"": nothing}))


def _server_ratios(collected: Collected, run: Recorded, window: Window | None) -> None:
    server = run.server
    names = names_spoken(server.series.keys()) if server else None
    span = span_of(server, window) if server and window else None
    for declared in RATIOS:
        if server is None:
            summary = Summary(missing={"": NO_METRICS})
        elif names is None:
            summary = Summary(missing={"": "the server's metric names are not known"})
        elif span is None:
            summary = Summary(missing={"": "fewer than two scrapes around the window"})
        else:
            summary = counter_ratio(declared, server, names, span)
        collected.add(declared.name, summary)


def _cost_and_energy(
    collected: Collected, directory: RunDirectory, run: Recorded, window: Window | None
) -> dict[str, Any]:
    """Metrics of both, the facts that cost needs, and the two sections."""
    billed = bill(run, window)
    for unit in UNIT_COSTS:
        collected.add(unit.name, cost_metric(unit, run.profile.cost, billed, collected.metrics))
    gpus = read_gpus(directory / "server.parquet")
    drawn = energy_of(run, gpus, window)
    collected.add(ENERGY, energy_metric(run, drawn))
    _facts(collected, run)
    cost, why_no_cost = cost_section(run, window, billed, collected.metrics)
    energy, why_no_energy = energy_section(run, gpus, drawn)
    collected.missing |= why_no_cost | why_no_energy
    return {"cost": cost, "energy": energy}


def _facts(collected: Collected, run: Recorded) -> None:
    engine = run.environment.get("engine") or {}
    facts = engine.get("facts") or {}
    for fact in FACTS:
        value = facts.get(fact.name)
        known = isinstance(value, int | float) and np.isfinite(value)
        collected.add(
            fact.name,
            Summary({"value": value}) if known else Summary(missing={"": fact.missing}),
        )


def _by_error(run: Recorded) -> dict[str, int]:
    """Measured requests per error class, the most frequent first."""
    requests = run.requests
    counts = {
        name: int((requests.where_outcome(name) & ~requests.warmup).sum())
        for name in requests.outcomes
        if name not in (OK, NOT_SENT)
    }
    found = [(name, count) for name, count in counts.items() if count]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))


def _assembled(
    run: Recorded, window: Window | None, collected: Collected, chosen: Bools, seed: int
) -> dict[str, Any]:
    evidence = _evidence(run, collected, chosen, window)
    server = server_section(run, window)
    if server is None:
        collected.missing["server"] = NO_METRICS if run.server is None else "there is no window"
    engine = run.environment.get("engine") or {}
    simulated = bool(run.environment.get("simulated"))
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "profile": run.profile.name,
        "target": run.environment.get("target") or run.profile.target,
        "engine": {"name": engine.get("name"), "version": engine.get("version")},
        "model": run.environment.get("model") or run.profile.model.name or run.profile.model.uri,
        "simulated": simulated,
        "interrupted": run.interrupted,
        "verdict": verdict(evidence),
        "window": _window_json(window),
        "metrics": collected.metrics,
        "requests": _requests_json(run, chosen),
        "client": client_section(run, evidence.offered, evidence.send_lag, evidence.usage),
        "server": server,
        "statistics": {
            "confidence": CONFIDENCE,
            "seed": seed,
            "percentile": "inverted_cdf",
            "methods": collected.methods,
        },
        "not_measured": collected.missing,
    }


def _evidence(
    run: Recorded, collected: Collected, chosen: Bools, window: Window | None
) -> Evidence:
    requests, check = run.requests, token_check(run)
    measured = ~requests.warmup
    by_error = _by_error(run)
    by_error.pop(INTERRUPTED, None)
    ttft = collected.metrics["ttft_ms"]
    median = ttft["p50"] if ttft else None
    hits = collected.metrics["prefix_cache_hit_rate"]
    return Evidence(
        run=run,
        samples=int(chosen.sum()),
        ok=int((requests.ok & measured).sum()),
        failed=int((requests.failed & measured).sum()),
        by_error=by_error,
        median_ttft_ms=median["value"] if median else None,
        offered=offered(run),
        send_lag=send_lag(run, window),
        usage=usage_check(run),
        tokens=check if isinstance(check, TokenCheck) else None,
        window=window,
        restart=restart_of(run),
        prefix_hits=hits["value"] if hits else None,
    )


def _requests_json(run: Recorded, chosen: Bools) -> dict[str, Any]:
    requests = run.requests
    measured = ~requests.warmup
    by_error = _by_error(run)
    return {
        "ok": int((requests.ok & measured).sum()),
        "failed": sum(by_error.values()),
        "in_window": int(chosen.sum()),
        "warmup": int(requests.warmup.sum()),
        "not_sent": int((requests.where_outcome(NOT_SENT) & measured).sum()),
        "capped": int((requests.capped & measured).sum()),
        "by_error": by_error,
        "prompt_tokens": _total(requests.prompt_tokens[requests.ok & measured]),
        "output_tokens": _total(requests.output_tokens[requests.ok & measured]),
    }


def _total(tokens: Floats) -> int | None:
    """Over all answers; None where one of them has no count, or there is none."""
    return int(tokens.sum()) if len(tokens) and np.isfinite(tokens).all() else None


def _window_json(window: Window | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        "start_s": window.start_ns / 1e9,
        "end_s": window.end_ns / 1e9,
        "method": window.method,
        "warmup_s": window.warmup_s,
        "snapped": window.snapped,
        "steady_state": _STEADY[window.steady],
        "reason": window.reason,
        "series": window.series or {},
    }

"""results.csv: one row, the same columns for every run."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from runners.measure.latency import ADJUSTED
from runners.measure.metrics import METRICS, STATISTICS, Metric

_SERVER = (
    "prompt_tokens",
    "generation_tokens",
    "cached_prompt_tokens",
    "preemptions",
    "drafts",
    "draft_tokens",
    "accepted_tokens",
    "prefix_cache_queries",
    "prefix_cache_hits",
    "ttft_mean_ms",
    "queue_time_mean_ms",
    "running_mean",
    "running_max",
    "waiting_mean",
    "waiting_max",
    "kv_cache_usage_mean",
    "kv_cache_usage_max",
)

_COST = ("per_hour", "cold_start", "idle_share")
_ENERGY = ("joules", "idle_w")


def csv_row(results: dict[str, Any]) -> str:
    """A header and one row; null is an empty cell.

    A statistic's column has its dotted name, its bounds are `<name>.low` and `<name>.high`.
    """
    cells = dict(_cells(results))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(cells)
    writer.writerow(["" if value is None else value for value in cells.values()])
    return text.getvalue()


def _cells(results: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("run_id", "profile", "target"):
        yield name, results[name]
    yield "engine", results["engine"]["name"]
    yield "engine_version", results["engine"]["version"]
    for name in ("model", "simulated"):
        yield name, results[name]
    yield "status", results["verdict"]["status"]
    yield "reasons", "; ".join(results["verdict"]["reasons"]) or None
    for name in ("start_s", "end_s", "method", "steady_state", "warmup_s"):
        yield f"window.{name}", (results["window"] or {}).get(name)
    for name in (
        "ok",
        "failed",
        "in_window",
        "warmup",
        "not_sent",
        "capped",
        "prompt_tokens",
        "output_tokens",
    ):
        yield f"requests.{name}", results["requests"][name]
    for metric in METRICS:
        yield from _metric_cells(metric, results["metrics"][metric.name])
    for name in _SERVER:
        yield f"server.{name}", (results["server"] or {}).get(name)
    for name in _COST:
        yield f"cost.{name}", (results["cost"] or {}).get(name)
    for name in _ENERGY:
        yield f"energy.{name}", (results["energy"] or {}).get(name)
    yield from _estimate_cells("energy.average_w", (results["energy"] or {}).get("average_w") or {})


def _metric_cells(metric: Metric, value: dict[str, Any] | None) -> Iterator[tuple[str, Any]]:
    known = value or {}
    if metric.shape == "fact":
        yield metric.name, known.get("value")
        return
    if metric.shape == "estimate":
        yield from _estimate_cells(metric.name, known)
    else:
        yield f"{metric.name}.count", known.get("count")
        for statistic in STATISTICS:
            yield from _estimate_cells(f"{metric.name}.{statistic}", known.get(statistic) or {})
        yield f"{metric.name}.max", known.get("max")
    for extra in metric.extras:
        name = f"{metric.name}.{extra}"
        if extra == ADJUSTED:
            yield from _estimate_cells(name, known.get(extra) or {})
        else:
            yield name, known.get(extra)


def _estimate_cells(name: str, estimate: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield name, estimate.get("value")
    yield f"{name}.low", estimate.get("low")
    yield f"{name}.high", estimate.get("high")

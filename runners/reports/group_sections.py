"""group.json as rows to show, for the console and for report.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runners.reports.wording import (
    DASH,
    Estimate,
    Term,
    estimate,
    interval_text,
    number,
    term,
    value_text,
)

HEADLINES = (
    "ttft_ms.mean",
    "ttft_ms.p50",
    "ttft_ms.p95",
    "ttft_ms.p99",
    "tpot_ms.mean",
    "tpot_ms.p50",
    "tpot_ms.p99",
    "e2e_latency_ms.mean",
    "e2e_latency_ms.p50",
    "e2e_latency_ms.p99",
    "request_throughput_req_s",
    "output_throughput_tok_s",
    "total_throughput_tok_s",
    "goodput_req_s",
    "goodput_fraction",
    "acceptance_rate",
    "mean_acceptance_length",
    "prefix_cache_hit_rate",
    "cost_per_million_output_tokens",
    "energy_j_per_output_token",
)
# Shown with a dash where they were not measured; the others are left out then.
_ALWAYS = ("ttft_ms.p50", "tpot_ms.p50", "output_throughput_tok_s")


@dataclass(frozen=True)
class MetricRow:
    """A figure over runs: mean with its t-interval, and how far the runs lie apart."""

    key: str
    label: str
    mean: str
    interval: str
    least: str
    most: str
    cv: str
    runs: str


@dataclass(frozen=True)
class RunRow:
    """A run of the group; figures are those of the run alone."""

    round: str
    run: str
    varied: str
    status: str
    reasons: Sequence[str]
    figures: Sequence[tuple[str, str]]


def named(key: str) -> Term:
    """The name of a dotted figure: `TTFT p95`, ms."""
    metric, _, statistic = key.partition(".")
    of = term(metric)
    return Term(f"{of.label} {statistic}".strip(), of.unit, of.scale)


def labelled(key: str) -> str:
    of = named(key)
    return f"{of.label}, {of.unit}" if of.unit else of.label


def metric_rows(summary: Mapping[str, Any]) -> list[MetricRow]:
    """The headline figures over runs, in their order; empty where the runs' loads differ."""
    metrics = summary.get("metrics") or {}
    shown = [key for key in HEADLINES if metrics.get(key) or (metrics and key in _ALWAYS)]
    return [_metric_row(key, metrics.get(key) or {}) for key in shown]


def _metric_row(key: str, stat: Mapping[str, Any]) -> MetricRow:
    scale = named(key).scale
    mean = Estimate(*(estimate(stat.get(name)).value for name in ("mean", "low", "high")))
    mean = mean.scaled(scale)
    ends = [estimate(stat.get(name)).scaled(scale).value for name in ("min", "max")]
    cv, text = estimate(stat.get("cv")).value, value_text(mean)
    decimals = len(text.partition(".")[2])
    return MetricRow(
        key=key,
        label=labelled(key),
        mean=text,
        interval=interval_text(mean),
        least=number(ends[0], decimals),
        most=number(ends[1], decimals),
        cv=DASH if cv is None else f"{100 * cv:.2g} %",
        runs=number(estimate(stat.get("runs")).value),
    )


def run_rows(
    summary: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], keys: Sequence[str]
) -> list[RunRow]:
    """One row per run that was begun. results: a run's results.json by its name."""
    rows = []
    for each in summary["runs"]:
        of = results.get(each["run"], {})
        cells = [stat_in(of, key).scaled(named(key).scale) for key in keys]
        status = each["status"] or DASH
        rows.append(
            RunRow(
                round=str(each["round"]),
                run=each["run"],
                varied=varied_text(each),
                status=status if each["state"] == "finished" else each["state"],
                reasons=each["reasons"],
                figures=[(value_text(cell), interval_text(cell)) for cell in cells],
            )
        )
    return rows


@dataclass(frozen=True)
class StepRow:
    """A step of --find-max. objectives: (pass | fail | undecided, what was found)."""

    load: str
    run: str
    status: str
    kept: bool
    mark: str
    objectives: Sequence[tuple[str, str]]


def step_rows(summary: Mapping[str, Any]) -> list[StepRow]:
    """The steps of --find-max by their load; empty for every other group."""
    if summary["kind"] != "find-max":
        return []
    told = summary["conclusion"]
    marks = {
        told.get("lowest_not_kept"): "lowest not kept",
        told.get("highest_kept"): "highest kept",
    }
    return [
        StepRow(
            load=f"{step['load']:g}",
            run=step["run"],
            status=step["status"],
            kept=step["kept"],
            mark=marks.get(step["load"], ""),
            objectives=[(each["outcome"], each["text"]) for each in step["objectives"]],
        )
        for step in sorted(told.get("steps") or (), key=lambda step: float(step["load"]))
    ]


def stat_in(results: Mapping[str, Any], key: str) -> Estimate:
    """A dotted figure of a run's results, as it is stored."""
    metric, _, statistic = key.partition(".")
    found = (results.get("metrics") or {}).get(metric) or {}
    return estimate(found.get(statistic) if statistic else found)


def varied_text(run: Mapping[str, Any]) -> str:
    """`concurrency 16`, with the side where there are several; the seed where nothing differs.

    Without sides the first key is the load of the step, and what follows goes with it.
    """
    side = str(run.get("side") or "")
    told = list(run["varied"].items())[: None if side else 1]
    varied = ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in told)
    return ", ".join(filter(None, [side, varied or f"seed {run['seed']}"]))


def _short(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


def left_out(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(round or server, why it was not run)."""
    refused = (summary["conclusion"].get("refused") or {}).items()
    failed = ((varied_text(each), each["reason"]) for each in summary.get("failures") or ())
    return [*((str(name), str(why)) for name, why in refused), *failed]


def verdict_text(summary: Mapping[str, Any]) -> tuple[str, str]:
    """(VALID | DEGRADED | INVALID | UNKNOWN, `3 runs valid, 1 degraded`)."""
    verdict = summary["verdict"]
    counts = [f"{count} {status}" for status, count in verdict["runs"].items() if count]
    return str(verdict["status"] or "unknown").upper(), ", ".join(counts) or "no run is finished"


def about_text(summary: Mapping[str, Any]) -> str:
    """How the rounds came about."""
    seeds = summary["seeds"]
    starts = {run["start"] for run in summary["runs"]}
    times = "one start" if len(starts) == 1 else f"{len(starts)} starts"
    return f"{times} of the server; seed {seeds['base']} + round - 1: {seeds['prompts']}"


def interval_legend(summary: Mapping[str, Any]) -> str:
    level = 100 * summary["statistics"]["confidence"]
    return f"±: {level:g} % interval of the mean over runs ({summary['statistics']['method']})"

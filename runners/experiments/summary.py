"""A group's results: means over runs with their intervals, the curve, the verdict, the table."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from runners.experiments.compare import compare
from runners.experiments.comparison import Comparison
from runners.experiments.group import Begun, Group, asked_json
from runners.experiments.rounds import (
    Finished,
    Results,
    Round,
    figure,
    metric_names,
    stat_of,
    why_missing,
)
from runners.experiments.sides import Side
from runners.experiments.sweep import Sweep
from runners.measure.statistics import CONFIDENCE, repeat_interval
from runners.measure.table import csv_row
from runners.rundir import RunDirectory

STATUSES = ("valid", "degraded", "invalid")
CURVE = (
    "output_throughput_tok_s",
    "request_throughput_req_s",
    "ttft_ms.p50",
    "ttft_ms.p95",
    "ttft_ms.p99",
    "tpot_ms.p50",
    "tpot_ms.p95",
    "tpot_ms.p99",
)


def write_summary(group: Group, state: str) -> dict[str, Any]:
    """Write group.json and results.csv from the runs that are there; the content of the former.

    state: running | done | interrupted | stopped | failed.
    """
    summary = summarised(group, state)
    group.directory.write_json("group.json", summary)
    group.directory.write_text("results.csv", table(group.finished(), _server_values(group)))
    return summary


def summarised(group: Group, state: str) -> dict[str, Any]:
    """The content of group.json. metrics is null where the rounds differ in their load."""
    finished = group.finished()
    conclusion = group.experiment.conclusion(group.loaded.profile, finished)
    repeated = not any(each.round.varied or each.round.side for each in finished)
    metrics, missing = over_runs(finished) if repeated else (None, {})
    return {
        **asked_json(group),
        "state": state,
        "runs": [_run_json(group, begun) for begun in group.rounds],
        "unfinished": group.unfinished,
        "failures": [_failure_json(each, reason) for each, reason in group.failures],
        "conclusion": {"text": conclusion.text, **conclusion.facts},
        "verdict": verdict_of_runs(finished),
        "simulated": any(each.results["simulated"] for each in finished),
        "statistics": {"confidence": CONFIDENCE, "method": "Student's t over runs"},
        "metrics": metrics,
        "curve": [_step(each) for each in finished if each.round.varied] or None,
        "comparison": _comparison(group),
        "not_measured": missing,
    }


def _comparison(group: Group) -> dict[str, Any] | None:
    """The sides against each other; null for a group without sides, or before each has a run."""
    experiment = group.experiment
    if not isinstance(experiment, Comparison):
        return None
    finished = group.finished()
    sides = [
        Side(
            name,
            tuple(each for each in finished if each.round.side == name),
            group.profile(name).profile.model_dump(mode="json"),
        )
        for name in experiment.sides
    ]
    if not all(side.runs for side in sides):
        return None
    return compare(sides, gates=experiment.gates, subject=experiment.subject)


def _run_json(group: Group, begun: Begun) -> dict[str, Any]:
    results = group.run(begun.run).read_json("results.json")
    verdict = results["verdict"] if results else {"status": None, "reasons": []}
    state = "unfinished"
    if results:
        state = "interrupted" if results.get("interrupted") else "finished"
    return {
        "round": begun.round.index + 1,
        "name": begun.round.name,
        "run": begun.run,
        "start": begun.start,
        "seed": begun.round.seed,
        "varied": begun.round.varied,
        "side": begun.round.side,
        "state": state,
        "status": verdict["status"],
        "reasons": verdict["reasons"],
    }


def _failure_json(coming: Round, reason: str) -> dict[str, Any]:
    return {
        "round": coming.index + 1,
        "name": coming.name,
        "seed": coming.seed,
        "varied": coming.varied,
        "side": coming.side,
        "reason": reason,
    }


def over_runs(finished: Sequence[Finished]) -> tuple[dict[str, Any], dict[str, str]]:
    """(metrics by dotted name, reasons for what is missing), over the runs that are not invalid.

    A metric: {"mean", "low", "high", "min", "max", "cv", "runs"}; low and high are Student's
    95 % t-interval of the mean over runs, cv the standard deviation of the runs over their mean.
    """
    valid = [each.results for each in finished if each.is_valid]
    metrics: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in metric_names():
        values = [value for each in valid if (value := figure(each, name)) is not None]
        metrics[name] = _spread(values) if values else None
        if not values:
            missing[name] = _why(name, valid, finished)
        elif len(values) == 1:
            missing[f"{name}.interval"] = "one valid run has no interval over runs"
    return metrics, missing


def _spread(values: list[float]) -> dict[str, Any]:
    mean, low, high = repeat_interval(values)
    cv = stdev(values) / abs(mean) if len(values) > 1 and mean else None
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "min": min(values),
        "max": max(values),
        "cv": cv,
        "runs": len(values),
    }


def _why(name: str, valid: Sequence[Results], finished: Sequence[Finished]) -> str:
    if valid:
        return why_missing(valid[0], name)
    return "every finished run is invalid" if finished else "no run is finished"


def verdict_of_runs(finished: Sequence[Finished]) -> dict[str, Any]:
    """{"status": the worst of the runs, "runs": {status: how many}, "reasons": [...]}.

    Reasons that differ only in their figures are one, the gravest runs' first. status is null
    without a finished run.
    """
    statuses = [each.results["verdict"]["status"] for each in finished]
    counts = {status: statuses.count(status) for status in STATUSES}
    worst = next((status for status in reversed(STATUSES) if counts[status]), None)
    found: dict[str, list[str]] = {}
    for status in reversed(STATUSES):
        for each in finished:
            if each.results["verdict"]["status"] == status:
                for reason in each.results["verdict"]["reasons"]:
                    found.setdefault(re.sub(r"\d[\d.,]*", "#", reason), []).append(reason)
    reasons = [_told(texts, len(finished)) for texts in found.values()]
    return {"status": worst, "runs": counts, "reasons": reasons}


def _told(texts: list[str], runs: int) -> str:
    if runs == 1:
        return texts[0]
    example = "" if len(set(texts)) == 1 else "e.g. "
    return f"{len(texts)} of {runs} runs: {example}{texts[0]}"


def _step(each: Finished) -> dict[str, Any]:
    key = next(iter(each.round.varied))
    stats = {name: dict(stat_of(each.results, name)) or None for name in CURVE}
    status = each.results["verdict"]["status"]
    load = {"key": key, "value": each.round.varied[key]}
    return {"round": each.round.index + 1, "run": each.run, **load, "status": status, **stats}


def _server_values(group: Group) -> dict[str | None, dict[str, Any]]:
    """By side: the settings of its server, for the sides of a sweep."""
    experiment = group.experiment
    if not isinstance(experiment, Sweep):
        return {}
    return {server.name: dict(server.values) for server in experiment.servers}


def table(
    finished: Sequence[Finished], servers: Mapping[str | None, Mapping[str, Any]] | None = None
) -> str:
    """results.csv: a row per finished run; round, seed and what varied, then a run's columns.

    servers: the settings of a sweep's sides, which become columns too.
    """
    rows: list[dict[str, Any]] = []
    for each in finished:
        header, row = csv.reader(io.StringIO(csv_row(each.results)))
        side = {"side": each.round.side} if each.round.side else {}
        seed = {"seed": each.round.seed}
        settings = (servers or {}).get(each.round.side, {})
        varied = {**settings, **each.round.varied}
        first = {"round": each.round.index + 1, **side, **seed, **varied}
        rows.append({**first, **dict(zip(header, row, strict=True))})
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row)) or ["round", "seed"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def is_complete(run: RunDirectory) -> bool:
    """Whether a finished run also has what is written after results.json."""
    return (run / "results.csv").exists() and (run / "report.html").exists()

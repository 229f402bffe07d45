"""report.html of a group: one file that opens offline, from group.json and its runs' results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from runners.errors import UsageError
from runners.reports.comparison_html import Told, tell
from runners.reports.group_plots import repeat_figures
from runners.reports.group_sections import (
    about_text,
    interval_legend,
    labelled,
    left_out,
    metric_rows,
    run_rows,
    stat_in,
    step_rows,
    verdict_text,
)
from runners.reports.load_plots import curve_figures
from runners.reports.page import render_page
from runners.reports.plots import Figure
from runners.reports.run_facts import read_facts, without_secrets
from runners.reports.sweep_plots import lines_of, sweep_figures, tradeoff_figure
from runners.rundir import RunDirectory

_COLUMNS = (
    "output_throughput_tok_s",
    "ttft_ms.p50",
    "ttft_ms.p95",
    "tpot_ms.p50",
    "goodput_fraction",
)


def write_group_report(group: RunDirectory) -> Path:
    """Write a group's report.html and return its path.

    Needs group.json (UsageError without it). Raises OutputError if it cannot be written.
    """
    summary = group.read_json("group.json")
    if not isinstance(summary, Mapping):
        raise UsageError(f"{group.path} has no group.json; name a group's directory")
    return group.write_text("report.html", _page(group, summary))


def _page(group: RunDirectory, summary: Mapping[str, Any]) -> str:
    results = {
        run["run"]: found
        for run in summary["runs"]
        if (found := RunDirectory(group / "runs" / run["run"]).read_json("results.json"))
    }
    columns = [key for key in _COLUMNS if _is_known(key, results.values())]
    finished = [(run, results[run["run"]]) for run in summary["runs"] if run["state"] == "finished"]
    told = _comparison(group, summary)
    figures = _figures(group, summary, finished, told)
    status, counts = verdict_text(summary)
    return render_page(
        "group.html.j2",
        [*figures, *(told.figures if told else ())],
        summary=summary,
        title=summary["profile"],
        facts=_about(group, summary),
        status=status,
        counts=counts,
        about=about_text(summary),
        legend=interval_legend(summary),
        shown=figures,
        metrics=metric_rows(summary),
        columns=[labelled(key) for key in columns],
        runs=run_rows(summary, results, columns),
        told=told,
        steps=step_rows(summary),
        left_out=left_out(summary),
        knee=(summary["conclusion"].get("knee") or {}).get("run"),
        profile=_profile(group),
    )


def _figures(
    group: RunDirectory,
    summary: Mapping[str, Any],
    finished: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    told: Told | None,
) -> list[Figure]:
    if summary["kind"] == "sweep":
        return sweep_figures(summary, finished)
    if summary["curve"]:
        key, lines = lines_of(summary, finished)
        slo = read_facts(group, {}).profile_data.get("slo")
        return [*curve_figures(summary, finished, slo), tradeoff_figure(lines, key)]
    return [] if told else repeat_figures(summary, finished)


def _comparison(group: RunDirectory, summary: Mapping[str, Any]) -> Told | None:
    comparison = summary.get("comparison")
    if not comparison:
        return None
    return tell(comparison, {side["name"]: group / "runs" for side in comparison["sides"]})


def _about(group: RunDirectory, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What served and what was asked, as the first run tells it; its load is the group's first."""
    run = RunDirectory(group / "runs" / summary["runs"][0]["run"]) if summary["runs"] else group
    facts = read_facts(run, run.read_json("results.json") or {})
    named = {
        "Model": facts.model,
        "Engine": facts.engine,
        "Target": facts.target,
        "First load" if summary["curve"] or summary["kind"] == "sweep" else "Load": facts.load,
        "Workload": facts.workload,
        "SLO": facts.slo,
    }
    return [(name, text) for name, text in named.items() if text]


def _is_known(key: str, results: Iterable[Mapping[str, Any]]) -> bool:
    return any(stat_in(of, key).value is not None for of in results)


def _profile(group: RunDirectory) -> str:
    """The profile that the rounds share; reports are passed on, so without credentials."""
    data = without_secrets(dict(read_facts(group, {}).profile_data))
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True) if data else ""

"""report.html: one file that opens offline, from results.json and the run's records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from runners.errors import UsageError
from runners.reports.lines import Line, line_of
from runners.reports.page import render_page
from runners.reports.plots import (
    Figure,
    distribution_figure,
    gap_histogram,
)
from runners.reports.run_facts import Facts, arguments_text, read_facts, without_secrets
from runners.reports.run_files import events_of, json_of, manifests_of
from runners.reports.scatter import scatter_figures
from runners.reports.sections import (
    COLUMNS,
    LatencyRow,
    confidence_text,
    latency_rows,
    metrics_of,
    request_counts,
    sections,
    unmeasured,
    verdict_of,
    window_text,
)
from runners.reports.series import (
    Requests,
    chunk_gaps_ms,
    read_chunks,
    read_requests,
    read_server,
)
from runners.reports.startup import cold_start_figure, startup_figure
from runners.reports.timeline import timeline_figure
from runners.reports.wording import DASH, interval_text, value_text
from runners.rundir import RunDirectory

# What one's own analysis reads.
_FILES = ("results.json", "results.csv", "requests.parquet", "chunks.parquet", "server.parquet")


@dataclass(frozen=True)
class ErrorRow:
    """One class of failed requests; `example` is what the first of them said."""

    name: str
    count: int
    share: str
    example: str


def write_report(run: RunDirectory) -> Path:
    """Write report.html and return its path.

    Needs results.json (UsageError without it); every other file of the run may be absent.
    Raises OutputError if the file cannot be written.
    """
    results = run.read_json("results.json")
    if not isinstance(results, Mapping):
        raise UsageError(f"{run.path} has no results.json; measure the run before its report")
    return run.write_text("report.html", _page(run, results))


def _page(run: RunDirectory, results: Mapping[str, Any]) -> str:
    facts = read_facts(run, results)
    window = results.get("window") or {}
    requests = read_requests(run, window)
    figures = _figures(run, results, facts, requests)
    status, reasons = verdict_of(results)
    return render_page(
        "report.html.j2",
        figures.values(),
        facts=facts,
        run_id=results.get("run_id") or run.run_id,
        about=_about(facts),
        simulated=bool(results.get("simulated")),
        interrupted=facts.interrupted or bool(results.get("interrupted")),
        status=status,
        reasons=reasons,
        window=window_text(results),
        window_reason=window.get("reason"),
        headlines=_headlines(results),
        shown=figures,
        columns=COLUMNS,
        rows=latency_rows(results),
        cell=lambda of: (value_text(of), interval_text(of)),
        sections=sections(results),
        counts=request_counts(results),
        confidence=confidence_text(results),
        errors=_errors(results, requests),
        unmeasured=unmeasured(results),
        events=events_of(run, facts.environment),
        manifests=manifests_of(run),
        files=[name for name in _FILES if (run / name).exists()],
        profile=_yaml(facts.profile_data),
        engine_arguments=arguments_text(facts.engine_arguments),
        environment=_yaml(facts.environment),
    )


def _about(facts: Facts) -> list[tuple[str, str]]:
    named = {
        "Model": facts.model,
        "Engine": facts.engine,
        "Target": facts.target,
        "Load": facts.load,
        "Workload": facts.workload,
        "SLO": facts.slo,
    }
    return [(name, text) for name, text in named.items() if text]


def _headlines(results: Mapping[str, Any]) -> list[Line]:
    """The six figures most people came for."""
    rows = {row.key: row for row in latency_rows(results)}
    shown = [
        _headline(rows[key], column)
        for key, column in (
            ("ttft_ms", "p50"),
            ("ttft_ms", "p99"),
            ("tpot_ms", "p50"),
            ("e2e_latency_ms", "p50"),
        )
    ]
    metrics = metrics_of(results)
    second = "goodput_req_s" if metrics.get("goodput_req_s") else "request_throughput_req_s"
    rates = [line_of(key, metrics.get(key)) for key in ("output_throughput_tok_s", second)]
    return shown + rates


def _headline(row: LatencyRow, column: str) -> Line:
    of = row.cells[column]
    label = f"{row.label} {column}"
    return Line(row.key, label, value_text(of), interval_text(of), row.unit)


def _figures(
    run: RunDirectory, results: Mapping[str, Any], facts: Facts, requests: Requests | None
) -> dict[str, Figure]:
    """Figures by name, in the order in which they are shown."""
    rows = {row.key: row for row in latency_rows(results)}
    slo = facts.profile_data.get("slo")
    slo = slo if isinstance(slo, Mapping) else {}
    chunks = read_chunks(run, requests)
    gaps = np.empty(0) if chunks is None else chunk_gaps_ms(chunks, requests)
    absent = (
        "The times of chunks were not kept in this run."
        if chunks is None
        else "No answer that was completed inside the window had two chunks."
    )
    lifecycle = json_of(run, "lifecycle.json") or {}
    events = events_of(run, facts.environment)
    figures = [
        _latency_figure("ttft_ms", "How long until the first token?", requests, rows, slo),
        _latency_figure(
            "e2e_latency_ms", "How long until the answer is whole?", requests, rows, slo
        ),
        gap_histogram(gaps, absent),
        startup_figure(lifecycle.get("phases") or [], lifecycle.get("failure")),
        cold_start_figure(json_of(run, "coldstarts.json")),
        timeline_figure(requests, chunks, read_server(run), results.get("window") or {}, events),
        *scatter_figures(requests),
    ]
    return {figure.name: figure for figure in figures if figure is not None}


def _latency_figure(
    key: str,
    title: str,
    requests: Requests | None,
    rows: Mapping[str, LatencyRow],
    slo: Mapping[str, Any],
) -> Figure:
    name = key.removesuffix("_ms").replace("_", "-")
    if requests is None:
        return Figure(name, title, "The run has no records of its requests.")
    end = (requests.first_s if key == "ttft_ms" else requests.last_s)[requests.measured]
    values = (end - requests.sent_s[requests.measured]) * 1e3
    late = None
    if key.replace("_ms", "_from_intended_ms") in rows:
        late = (end - requests.intended_s[requests.measured]) * 1e3
    failed = int(requests.failed.sum())
    return distribution_figure(name, title, values, late, rows[key], slo.get(key), failed)


def _errors(results: Mapping[str, Any], requests: Requests | None) -> list[ErrorRow]:
    counted = results.get("requests") or {}
    total = (counted.get("ok") or 0) + (counted.get("failed") or 0)
    examples: dict[str, str] = {}
    if requests is not None:
        for name, detail in zip(requests.error, requests.error_detail, strict=True):
            if name and detail:
                examples.setdefault(name, detail)
    return [
        ErrorRow(
            name, many, f"{100 * many / total:.1f} %" if total else DASH, examples.get(name, "")
        )
        for name, many in request_counts(results).by_error
    ]


def _yaml(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    return yaml.safe_dump(without_secrets(dict(data)), sort_keys=False, allow_unicode=True)

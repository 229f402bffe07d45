"""The result of a run on a terminal, and as a compact summary for machines."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runners.reports.run_facts import Facts, read_facts
from runners.reports.sections import (
    COLUMNS,
    Section,
    confidence_text,
    latency_rows,
    metrics_of,
    request_counts,
    sections,
    unmeasured,
    verdict_of,
    window_text,
)
from runners.reports.wording import DASH, Estimate, estimate, interval_text, value_text
from runners.rundir import RunDirectory

_COLOURS = {"VALID": "green", "DEGRADED": "yellow", "INVALID": "red"}
_HEADLINES = ("ttft_ms", "tpot_ms", "inter_chunk_latency_ms", "e2e_latency_ms")
_RATES = (
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
    "startup_s",
)


def print_results(results: Mapping[str, Any], run: RunDirectory, console: Console) -> None:
    """Print a run's result; what was not measured shows as an em dash, never as 0.

    Reads profile.yaml and environment.json of the run for the line that names it. The
    path of report.html is printed once that file exists.
    """
    facts = read_facts(run, results)
    for part in (
        _verdict(results, facts, run),
        _latency_table(results),
        _figures(sections(results), console.width),
        _requests(results),
        _unmeasured(results),
    ):
        if part is not None:
            console.print(part)
            console.print()
    _paths(run, console)


def _verdict(results: Mapping[str, Any], facts: Facts, run: RunDirectory) -> RenderableType:
    status, reasons = verdict_of(results)
    colour = _COLOURS.get(status, "magenta")
    first = Text.assemble((f" {status} ", f"bold reverse {colour}"), "  ")
    first.append(facts.profile or run.run_id, "bold")
    what = [part for part in (facts.model, facts.engine, facts.target) if part]
    first.append("".join(f" · {part}" for part in what))
    lines: list[RenderableType] = [first]
    if results.get("simulated"):
        lines.append(
            Text.assemble(
                (" SIMULATED ", "bold reverse magenta"),
                "  a simulator answered: these are not an engine's figures",
            )
        )
    if facts.interrupted or results.get("interrupted"):
        lines.append(Text.assemble((" INTERRUPTED ", "bold reverse yellow"), "  partial results"))
    lines.extend(_hanging("• ", reason, colour) for reason in reasons)
    about = "; ".join(part for part in (facts.load, window_text(results)) if part)
    lines.extend(Text(text, "dim") for text in (about, facts.slo and f"SLO: {facts.slo}") if text)
    return Group(*lines)


def _hanging(mark: str, text: str, colour: str) -> RenderableType:
    grid = Table.grid()
    grid.add_column(width=len(mark))
    grid.add_column()
    grid.add_row(Text(mark, colour), Text(text))
    return Padding(grid, (0, 0, 0, 1))


def _latency_table(results: Mapping[str, Any]) -> RenderableType:
    rows = latency_rows(results)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("Latency", no_wrap=True, min_width=15)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True, min_width=6)
    for row in rows:
        name, _, rest = row.label.partition(" from ")
        label = Text(f"{name}, {row.unit}" if row.unit else name)
        if rest:
            label.append(f"\nfrom {rest}", "dim")
        table.add_row(label, *(_cell(row.cells[column]) for column in COLUMNS))
    if all(cell.value is None for row in rows for cell in row.cells.values()):
        return table
    return Group(table, Text(confidence_text(results), "dim"))


def _cell(of: Estimate) -> Text:
    if of.value is None:
        return Text(DASH, "dim")
    cell, interval = Text(value_text(of)), interval_text(of)
    if interval:
        cell.append(f"\n{interval}", "dim")
    return cell


def _figures(parts: list[Section], width: int) -> RenderableType | None:
    """Sections one below the other; two columns of them where the terminal is wide."""
    if not parts:
        return None
    tables = [_section(part) for part in parts]
    if width < 110 or len(tables) < 2:
        return Group(*_spaced(tables))
    # Fill the shorter column next, so that both end at about the same line.
    left: list[RenderableType] = []
    right: list[RenderableType] = []
    heights = [0, 0]
    for part, table in zip(parts, tables, strict=True):
        side = 0 if heights[0] <= heights[1] else 1
        (left, right)[side].append(table)
        heights[side] += len(part.lines) + 2
    grid = Table.grid(padding=(0, 6, 0, 0))
    grid.add_row(Group(*_spaced(left)), Group(*_spaced(right)))
    return grid


def _spaced(tables: list[RenderableType]) -> list[RenderableType]:
    return [part for table in tables for part in (table, Text(""))][:-1]


def _section(part: Section) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(min_width=18, max_width=32)
    grid.add_column(justify="right", min_width=8, no_wrap=True)
    grid.add_column()
    grid.add_row(Text(part.title, "bold"), "", "")
    for line in part.lines:
        missing = line.value == DASH
        rest = Text("" if missing else line.unit)
        if line.interval:
            rest.append(f"  {line.interval}", "dim")
        if line.note and not missing:
            rest.append(f"  ({line.note})", "dim")
        grid.add_row(Text(line.label), Text(line.value, "dim" if missing else ""), rest)
    return grid


def _requests(results: Mapping[str, Any]) -> RenderableType:
    counts = request_counts(results)
    text = Text.assemble(("Requests", "bold"), f"  {counts.ok} ok, ")
    text.append(f"{counts.failed} failed", "red" if counts.by_error else "")
    if counts.by_error:
        text.append(": " + ", ".join(f"{name} {many}" for name, many in counts.by_error))
    if counts.notes:
        text.append("\n" + ", ".join(counts.notes), "dim")
    adjusted = [
        f"{row.label} {value_text(row.adjusted_p99)} {row.unit}"
        for row in latency_rows(results)
        if row.adjusted_p99.value is not None
    ]
    if counts.by_error and adjusted:
        text.append("\np99 with failures counted as infinite: " + ", ".join(adjusted), "dim")
    return text


def _unmeasured(results: Mapping[str, Any]) -> RenderableType | None:
    missing = unmeasured(results)
    if not missing:
        return None
    lines: list[RenderableType] = [Text("Not measured", "bold")]
    lines.extend(_hanging("- ", f"{', '.join(keys)}: {reason}", "dim") for keys, reason in missing)
    return Group(*lines)


def _paths(run: RunDirectory, console: Console) -> None:
    """Paths are never wrapped, so that they can be copied."""
    console.print(Text.assemble(("Run     ", "bold"), str(run.path)), soft_wrap=True)
    report = run / "report.html"
    if report.exists():
        console.print(Text.assemble(("Report  ", "bold"), str(report)), soft_wrap=True)


def _numbers(stat: Any) -> dict[str, float | None] | None:
    of = estimate(stat)
    return None if of.value is None else {"value": of.value, "low": of.low, "high": of.high}


def _distribution(stat: Any) -> dict[str, Any] | None:
    if not isinstance(stat, Mapping):
        return None
    return {name: _numbers(stat.get(name)) for name in ("mean", "p50", "p99")}


def summary(results: Mapping[str, Any], run: RunDirectory | None = None) -> dict[str, Any]:
    """The result in one small JSON object: keys are always there, null where unknown.

    metrics: per latency {mean, p50, p99}, else {value, low, high}; null: not measured.
    paths: null without `run`; report is null while report.html does not exist.
    """
    metrics, requests = metrics_of(results), results.get("requests") or {}
    verdict = results.get("verdict") or {}
    report = run / "report.html" if run is not None else None
    return {
        "schema_version": results.get("schema_version"),
        "run_id": results.get("run_id"),
        "verdict": verdict.get("status"),
        "reasons": verdict_of(results)[1],
        "simulated": bool(results.get("simulated")),
        "interrupted": bool(
            results.get("interrupted") or (run is not None and read_facts(run, results).interrupted)
        ),
        "window": results.get("window"),
        "metrics": {key: _distribution(metrics.get(key)) for key in _HEADLINES}
        | {key: _numbers(metrics.get(key)) for key in _RATES},
        "requests": {
            "ok": requests.get("ok"),
            "failed": requests.get("failed"),
            "by_error": requests.get("by_error") or {},
        },
        "paths": {
            "run": str(run.path) if run is not None else None,
            "results": str(run / "results.json") if run is not None else None,
            "report": str(report) if report is not None and report.exists() else None,
        },
    }

"""A group's result on a terminal: figures over runs, or the curve against load."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runners.reports.group_sections import (
    about_text,
    interval_legend,
    labelled,
    metric_rows,
    run_rows,
    verdict_text,
)
from runners.reports.wording import DASH
from runners.rundir import RunDirectory

_COLOURS = {"VALID": "green", "DEGRADED": "yellow", "INVALID": "red"}
_CURVE = ("output_throughput_tok_s", "ttft_ms.p50", "ttft_ms.p95", "tpot_ms.p50")
_RUNS = ("output_throughput_tok_s", "ttft_ms.p50", "tpot_ms.p50")
# Narrower terminals show the runs' figures without their own intervals.
_WIDE = 110


def print_group(summary: Mapping[str, Any], group: RunDirectory, console: Console) -> None:
    """Print a group's summary (the content of group.json) and where it is."""
    for part in (_head(summary), _metrics(summary), _runs(summary, group, console.width)):
        if part is not None:
            console.print(part)
            console.print()
    for name, path in (("Group   ", group.path), ("Report  ", group / "report.html")):
        if path.exists():
            console.print(Text.assemble((name, "bold"), str(path)), soft_wrap=True)


def _head(summary: Mapping[str, Any]) -> RenderableType:
    status, counts = verdict_text(summary)
    colour = _COLOURS.get(status, "magenta")
    first = Text.assemble((f" {status} ", f"bold reverse {colour}"), "  ")
    first.append(str(summary["profile"]), "bold")
    first.append(f" · {counts}")
    lines: list[RenderableType] = [first]
    if summary["simulated"]:
        lines.append(
            Text.assemble(
                (" SIMULATED ", "bold reverse magenta"),
                "  a simulator answered: these are not an engine's figures",
            )
        )
    if summary["state"] != "done":
        lines.append(Text.assemble((f" {summary['state'].upper()} ", "bold reverse yellow")))
    for reason in summary["verdict"]["reasons"]:
        grid = Table.grid()
        grid.add_row(Text(" • ", colour), Text(reason))
        lines.append(grid)
    lines.append(Text(summary["conclusion"]["text"], "bold"))
    lines.append(Text(about_text(summary), "dim"))
    return Group(*lines)


def _metrics(summary: Mapping[str, Any]) -> RenderableType | None:
    rows = metric_rows(summary)
    if not rows:
        return None
    table = _table("Over runs", "mean", "", "min", "max", "CV", "runs")
    for row in rows:
        spread = (row.least, row.most, row.cv, row.runs)
        table.add_row(row.label, _cell(row.mean), Text(row.interval, "dim"), *map(_cell, spread))
    return Group(table, Text(interval_legend(summary), "dim"))


def _runs(summary: Mapping[str, Any], group: RunDirectory, width: int) -> RenderableType | None:
    """A line per run; where the load differs, this is the curve."""
    names = [run["run"] for run in summary["runs"]]
    if not names:
        return None
    keys = _CURVE if summary["curve"] else _RUNS
    results = {
        name: RunDirectory(group / "runs" / name).read_json("results.json") or {} for name in names
    }
    knee = (summary["conclusion"].get("knee") or {}).get("run")
    table = _table("Run", "", *map(labelled, keys), "verdict")
    for row in run_rows(summary, results, keys):
        cells = [_figure(text, around if width >= _WIDE else "") for text, around in row.figures]
        marked = f"{row.varied}  ← knee" if row.run == knee else row.varied
        colour = _COLOURS.get(row.status.upper(), "yellow")
        table.add_row(row.round, marked, *cells, Text(row.status, colour))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for index, column in enumerate(columns):
        side = index == 0 or column in ("", "verdict")
        table.add_column(column, justify="left" if side else "right", no_wrap=column == "")
    return table


def _cell(text: str) -> Text:
    return Text(text, "dim" if text == DASH else "")


def _figure(value: str, interval: str) -> Text:
    cell = _cell(value)
    if interval:
        cell.append(f" {interval}", "dim")
    return cell

"""A comparison on a terminal: the verdicts first, then the figures and the gates."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runners.reports.wording import DASH
from runners.rundir import RunDirectory

_COLOURS = {
    "better": "green",
    "worse": "red",
    "no difference shown": "dim",
    "not comparable": "yellow",
    "pass": "green",
    "fail": "red",
    "undecided": "yellow",
}


def print_comparison(
    comparison: Mapping[str, Any], group: RunDirectory | None, console: Console
) -> None:
    """Print a comparison (the content of comparison.json) and where it is."""
    if comparison["simulated"]:
        mark = (" SIMULATED ", "bold reverse magenta")
        console.print(
            Text.assemble(mark, "  a simulator answered: these are not an engine's figures")
        )
    for pair in comparison["comparisons"]:
        _print_pair(pair, console)
    if group is not None:
        name = "Group   " if (group / "group.json").exists() else "Written "
        console.print(Text.assemble((name, "bold"), str(group.path)), soft_wrap=True)
        report = group / "report.html"
        if report.exists():
            console.print(Text.assemble(("Report  ", "bold"), str(report)), soft_wrap=True)


def _print_pair(pair: Mapping[str, Any], console: Console) -> None:
    title = Text.assemble((pair["side"], "bold"), " against ", (pair["baseline"], "bold"))
    title.append(f" · {pair['rounds']} paired round{'s' * (pair['rounds'] != 1)}")
    console.print(title)
    for text in pair["obstacles"]:
        console.print(Text(f" • not comparable: {text}", "yellow"))
    for text in pair["remarks"]:
        console.print(Text(f" • {text}", "yellow"))
    for key, (before, after) in list(pair["differs"].items())[:12]:
        console.print(Text(f" • {key}: {before!r} → {after!r}", "dim"))
    if pair["metrics"]:
        console.print(_table(pair))
    for gate in pair["gates"]:
        colour = _COLOURS[gate["outcome"]]
        console.print(Text.assemble((gate["outcome"], f"bold {colour}"), f"  {gate['text']}"))
    console.print()


def _table(pair: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    for name in (pair["baseline"], pair["side"]):
        table.add_column(name, justify="right", overflow="fold")
    for name in ("change", "95 % interval, %", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name, found in pair["metrics"].items():
        if "value" not in found:
            continue
        ratio = found["ratio"]
        change = f"{100 * (ratio['value'] - 1):+.1f} %" if ratio else DASH
        interval = DASH
        if ratio and ratio["low"] is not None:
            interval = f"{100 * (ratio['low'] - 1):+.1f} … {100 * (ratio['high'] - 1):+.1f}"
        p = DASH if found["p_holm"] is None else f"{found['p_holm']:.3f}"
        said = Text(found["verdict"], _COLOURS[found["verdict"]])
        table.add_row(
            name, f"{found['baseline']:.4g}", f"{found['value']:.4g}", change, interval, p, said
        )
    return table

"""Figures of a sweep: every cell, a line for each setting of what is not along the axis."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from runners.reports.group_sections import labelled, named, stat_in
from runners.reports.load_plots import Runs, dots_of, figure_name
from runners.reports.plots import INK, Figure, axis, layout, titled
from runners.reports.wording import Estimate, value_text

OVER_CELLS = (
    ("output_throughput_tok_s", "Which setting gives most tokens?"),
    ("ttft_ms.p50", "What do they do to the first token?"),
    ("ttft_ms.p95", "And for the slowest of twenty?"),
    ("tpot_ms.p50", "What do they do to the tokens after it?"),
)
THROUGHPUT = "output_throughput_tok_s"
# The first of them that was measured.
LATENCIES = ("ttft_ms.p95", "ttft_ms.p50")
_COLOURS = 6


@dataclass(frozen=True)
class Line:
    """Runs that differ only in what is along the axis. points: (its value, results.json)."""

    name: str
    colour: str
    points: Sequence[tuple[Any, Mapping[str, Any]]]


def sweep_figures(summary: Mapping[str, Any], runs: Runs) -> list[Figure]:
    """runs: (entry of group.json, results.json) of every finished run."""
    key, lines = lines_of(summary, runs)
    over = [_over_cells(metric, title, key, lines) for metric, title in OVER_CELLS]
    return [*over, tradeoff_figure(lines, key)]


def lines_of(summary: Mapping[str, Any], runs: Runs) -> tuple[str, list[Line]]:
    """(the key along the axis, a line for each combination of all others)."""
    servers = {each["name"]: each["values"] for each in summary["settings"].get("servers", ())}
    # A step's load comes first; what follows goes with it.
    most = None if servers else 1
    cells = [
        ({**servers.get(run.get("side"), {}), **dict(list(run["varied"].items())[:most])}, results)
        for run, results in runs
    ]
    key = _along(summary, [settings for settings, _ in cells])
    found: dict[str, list[tuple[Any, Mapping[str, Any]]]] = {}
    for settings, results in cells:
        rest = {name: value for name, value in settings.items() if name != key}
        text = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in rest.items())
        found.setdefault(text, []).append((settings.get(key), results))
    return key, [
        Line(name, f"var(--side{(place + 1) % _COLOURS})", points)
        for place, (name, points) in enumerate(found.items())
    ]


def _along(summary: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """A key of the load before one of the server, numbers before names."""
    loads = dict.fromkeys(key for load in summary["settings"].get("loads", ()) for key in load)
    keys = list(dict.fromkeys([*loads, *(key for cell in cells for key in cell)]))
    numeric = [key for key in keys if all(_is_number(cell.get(key)) for cell in cells)]
    varied = [key for key in numeric if len({cell.get(key) for cell in cells}) > 1]
    return next(iter([*varied, *keys]), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _over_cells(metric: str, title: str, key: str, lines: Sequence[Line]) -> Figure:
    scale = named(metric).scale
    name = f"cells-{figure_name(metric)}"
    traces: list[dict[str, Any]] = []
    said = []
    for line in lines:
        points = [
            (_placed(at), of)
            for at, results in line.points
            if (of := stat_in(results, metric).scaled(scale)).value is not None
        ]
        if points:
            traces += _line(line, points)
            said.append(f"{line.name} {', '.join(f'{at}: {value_text(of)}' for at, of in points)}")
    if not traces:
        return Figure(name, title, f"{labelled(metric)}: measured in no cell.")
    x = axis(title=titled(html.escape(key.removeprefix("load."))), showgrid=False)
    places = list(dict.fromkeys(_placed(at) for line in lines for at, _ in line.points))
    if all(_is_number(place) for place in places):
        x |= {"tickvals": places} if len(places) < 9 else {}
    else:
        x["type"] = "category"
    y = axis(title=titled(labelled(metric)), rangemode="tozero")
    plot = {"data": traces, "layout": layout(340, xaxis=x, yaxis=y)}
    caption = "Dots: runs with their own intervals."
    summary = f"{labelled(metric)}: {'; '.join(said)}"
    return Figure(name, title, caption, summary, plot, 340, _key(lines))


def _key(lines: Sequence[Line]) -> list[tuple[str, str]]:
    return [(line.name, line.colour) for line in lines if line.name]


def _placed(at: Any) -> Any:
    return at if _is_number(at) else html.escape("not set" if at is None else str(at))


def _line(line: Line, points: Sequence[tuple[Any, Estimate]]) -> list[dict[str, Any]]:
    """Every run as a dot; the line goes through the means of the cells."""
    dots = dots_of([at for at, _ in points], [of for _, of in points], line.colour)
    name = html.escape(line.name)
    cells: dict[Any, list[float]] = {}
    for at, of in points:
        cells.setdefault(at, []).append(of.value or 0.0)
    order = sorted(cells) if all(_is_number(at) for at in cells) else list(cells)
    through = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": order,
        "y": [round(fmean(cells[at]), 4) for at in order],
        "line": {"color": line.colour, "width": 2},
        "hoverinfo": "skip",
    }
    return [through, dots | {"name": name, "showlegend": False}]


def tradeoff_figure(lines: Sequence[Line], key: str) -> Figure:
    """Latency against throughput, a point per run in order of what is along the axis."""
    name, title = "tradeoff", "What does throughput cost in latency?"
    walks: list[tuple[Line, list[tuple[Any, float, float]]]] = []
    latency = LATENCIES[0]
    for latency in LATENCIES:
        walks = [(line, found) for line in lines if (found := _both(line, latency))]
        if walks:
            break
    if not walks:
        return Figure(name, title, f"{labelled(latency)} and {labelled(THROUGHPUT)}: in no run.")
    traces = [_walk(line, points) for line, points in walks]
    said = [f"{x:.0f} tok/s {y:.0f} ms" for _, points in walks for _, x, y in points]
    x = axis(title=titled(labelled(THROUGHPUT)), rangemode="tozero")
    y = axis(title=titled(labelled(latency)), rangemode="tozero")
    plot = {"data": traces, "layout": layout(340, xaxis=x, yaxis=y)}
    caption = f"A point per run, labelled with {key.removeprefix('load.')}."
    return Figure(name, title, caption, ", ".join(said), plot, 340, _key(lines))


def _both(line: Line, latency: str) -> list[tuple[Any, float, float]]:
    """(its place along the axis, throughput, latency) of the runs that have both."""
    found = [
        (at, across.value, up.value)
        for at, results in line.points
        if (across := stat_in(results, THROUGHPUT)).value is not None
        and (up := stat_in(results, latency)).value is not None
    ]
    numeric = all(_is_number(at) for at, _, _ in found)
    return sorted(found, key=lambda point: point[0]) if numeric else found


def _walk(line: Line, points: Sequence[tuple[Any, float, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "name": html.escape(line.name),
        "x": [round(x, 3) for _, x, _ in points],
        "y": [round(y, 3) for _, _, y in points],
        "text": [f"{at:g}" if _is_number(at) else str(_placed(at)) for at, _, _ in points],
        "textposition": "top left",
        "textfont": {"color": INK, "size": 11},
        "cliponaxis": False,
        "line": {"color": line.colour, "width": 1.5},
        "marker": {"color": line.colour, "size": 7},
        "hovertemplate": "%{text}: %{x:.4~g} tok/s, %{y:.4~g} ms<extra></extra>",
    }

"""Figures of a comparison: ratios with their intervals, and the rounds side by side."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from runners.reports.comparison_data import ReadSide
from runners.reports.comparison_sections import ARROWS, percent
from runners.reports.group_sections import labelled, named, stat_in
from runners.reports.plots import BAD, INK, MUTED, Figure, axis, layout, shortened, titled
from runners.reports.wording import Estimate, value_text

_TONES = {"better": "var(--good)", "worse": BAD, "no difference shown": MUTED}
_TICKS = (0.1, 0.2, 0.33, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
PAIRED = (
    "ttft_ms.p50",
    "ttft_ms.p95",
    "tpot_ms.mean",
    "e2e_latency_ms.p50",
    "output_throughput_tok_s",
    "goodput_req_s",
)


def forest_figure(pair: Mapping[str, Any], name: str) -> Figure:
    """A row per figure: the ratio to the baseline with its interval, coloured by the verdict."""
    title = f"How far is {pair['side']} from {pair['baseline']}?"
    rows = [(key, found) for key, found in pair["metrics"].items() if found.get("ratio")]
    if not rows:
        return Figure(name, title, "No figure has a ratio.")
    reach = _reach([found["ratio"] for _, found in rows])
    traces = [_ratio(place, key, found, reach) for place, (key, found) in enumerate(rows)]
    names = [f"{labelled(key).partition(',')[0]} {ARROWS[found['better']]}" for key, found in rows]
    ticks = _ticks(reach)
    x = axis(
        title=titled(f"change against {html.escape(shortened(pair['baseline'], 40))}"),
        range=[-reach, reach],
        tickvals=[round(math.log(tick), 5) for tick in ticks],
        ticktext=[f"{100 * (tick - 1):+.3g} %" if tick != 1 else "0" for tick in ticks],
    )
    y = axis(tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.4, -0.6])
    y |= {"showgrid": False, "tickfont": {"color": INK, "size": 12}}
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    shapes = [zero | {"line": {"color": INK, "width": 1}}, *_gate_marks(pair, rows, reach)]
    height = 90 + 30 * len(rows)
    caption = "Ratios with 95 % intervals; ↓ lower is better, ↑ higher is better."
    caption += " Dashed: gates." if len(shapes) > 1 else ""
    said = "; ".join(
        f"{labelled(key)} {percent(found['ratio']['value'])}, {found['verdict']}"
        for key, found in rows
    )
    plot = {"data": traces, "layout": layout(height, xaxis=x, yaxis=y, shapes=shapes)}
    return Figure(name, title, caption, said, plot, height)


def _reach(ratios: Sequence[Mapping[str, float]]) -> float:
    """Half the axis, as a logarithm: all intervals, unless one is far wider than the points."""
    points = max(abs(math.log(ratio["value"])) for ratio in ratios)
    ends = [abs(math.log(r[end])) for r in ratios for end in ("low", "high") if r[end]]
    return min(max([points, *ends]) * 1.1 + 0.002, max(4 * points, math.log(1.5)))


def _ticks(reach: float) -> list[float]:
    below = [tick for tick in _TICKS if -math.log(tick) <= reach]
    apart: list[float] = []
    for tick in [*reversed(below)]:
        if not apart or math.log(apart[-1] / tick) > reach / 4.5:
            apart.append(tick)
    inverse = [round(1 + (1 - tick), 3) if tick >= 0.7 else round(1 / tick, 2) for tick in apart]
    return sorted({*apart, *(tick for tick in inverse if math.log(tick) <= reach)})


def _ratio(place: int, key: str, found: Mapping[str, Any], reach: float) -> dict[str, Any]:
    ratio = found["ratio"]
    colour = _TONES.get(found["verdict"], "var(--fair)")
    ends = [ratio["value"] if ratio[end] is None else ratio[end] for end in ("low", "high")]
    ends = [max(-2 * reach, min(2 * reach, math.log(end))) for end in ends]
    told = f"{labelled(key)}: {percent(ratio['value'])}"
    if ratio["low"] is not None:
        told += f" ({percent(ratio['low'])} … {percent(ratio['high'])})"
    middle = math.log(ratio["value"])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [round(value, 5) for value in (ends[0], middle, ends[1])],
        "y": [place] * 3,
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": [1, 9, 1], "opacity": 1},
        "hovertemplate": f"{html.escape(told)}<br>{found['verdict']}<extra></extra>",
    }


def _gate_marks(
    pair: Mapping[str, Any], rows: Sequence[tuple[str, Any]], reach: float
) -> list[dict[str, Any]]:
    places = {key: place for place, (key, _) in enumerate(rows)}
    found = []
    for gate in pair["gates"]:
        place = places.get(gate["metric"])
        if place is not None and abs(at := math.log(gate["limit"])) < reach:
            line = {"color": BAD, "width": 2, "dash": "dot"}
            span = {"y0": place - 0.42, "y1": place + 0.42}
            found.append({"type": "line", "x0": at, "x1": at, "line": line, **span})
    return found


def paired_figures(sides: Sequence[ReadSide]) -> list[Figure]:
    """Every run as a dot over its side; runs of one round are joined."""
    drawn = (_paired(key, sides) for key in PAIRED)
    return [figure for figure in drawn if figure is not None]


def _paired(key: str, sides: Sequence[ReadSide]) -> Figure | None:
    scale = named(key).scale
    found = {
        (place, each.seed, each.run.run_id): of.scaled(scale)
        for place, side in enumerate(sides)
        for each in side.runs
        if (of := stat_in(each.results, key)).value is not None
    }
    if len({place for place, _, _ in found}) < 2:
        return None
    seeds = dict.fromkeys(seed for _, seed, _ in found if seed is not None)
    traces = [_round_line(seed, found) for seed in seeds]
    traces += [_side_dots(place, side, found) for place, side in enumerate(sides)]
    names = [html.escape(shortened(side.name)) for side in sides]
    x = axis(tickvals=list(range(len(sides))), ticktext=names, range=[-0.5, len(sides) - 0.5])
    x |= {"showgrid": False, "tickfont": {"color": INK, "size": 12}}
    y = axis(title=titled(labelled(key)))
    name = "rounds-" + key.replace("_", "-").replace(".", "-")
    plot = {"data": traces, "layout": layout(260, xaxis=x, yaxis=y)}
    said = ", ".join(f"{sides[place].name} {value_text(of)}" for (place, _, _), of in found.items())
    return Figure(name, labelled(key).partition(",")[0], "", f"{labelled(key)}: {said}", plot, 260)


Found = Mapping[tuple[int, int | None, str], Estimate]


def _round_line(seed: int, found: Found) -> dict[str, Any]:
    joined = [(place, of) for (place, of_seed, _), of in found.items() if of_seed == seed]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [place for place, _ in joined],
        "y": [round(of.value or 0.0, 4) for _, of in joined],
        "line": {"color": "var(--rule)", "width": 1.5},
        "hoverinfo": "skip",
    }


def _side_dots(place: int, side: ReadSide, found: Found) -> dict[str, Any]:
    mine = [(seed, of) for (at, seed, _), of in found.items() if at == place]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place] * len(mine),
        "y": [round(of.value or 0.0, 4) for _, of in mine],
        "text": [f"seed {seed}" for seed, _ in mine],
        "marker": {"color": side.colour, "size": 9},
        "hovertemplate": html.escape(side.name) + ", %{text}: %{y:.4~g}<extra></extra>",
    }

"""Figures against load: throughput and latencies of each step, the knee and the limits marked."""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from runners.reports.group_sections import labelled, named, stat_in
from runners.reports.plots import ACCENT, BAD, INK, MUTED, Figure, axis, layout, titled
from runners.reports.wording import Estimate, number, value_text

AGAINST_LOAD = (
    (("ttft_ms.p50", "ttft_ms.p95"), "What does load do to the first token?"),
    (("tpot_ms.p50", "tpot_ms.p95"), "What does load do to the tokens after it?"),
    (("output_throughput_tok_s",), "When does more load stop to give more?"),
    (("goodput_fraction",), "How many requests keep their objectives?"),
)
# Ordinary axes squeeze what spans more than this.
_WIDE = 20.0
_MOST_TICKS = 9
# Loads closer together than this need no logarithmic axis.
_NARROW = 6.0
Runs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
Points = list[tuple[Mapping[str, Any], Estimate]]


def curve_figures(
    summary: Mapping[str, Any], runs: Runs, slo: Mapping[str, Any] | None = None
) -> list[Figure]:
    """Latencies and throughput against the load of each step.

    runs: (entry of group.json, results.json) of every finished run. slo: of the profile; its
    limits of single requests are drawn where the search was for them.
    """
    drawn = [_against_load(keys, title, summary, runs, slo or {}) for keys, title in AGAINST_LOAD]
    return [figure for figure in drawn if figure.plot or figure.name != "goodput-fraction"]


def points_of(key: str, runs: Runs) -> Points:
    """The runs that have a figure, with it in the unit that is shown."""
    scale = named(key).scale
    found = [(run, stat_in(results, key).scaled(scale)) for run, results in runs]
    return [(run, stat) for run, stat in found if stat.value is not None]


def figure_name(key: str) -> str:
    return key.replace("_", "-").replace(".", "-")


def _against_load(
    keys: Sequence[str],
    title: str,
    summary: Mapping[str, Any],
    runs: Runs,
    slo: Mapping[str, Any],
) -> Figure:
    name = figure_name(keys[0])
    lines = [sorted(points_of(key, runs), key=_load_of) for key in keys]
    if not lines[0]:
        return Figure(name, title, f"{labelled(keys[0])}: measured in no step.")
    traces = [
        _line(points, key, colour)
        for points, key, colour in zip(lines, keys, (ACCENT, MUTED), strict=False)
    ]
    shapes, notes, words = _marks(summary)
    limits = _limits(keys, summary, slo)
    shapes += [_limit_line(limit) for limit, _ in limits]
    values = [of.value or 0.0 for points in lines for _, of in points]
    log = _is_wide(values)
    notes += [_limit_note(limit, text, log=log) for limit, text in limits]
    by = "requests in flight" if "load.concurrency" in lines[0][0][0]["varied"] else "arrivals/s"
    x = _load_axis(by, sorted({_load_of(point) for points in lines for point in points}))
    if x.get("type") == "log":
        notes = [_on_log(note) for note in notes]
    y = axis(title=titled(labelled(keys[0]).replace(" p50", "")))
    y |= (
        {"type": "log", **round_ticks(min(values), max(values))} if log else {"rangemode": "tozero"}
    )
    if len(keys) > 1:
        words.insert(0, f"blue: {_statistic(keys[0])}, grey: {_statistic(keys[1])}")
    said = ", ".join(f"{_load_of(point):g}: {value_text(point[1])}" for point in lines[0])
    margin = {"l": 48, "r": 16, "t": 34, "b": 44}
    more = {"shapes": shapes, "annotations": notes, "margin": margin}
    plot = {"data": traces, "layout": layout(340, xaxis=x, yaxis=y, **more)}
    text = "; ".join(words)
    caption = f"{text[:1].upper()}{text[1:]}." if text else ""
    return Figure(name, title, caption, f"{labelled(keys[0])} at {said}", plot, 340)


def _statistic(key: str) -> str:
    return key.rpartition(".")[2]


def _load_of(point: tuple[Mapping[str, Any], Any]) -> float:
    return float(next(iter(point[0]["varied"].values())))


def _is_wide(values: Sequence[float]) -> bool:
    known = [value for value in values if value > 0]
    return len(known) == len(values) and max(known) > _WIDE * min(known)


def _load_axis(title: str, steps: Sequence[float]) -> dict[str, Any]:
    """Loads double, so a logarithmic axis; its ticks are the steps while there is room."""
    found = axis(title=titled(title), type="log")
    apart = all(high / low > 1.15 for low, high in pairwise(steps))
    if apart and len(steps) <= _MOST_TICKS:
        return found | {"tickvals": list(steps), "ticktext": [f"{step:g}" for step in steps]}
    if steps[-1] < _NARROW * steps[0]:
        return axis(title=titled(title))
    return found | round_ticks(steps[0], steps[-1])


def round_ticks(low: float, high: float) -> dict[str, Any]:
    """1, 2, 5, 10 … for a logarithmic axis; plotly's own are too many or none."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [each * 10.0**power for power in decades for each in (1, 2, 5)]
    shown = [tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]
    return {"tickvals": shown, "ticktext": [f"{tick:,g}" for tick in shown]}


def _line(points: Points, key: str, colour: str) -> dict[str, Any]:
    dots = dots_of([_load_of(point) for point in points], [of for _, of in points], colour)
    hover = f"%{{x:g}}: {html.escape(_statistic(key))} %{{y:.4~g}}<extra></extra>"
    line = {"color": colour, "width": 2}
    return dots | {"mode": "lines+markers", "line": line, "hovertemplate": hover}


def _marks(summary: Mapping[str, Any]) -> tuple[list[Any], list[Any], list[str]]:
    """(lines, their names, words for the caption) of what the search found."""
    told = summary["conclusion"]
    if summary["kind"] == "find-max":
        kept, broken = told.get("highest_kept"), told.get("lowest_not_kept")
        found = [(kept, INK, "right", "kept"), (broken, BAD, "left", "not kept")]
        words = [
            f"{word} {load:g}"
            for word, load in (("highest load kept", kept), ("lowest not kept", broken))
            if load is not None
        ]
    else:
        knee = (told.get("knee") or {}).get("value")
        found = [(knee, INK, "right", "knee")]
        words = [f"the knee is at {knee:g}"] if knee is not None else []
    known = [each for each in found if each[0] is not None]
    shapes = [_load_line(load, colour) for load, colour, _, _ in known]
    notes = [_load_note(load, colour, side, text) for load, colour, side, text in known]
    return shapes, notes, words


def _load_line(load: float, colour: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1.2, "dash": "dash"}
    up = {"yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "x0": load, "x1": load, "line": line, "layer": "below", **up}


def _load_note(load: float, colour: str, side: str, text: str) -> dict[str, Any]:
    return {
        "x": load,
        "yref": "paper",
        "y": 1,
        "text": f"{text} {load:g}",
        "showarrow": False,
        "xanchor": side,
        "yanchor": "bottom",
        "font": {"color": colour, "size": 12},
    }


def _on_log(note: dict[str, Any]) -> dict[str, Any]:
    """Annotations on a logarithmic axis are placed by the logarithm."""
    return note if note.get("xref") == "paper" else note | {"x": math.log10(note["x"])}


def _limits(
    keys: Sequence[str], summary: Mapping[str, Any], slo: Mapping[str, Any]
) -> list[tuple[float, str]]:
    """(limit in the unit shown, its name) of the objectives that belong into this figure."""
    if summary["kind"] != "find-max":
        return []
    found = []
    metric = keys[0].partition(".")[0]
    for name, limit in (summary["conclusion"].get("limits") or {}).items():
        sign, _, figure = str(limit).rpartition(" ")
        if name.partition(".")[0] == metric:
            value = float(figure) * named(name).scale
            statistic = _statistic(name) if "." in name else ""
            words = {">=": "at least", "<=": "at most"}.get(sign, "limit")
            found.append((value, f"{statistic} {words} {number(value, 0)}".strip()))
    each = slo.get(metric)
    if isinstance(each, int | float):
        found.append((float(each), f"each request ≤ {each:g} ms"))
    return found


def _limit_line(limit: float) -> dict[str, Any]:
    line = {"color": BAD, "width": 1.2, "dash": "dot"}
    across = {"xref": "paper", "x0": 0, "x1": 1}
    return {"type": "line", "y0": limit, "y1": limit, "line": line, **across}


def _limit_note(limit: float, text: str, *, log: bool) -> dict[str, Any]:
    return {
        "xref": "paper",
        "x": 1,
        "y": math.log10(limit) if log else limit,
        "text": text,
        "showarrow": False,
        "xanchor": "right",
        "yanchor": "bottom",
        "font": {"color": BAD, "size": 12},
    }


def dots_of(x: Sequence[float], stats: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """A dot with its interval for each figure."""
    values = [of.value or 0.0 for of in stats]
    above = [
        (of.high if of.high is not None else value) for of, value in zip(stats, values, strict=True)
    ]
    below = [
        (of.low if of.low is not None else value) for of, value in zip(stats, values, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(x),
        "y": [round(value, 4) for value in values],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [round(high - value, 4) for high, value in zip(above, values, strict=True)],
            "arrayminus": [round(value - low, 4) for low, value in zip(below, values, strict=True)],
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        },
        "marker": {"color": colour, "size": 8},
        "hovertemplate": "%{x}: %{y:.4~g}<extra></extra>",
    }

"""Figures of a group's report: every run beside the mean, or the curve against load."""

from collections.abc import Mapping, Sequence
from typing import Any

from runners.reports.group_sections import labelled, named, stat_in
from runners.reports.plots import ACCENT, INK, MUTED, Figure, axis, layout, titled
from runners.reports.wording import Estimate, value_text

OVER_RUNS = (
    ("output_throughput_tok_s", "How alike are the runs in throughput?"),
    ("ttft_ms.p50", "How alike are they in the time to the first token?"),
    ("ttft_ms.p95", "And for the slowest of twenty?"),
    ("tpot_ms.p50", "How alike are they in the time per token?"),
)
AGAINST_LOAD = (
    (("output_throughput_tok_s",), "When does more load stop to give more?"),
    (("ttft_ms.p50", "ttft_ms.p95"), "What does load do to the first token?"),
    (("tpot_ms.p50", "tpot_ms.p95"), "What does load do to the tokens after it?"),
)
Runs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def repeat_figures(summary: Mapping[str, Any], runs: Runs) -> list[Figure]:
    """A dot per finished run with its own interval, and the mean over runs with its band.

    runs: (entry of group.json, results.json) of every finished run.
    """
    return [_over_runs(key, title, summary, runs) for key, title in OVER_RUNS]


def curve_figures(summary: Mapping[str, Any], runs: Runs) -> list[Figure]:
    """Throughput and latencies against the load of each step, the knee marked."""
    return [_against_load(keys, title, summary, runs) for keys, title in AGAINST_LOAD]


def _points(key: str, runs: Runs) -> list[tuple[Mapping[str, Any], Estimate]]:
    scale = named(key).scale
    found = [(run, stat_in(results, key).scaled(scale)) for run, results in runs]
    return [(run, stat) for run, stat in found if stat.value is not None]


def _name(key: str) -> str:
    return key.replace("_", "-").replace(".", "-")


def _over_runs(key: str, title: str, summary: Mapping[str, Any], runs: Runs) -> Figure:
    points = _points(key, runs)
    stat = (summary["metrics"] or {}).get(key)
    if not points or not stat:
        return Figure(_name(key), title, f"{labelled(key)}: measured in no valid run.")
    trace = _dots([run["round"] for run, _ in points], [of for _, of in points], ACCENT)
    shapes = _band(stat, named(key).scale)
    x = axis(title=titled("round"), dtick=1 if len(points) < 20 else None, showgrid=False)
    y = axis(title=titled(labelled(key)))
    mean = value_text(Estimate(stat["mean"] * named(key).scale))
    caption = "Dots: runs with their own intervals. Line and band: mean over valid runs."
    said = f"{labelled(key)}: mean {mean} over {stat['runs']} runs"
    plot = {"data": [trace], "layout": layout(320, xaxis=x, yaxis=y, shapes=shapes)}
    return Figure(_name(key), title, caption, said, plot)


def _band(stat: Mapping[str, Any], scale: float) -> list[dict[str, Any]]:
    across = {"xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    mean = stat["mean"] * scale
    line = {"color": INK, "width": 1.2}
    shapes: list[dict[str, Any]] = [{"type": "line", "y0": mean, "y1": mean, "line": line} | across]
    if stat["low"] is not None:
        edges = {"y0": stat["low"] * scale, "y1": stat["high"] * scale}
        fill = {"fillcolor": "var(--faint)", "line": {"width": 0}}
        shapes.insert(0, {"type": "rect"} | edges | fill | across)
    return shapes


def _against_load(
    keys: Sequence[str], title: str, summary: Mapping[str, Any], runs: Runs
) -> Figure:
    name = _name(keys[0])
    lines = [_points(key, runs) for key in keys]
    if not lines[0]:
        return Figure(name, title, f"{labelled(keys[0])}: measured in no step.")
    load = next(iter(lines[0][0][0]["varied"]))
    traces = [
        _dots([run["varied"][load] for run, _ in points], [of for _, of in points], colour)
        | {"mode": "lines+markers", "line": {"color": colour, "width": 2}}
        for points, colour in zip(lines, (ACCENT, MUTED), strict=False)
    ]
    steps = sorted({run["varied"][load] for points in lines for run, _ in points})
    x = axis(
        title=titled("requests in flight" if load == "load.concurrency" else "arrivals per second"),
        type="log",
        tickvals=steps,
        ticktext=[f"{step:g}" for step in steps],
    )
    y = axis(title=titled(labelled(keys[0]).replace(" p50", "")), rangemode="tozero")
    knee = summary["conclusion"].get("knee")
    shapes = [_knee_line(knee["value"])] if knee else []
    caption = "Each step has twice the load of the one before."
    caption += " Upper line: p95, lower line: p50." if len(keys) > 1 else ""
    caption += " Dashed: the knee." if knee else ""
    said = ", ".join(f"{run['varied'][load]:g}: {value_text(of)}" for run, of in lines[0])
    plot = {"data": traces, "layout": layout(320, xaxis=x, yaxis=y, shapes=shapes)}
    return Figure(name, title, caption, f"{labelled(keys[0])} at {said}", plot)


def _knee_line(load: float) -> dict[str, Any]:
    line = {"color": INK, "width": 1.2, "dash": "dash"}
    return {
        "type": "line",
        "x0": load,
        "x1": load,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": line,
        "layer": "below",
    }


def _dots(x: Sequence[float], stats: Sequence[Estimate], colour: str) -> dict[str, Any]:
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

"""Figures of repeated runs: every run beside the mean."""

from collections.abc import Mapping
from typing import Any

from runners.reports.group_sections import labelled, named
from runners.reports.load_plots import Runs, dots_of, figure_name, points_of
from runners.reports.plots import ACCENT, INK, Figure, axis, layout, titled
from runners.reports.wording import Estimate, value_text

OVER_RUNS = (
    ("output_throughput_tok_s", "How alike are the runs in throughput?"),
    ("ttft_ms.p50", "How alike are they in the time to the first token?"),
    ("ttft_ms.p95", "And for the slowest of twenty?"),
    ("tpot_ms.p50", "How alike are they in the time per token?"),
)


def repeat_figures(summary: Mapping[str, Any], runs: Runs) -> list[Figure]:
    """A dot per finished run with its own interval, and the mean over runs with its band.

    runs: (entry of group.json, results.json) of every finished run.
    """
    return [_over_runs(key, title, summary, runs) for key, title in OVER_RUNS]


def _over_runs(key: str, title: str, summary: Mapping[str, Any], runs: Runs) -> Figure:
    points = points_of(key, runs)
    stat = (summary["metrics"] or {}).get(key)
    if not points or not stat:
        return Figure(figure_name(key), title, f"{labelled(key)}: measured in no valid run.")
    trace = dots_of([run["round"] for run, _ in points], [of for _, of in points], ACCENT)
    shapes = _band(stat, named(key).scale)
    x = axis(title=titled("round"), dtick=1 if len(points) < 20 else None, showgrid=False)
    y = axis(title=titled(labelled(key)))
    mean = value_text(Estimate(stat["mean"] * named(key).scale))
    caption = "Dots: runs with their own intervals. Line and band: mean over valid runs."
    said = f"{labelled(key)}: mean {mean} over {stat['runs']} runs"
    plot = {"data": [trace], "layout": layout(320, xaxis=x, yaxis=y, shapes=shapes)}
    return Figure(figure_name(key), title, caption, said, plot)


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

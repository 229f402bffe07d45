"""Where start-up time went: the phases of one start, and of cold starts beside each other."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from runners.reports.plots import ACCENT, INK, Figure, axis, layout, titled


def startup_figure(phases: Sequence[Mapping[str, Any]], failure: str | None) -> Figure | None:
    """Start-up phases on one time line; None when there were none."""
    known = [
        (str(phase.get("name") or "?"), float(phase["start_unix_s"]), float(phase["duration_s"]))
        for phase in phases
        if phase.get("start_unix_s") is not None and phase.get("duration_s") is not None
    ]
    if not known:
        return None
    begin = min(start for _, start, _ in known)
    total = max(start + duration for _, start, duration in known) - begin
    rows = list(range(len(known)))
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": rows,
        "base": [round(start - begin, 3) for _, start, _ in known],
        "x": [round(duration, 3) for _, _, duration in known],
        "marker": {"color": ACCENT},
        "width": 0.5,
        "text": [f"{duration:.1f} s" for _, _, duration in known],
        "textposition": "outside",
        "textfont": {"color": INK, "size": 12},
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    names = [html.escape(name) for name, _, _ in known]
    height = 80 + 36 * len(known)
    x = axis(title=titled("seconds since the start"), range=[0, total * 1.12], rangemode="tozero")
    y = axis(tickvals=rows, ticktext=names, autorange="reversed", showgrid=False)
    y["tickfont"] = {"color": INK, "size": 13}
    plot = {"data": [bars], "layout": layout(height, xaxis=x, yaxis=y)}
    said = ", ".join(f"{name} {duration:.1f} s" for name, _, duration in known)
    caption = f"{total:.1f} s in all." + (f" It failed: {failure}" if failure else "")
    return Figure("startup", "Where did start-up time go?", caption, said, plot, height)


def cold_start_figure(measured: Mapping[str, Any] | None) -> Figure | None:
    """Time from zero to the first token of each start, by phase; None without cold starts."""
    if not measured or not measured.get("starts"):
        return None
    starts = [measured["first"], *measured["starts"]]
    names = ["first", *(f"cold {number}" for number in range(1, len(starts)))]
    bars = [
        (place, str(phase["name"]), float(phase["duration_s"]))
        for place, start in enumerate(starts)
        for phase in start["phases"]
    ]
    phases = list(dict.fromkeys(phase for _, phase, _ in bars))
    traces = [_phase_bars(phase, number, bars) for number, phase in enumerate(phases)]
    ends = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [start["first_token_s"] for start in starts],
        "y": list(range(len(starts))),
        "text": [f"{start['first_token_s']:.1f} s" for start in starts],
        "textposition": "middle right",
        "textfont": {"color": INK, "size": 12},
        "marker": {
            "color": INK,
            "size": 8,
            "symbol": "line-ns",
            "line": {"width": 2, "color": INK},
        },
        "cliponaxis": False,
        "showlegend": False,
        "hoverinfo": "skip",
    }
    most = max(start["first_token_s"] for start in starts)
    height = 90 + 34 * len(starts)
    x = axis(title=titled("seconds from zero to the first token"), range=[0, most * 1.15])
    y = axis(tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False)
    shape = layout(height, xaxis=x, yaxis=y, barmode="stack")
    whole = (measured.get("summary") or {}).get("first token from zero") or {}
    caption = "The first start also pulled what was not on the node."
    if whole:
        caption += f" Cold starts: p50 {whole['p50_s']:g} s, longest {whole['max_s']:g} s."
    plot = {"data": [*traces, ends], "layout": shape}
    key = [(phase, f"var(--side{number % 6})") for number, phase in enumerate(phases)]
    title = "How long does a cold start take?"
    return Figure("cold-starts", title, caption, caption, plot, height, key)


def _phase_bars(phase: str, number: int, bars: Sequence[tuple[int, str, float]]) -> dict[str, Any]:
    found = [(place, duration) for place, name, duration in bars if name == phase]
    return {
        "type": "bar",
        "orientation": "h",
        "name": html.escape(phase),
        "y": [place for place, _ in found],
        "x": [round(duration, 3) for _, duration in found],
        "width": 0.55,
        "marker": {"color": f"var(--side{number % 6})"},
        "hovertemplate": html.escape(phase) + ": %{x:.1f} s<extra></extra>",
    }

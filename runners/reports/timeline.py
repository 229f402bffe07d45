"""The run over time: panels on one time axis, warm-up shaded and the window's edges marked."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from runners.measure.chunks import Chunks
from runners.reports.plots import ACCENT, BAD, INK, MUTED, Figure, axis, layout, rounded, titled
from runners.reports.run_files import Event
from runners.reports.series import (
    MAX_POINTS,
    Floats,
    Requests,
    counter_rate,
    gauge,
    in_flight,
    thin,
    tokens_per_second,
)

_PANEL, _GAP, _BOTTOM, _TOP = 104, 42, 52, 44
_MAX_FAILED = 1000
# A counter's growth belongs to the time before the scrape.
_SERVERS = {"color": INK, "width": 1, "shape": "vh", "dash": "dot"}


@dataclass(frozen=True)
class Panel:
    title: str
    traces: Sequence[Mapping[str, Any]]
    top: float | None = None
    scale: bool = True


def timeline_figure(
    requests: Requests | None,
    chunks: Chunks | None,
    server: pd.DataFrame | None,
    window: Mapping[str, Any],
    events: Sequence[Event] = (),
) -> Figure:
    """Output rate, requests in flight, TTFT of each request, and the server's own gauges."""
    name, title = "timeline", "Was the run steady?"
    panels = [
        *_token_panels(chunks, server),
        *([] if requests is None or not len(requests.begun_s) else _request_panels(requests)),
        *([] if server is None else _server_panels(server)),
    ]
    if not panels:
        return Figure(name, title, "No request was sent, so there is nothing to draw.")
    traces, shape, height = stacked(panels, _end_of(panels))
    marks, notes = _window_marks(window, _end_of(panels))
    lines, numbers = _event_marks(events)
    shape["shapes"] = marks + lines
    shape["annotations"] += notes + numbers
    caption = "Shaded: outside the measured window." if marks else ""
    caption += " Red lines: the numbered events below." if lines else ""
    drawn, total = _drawn(requests)
    if drawn < total:
        caption += f" {drawn:,} of {total:,} requests are drawn as points; figures use all."
    said = "Over time: " + ", ".join(_plain(panel.title) for panel in panels)
    plot = {"data": traces, "layout": shape}
    return Figure(name, title, caption.strip(), said, plot, height)


def _plain(title: str) -> str:
    return title.split("<", 1)[0].strip(" :")


def _end_of(panels: Sequence[Panel]) -> float:
    ends = [x for panel in panels for trace in panel.traces for x in trace["x"] if x is not None]
    return max(ends, default=0.0)


def _steps(x: Floats, y: Floats, colour: str, fill: bool, hover: str) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": rounded(x, 3),
        "y": rounded(y, 3),
        "line": {"color": colour, "width": 1.6, "shape": "hv"},
        "hovertemplate": hover + " at %{x:.1f} s<extra></extra>",
    }
    return trace | ({"fill": "tozeroy", "fillcolor": "var(--faint)"} if fill else {})


def _token_panels(chunks: Chunks | None, server: pd.DataFrame | None) -> list[Panel]:
    """What arrived here, and what the server counted, on one scale."""
    traces, words = [], []
    title = "Output tokens, tok/s"
    if chunks is not None and (rates := tokens_per_second(chunks)) is not None:
        starts, rate, width = rates
        x = np.append(starts, starts[-1] + width)
        traces.append(_steps(x, np.append(rate, rate[-1]), ACCENT, True, "%{y:,.0f} tok/s"))
        words.append(f"<span style='color:{ACCENT}'>here</span>")
        title += " in each second" if width == 1 else f" in each {width:.0f} s"
    if server is not None and len((counted := counter_rate(server, "generation_tokens"))[0]):
        hover = "server: %{y:,.0f} tok/s"
        traces.append(_steps(*counted, INK, False, hover) | {"line": _SERVERS})
        words.append(f"<span style='color:{INK}'>server</span>")
    return [Panel(f"{title}: {', '.join(words)}", traces)] if traces else []


def _request_panels(requests: Requests) -> list[Panel]:
    instants, running = in_flight(requests)
    flying = _steps(instants, running, ACCENT, True, "%{y:.0f} in flight")
    ttft = (requests.first_s - requests.sent_s) * 1e3
    failed = np.array([error is not None for error in requests.error], dtype=bool)
    good = np.flatnonzero(~failed & np.isfinite(ttft))
    bad = np.flatnonzero(failed)
    top = float(ttft[good].max()) * 1.15 if len(good) else 1.0
    title, traces = "TTFT of each request, ms", []
    if len(good):
        traces.append(_points(requests, ttft, good[thin(good, MAX_POINTS - _MAX_FAILED)]))
    if len(bad):
        words = "✕ failed" if len(good) else "✕ all failed"
        title += f": <span style='color:{BAD}'>{words}</span>"
        traces.append(_failed_marks(requests, bad[thin(bad, _MAX_FAILED)], top))
    panels = [Panel("Requests in flight", [flying])] if len(instants) else []
    return panels + ([Panel(title, traces, top * 1.08, bool(len(good)))] if traces else [])


def _points(requests: Requests, ttft: Floats, at: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(requests.begun_s[at], 3),
        "y": rounded(ttft[at], 3),
        "marker": {"color": ACCENT, "size": 5, "opacity": 0.65},
        "hovertemplate": "%{y:.4~g} ms, sent at %{x:.2f} s<extra></extra>",
    }


def _failed_marks(requests: Requests, at: Any, top: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(requests.begun_s[at], 3),
        "y": [round(top, 3)] * len(at),
        "text": [html.escape(requests.error[i] or "") for i in at],
        "marker": {"color": BAD, "size": 7, "symbol": "x-thin", "line": {"color": BAD, "width": 2}},
        "hovertemplate": "failed: %{text}, begun at %{x:.2f} s<extra></extra>",
    }


def _server_panels(server: pd.DataFrame) -> list[Panel]:
    panels, queue = [], []
    for colour, word in ((ACCENT, "running"), (INK, "waiting")):
        x, y = gauge(server, word)
        if len(x):
            queue.append((_steps(x, y, colour, False, "%{y:.0f} " + word), colour, word))
    if queue:
        words = ", ".join(
            f"<span style='color:{colour}'>{word}</span>" for _, colour, word in queue
        )
        panels.append(Panel(f"Requests in the engine: {words}", [trace for trace, _, _ in queue]))
    x, y = gauge(server, "kv_cache_usage")
    if len(x):
        trace = _steps(x, y * 100, ACCENT, True, "%{y:.1f} %")
        panels.append(Panel("KV cache in use, %", [trace]))
    return panels


def _drawn(requests: Requests | None) -> tuple[int, int]:
    if requests is None:
        return 0, 0
    failed = sum(error is not None for error in requests.error)
    good = len(requests.error) - failed
    return min(good, MAX_POINTS - _MAX_FAILED) + min(failed, _MAX_FAILED), good + failed


def stacked(
    panels: Sequence[Panel], end: float
) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Panels one below the other on one time axis: (traces, layout, height)."""
    inner = len(panels) * _PANEL + (len(panels) - 1) * _GAP
    height = _TOP + _BOTTOM + inner
    last = "y" if len(panels) == 1 else f"y{len(panels)}"
    margin = {"l": 52, "r": 12, "t": _TOP, "b": _BOTTOM}
    shape = layout(height, margin=margin, annotations=[], hovermode="closest")
    shape["xaxis"] = axis(
        title=titled("seconds since the start of load"),
        anchor=last,
        showgrid=False,
        range=[0, end * 1.01],
    )
    traces: list[dict[str, Any]] = []
    for index, panel in enumerate(panels):
        high = 1 - index * (_PANEL + _GAP) / inner
        low = max(0.0, high - _PANEL / inner)
        suffix = "" if index == 0 else str(index + 1)
        y = axis(domain=[low, high], rangemode="tozero", nticks=4, anchor="x")
        y["showticklabels"] = y["showgrid"] = panel.scale
        if panel.top:
            y["range"] = [0, panel.top]
        shape["yaxis" + suffix] = y
        shape["annotations"].append(_heading(panel.title, high))
        traces.extend({**trace, "xaxis": "x", "yaxis": "y" + suffix} for trace in panel.traces)
    return traces, shape, height


def _heading(title: str, y: float) -> dict[str, Any]:
    return {
        "text": title,
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": y,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"color": INK, "size": 13},
    }


def _window_marks(
    window: Mapping[str, Any], end: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    start, stop = window.get("start_s"), window.get("end_s")
    if start is None or stop is None:
        return [], []
    shapes: list[dict[str, Any]] = []
    across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    for low, high in ((0.0, start), (stop, end * 1.01)):
        if high > low:
            fill = {"fillcolor": "var(--shade)", "line": {"width": 0}}
            shapes.append({"type": "rect", "x0": low, "x1": high, **across, **fill})
    edge = {"line": {"color": MUTED, "width": 1, "dash": "dot"}}
    shapes.extend({"type": "line", "x0": x, "x1": x, **across, **edge} for x in (start, stop))
    words = [("measured window", start, "left")]
    if start > 0.08 * end:
        words.append(("warm-up", start, "right"))
    notes = [
        {
            "text": word,
            "x": x,
            "xref": "x",
            "yref": "paper",
            "y": 1,
            "xshift": 6 if side == "left" else -6,
            "yshift": 22,
            "xanchor": side,
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"color": MUTED, "size": 12},
        }
        for word, x, side in words
    ]
    return shapes, notes


def _event_marks(
    events: Sequence[Event],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    line = {"color": BAD, "width": 1.5}
    across = {"type": "line", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "line": line}
    shapes = [{**across, "x0": event.at_s, "x1": event.at_s} for event in events]
    at_foot = {"xref": "x", "yref": "paper", "y": 0, "yanchor": "bottom", "showarrow": False}
    font = {"color": BAD, "size": 12}
    notes = [
        {**at_foot, "text": f"<b>{number}</b>", "x": event.at_s, "xanchor": "left", "font": font}
        for number, event in enumerate(events, 1)
    ]
    return shapes, notes

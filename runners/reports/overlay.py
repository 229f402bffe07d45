"""The sides of a comparison in one figure: distributions of latencies, and the run over time."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from runners.reports.comparison_data import ReadSide, SideRun
from runners.reports.plots import Figure, axis, layout, rounded, share_axis, tail, titled
from runners.reports.series import (
    Floats,
    Requests,
    distribution,
    gauge,
    in_flight,
    read_chunks,
    read_requests,
    read_server,
    tokens_per_second,
)
from runners.reports.timeline import Panel, stacked

_MOST_BINS = 300


@dataclass(frozen=True)
class Read:
    """A run's records; None where they were not kept."""

    requests: Requests | None
    tokens: tuple[Floats, Floats, float] | None
    server: pd.DataFrame | None


def read_records(each: SideRun) -> Read:
    requests = read_requests(each.run, each.results.get("window") or {})
    chunks = read_chunks(each.run, requests)
    return Read(
        requests, None if chunks is None else tokens_per_second(chunks), read_server(each.run)
    )


def overlay_figures(sides: Sequence[ReadSide]) -> list[Figure]:
    """Latency distributions of all valid runs of each side, and their mean over time."""
    records = {side.name: [read_records(each) for each in side.runs] for side in sides}
    return [
        _distributions(
            "side-ttft", "How long until the first token?", "TTFT", _ttft, sides, records
        ),
        _distributions(
            "side-tpot", "How long for each token after it?", "TPOT", _tpot, sides, records
        ),
        _distributions(
            "side-e2e", "How long until the answer is whole?", "end-to-end", _e2e, sides, records
        ),
        _over_time(sides, records),
    ]


def _ttft(of: Requests) -> Floats:
    return (of.first_s - of.sent_s)[of.measured] * 1e3


def _e2e(of: Requests) -> Floats:
    return (of.last_s - of.sent_s)[of.measured] * 1e3


def _tpot(of: Requests) -> Floats:
    """As docs/metrics.md has it: of answers with two tokens or more."""
    steps = np.where(of.output_tokens > 1, of.output_tokens - 1, np.nan)
    return ((of.last_s - of.first_s) / steps)[of.measured] * 1e3


Records = dict[str, list[Read]]


def _distributions(
    name: str,
    title: str,
    label: str,
    values_of: Callable[[Requests], Floats],
    sides: Sequence[ReadSide],
    records: Records,
) -> Figure:
    curves = []
    for side in sides:
        parts = [values_of(each.requests) for each in records[side.name] if each.requests]
        values, share = distribution(np.concatenate(parts) if parts else np.empty(0))
        if len(values):
            curves.append((side, values, share))
    if not curves:
        return Figure(name, title, "No run of the sides has these times.")
    most = max(float(values[-1]) for _, values, _ in curves)
    unit, factor = ("s", 1e-3) if most >= 10_000 else ("ms", 1.0)
    traces = [_curve(side, values * factor, share, unit) for side, values, share in curves]
    x = axis(title=titled(f"{label}, {unit}"), range=_range([v * factor for _, v, _ in curves]))
    x["showgrid"] = False
    y = share_axis(max(float(share[-1]) for _, _, share in curves))
    caption = "Share of requests at or below a latency; all valid runs of a side together."
    said = ", ".join(f"{side.name} {len(values)} points" for side, values, _ in curves)
    plot = {"data": traces, "layout": layout(340, xaxis=x, yaxis=y)}
    key = [(side.name, side.colour) for side, _, _ in curves]
    return Figure(name, title, caption, f"{label} distributions: {said}", plot, 340, key)


def _range(curves: Sequence[Floats]) -> list[float]:
    """From 0, unless all sides lie together far from it."""
    low = min(float(values[0]) for values in curves)
    high = max(float(values[-1]) for values in curves)
    start = 0.0 if low < 0.6 * high else low - 0.05 * (high - low)
    return [start, high + 0.03 * (high - start)]


def _curve(side: ReadSide, values: Floats, share: Floats, unit: str) -> dict[str, Any]:
    name = html.escape(side.name)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": rounded(values),
        "y": rounded(tail(share)),
        "text": [f"{100 * part:.4g} %" for part in share],
        "line": {"color": side.colour, "width": 2.2},
        "hovertemplate": f"{name}: %{{text}} within %{{x:.4~g}} {unit}<extra></extra>",
    }


def _over_time(sides: Sequence[ReadSide], records: Records) -> Figure:
    """Means over the runs of a side in equal parts of the time, with the span of the runs."""
    name, title = "side-timeline", "How do they go over time?"
    end = max(
        (float(np.nanmax(each.requests.end_s)) for reads in records.values() for each in reads
         if each.requests is not None and np.isfinite(each.requests.end_s).any()),
        default=0.0,
    )  # fmt: skip
    if not end:
        return Figure(name, title, "No run of the sides has records of its requests.")
    width = max(1.0, np.ceil(end / _MOST_BINS))
    edges = np.arange(0.0, end + width, width)
    panels = [
        panel
        for words, take in _PANELS
        if (panel := _panel(words, take, edges, sides, records)) is not None
    ]
    traces, shape, height = stacked(panels, end)
    caption = f"Mean over the runs of a side in each {width:.0f} s; shaded: from the lowest run "
    caption += "to the highest. Warm-up included."
    said = "Over time: " + ", ".join(panel.title for panel in panels)
    plot = {"data": traces, "layout": shape}
    key = [(side.name, side.colour) for side in sides if records[side.name]]
    return Figure(name, title, caption, said, plot, height, key)


def _tokens(of: Read, edges: Floats) -> Floats | None:
    if of.tokens is None:
        return None
    starts, rate, width = of.tokens
    return _binned(starts + width / 2, rate, edges)


def _median_ttft(of: Read, edges: Floats) -> Floats | None:
    if of.requests is None:
        return None
    ttft = (of.requests.first_s - of.requests.sent_s) * 1e3
    known = np.isfinite(ttft)
    place = np.digitize(of.requests.sent_s[known], edges) - 1
    medians = pd.Series(ttft[known]).groupby(place).median()
    return np.asarray(medians.reindex(range(len(edges) - 1)), dtype="float64")


def _flying(of: Read, edges: Floats) -> Floats | None:
    return None if of.requests is None else _held(*in_flight(of.requests), edges)


def _gauge(word: str) -> Callable[[Read, Floats], Floats | None]:
    def take(of: Read, edges: Floats) -> Floats | None:
        return None if of.server is None else _binned(*gauge(of.server, word), edges)

    return take


def _cache(of: Read, edges: Floats) -> Floats | None:
    found = _gauge("kv_cache_usage")(of, edges)
    return None if found is None else found * 100


_PANELS: tuple[tuple[str, Callable[[Read, Floats], Floats | None]], ...] = (
    ("Output tokens, tok/s", _tokens),
    ("TTFT, ms, median", _median_ttft),
    ("Requests in flight", _flying),
    ("Requests waiting in the engine", _gauge("waiting")),
    ("KV cache in use, %", _cache),
)


def _binned(times: Floats, values: Floats, edges: Floats) -> Floats | None:
    if not len(times):
        return None
    place = np.digitize(times, edges) - 1
    means = pd.Series(values).groupby(place).mean()
    return np.asarray(means.reindex(range(len(edges) - 1)), dtype="float64")


def _held(instants: Floats, levels: Floats, edges: Floats) -> Floats | None:
    """A level that holds until it changes, at the middle of each part."""
    if not len(instants):
        return None
    middle = (edges[:-1] + edges[1:]) / 2
    at = np.searchsorted(instants, middle, "right") - 1
    return np.where(at >= 0, levels[np.maximum(at, 0)], 0.0)


def _panel(
    words: str,
    take: Callable[[Read, Floats], Floats | None],
    edges: Floats,
    sides: Sequence[ReadSide],
    records: Records,
) -> Panel | None:
    traces: list[dict[str, Any]] = []
    for side in sides:
        rows = [row for each in records[side.name] if (row := take(each, edges)) is not None]
        if rows:
            traces += _span(side, np.array(rows), edges, first=words == _PANELS[0][0])
    return Panel(words, traces) if traces else None


def _span(side: ReadSide, rows: Floats, edges: Floats, *, first: bool) -> list[dict[str, Any]]:
    kept = np.isfinite(rows).any(axis=0)
    x, rows = ((edges[:-1] + edges[1:]) / 2)[kept], rows[:, kept]
    name = html.escape(side.name)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "legendgroup": name,
        "showlegend": first,
        "x": rounded(x, 2),
        "y": rounded(np.nanmean(rows, axis=0), 2),
        "line": {"color": side.colour, "width": 2},
        "hovertemplate": f"{name}: %{{y:.4~g}} at %{{x:.0f}} s<extra></extra>",
    }
    if len(rows) < 2:
        return [line]
    low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
    band = {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": name,
        "showlegend": False,
        "x": rounded(np.concatenate([x, x[::-1]]), 2),
        "y": rounded(np.concatenate([high, low[::-1]]), 2),
        "line": {"width": 0, "color": side.colour},
        "fill": "toself",
        "fillcolor": side.colour,
        "opacity": 0.18,
        "hoverinfo": "skip",
    }
    return [band, line]

"""Figures of a report as plotly's plain JSON; colours are CSS variables of report.css.

Each figure answers the question in its title. `var(--name)` is replaced in the browser, so
that one document serves light, dark and paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.reports.sections import LatencyRow
from runners.reports.series import Floats, distribution
from runners.reports.wording import interval_text, number, value_text

INK, MUTED, RULE = "var(--ink)", "var(--muted)", "var(--rule)"
ACCENT, FAINT, BAD = "var(--accent)", "var(--faint)", "var(--bad)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Figure:
    """`plot`: plotly's data and layout; None: nothing to draw, `caption` says why.

    summary: what it shows, for those who do not see it. key: (name, colour) of its lines: the
    page shows it above the figure, where long names have room; an exported file shows plotly's.
    """

    name: str
    title: str
    caption: str
    summary: str = ""
    plot: Mapping[str, Any] | None = None
    height: int = 320
    key: Sequence[tuple[str, str]] = ()


def axis(**more: Any) -> dict[str, Any]:
    return {
        "gridcolor": RULE,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "tickfont": {"color": MUTED, "size": 12},
        "zeroline": False,
        "fixedrange": False,
        "automargin": True,
    } | more


def shortened(name: str, most: int = 20) -> str:
    """A name where there is little room: its beginning and its end."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def titled(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"color": MUTED, "size": 13}, "standoff": 10}


def layout(height: int, **more: Any) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 48, "r": 16, "t": 12, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "color": INK, "size": 13},
        "showlegend": False,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": ACCENT},
        "hoverlabel": {"bgcolor": "var(--paper)", "bordercolor": MUTED, "font": {"color": INK}},
        "separators": ".,",
    } | more


def rounded(values: Floats, digits: int = 4) -> list[float | None]:
    return [round(float(v), digits) if np.isfinite(v) else None for v in values]


def tail(share: Floats) -> Floats:
    """Position on the percentile axis, which gives each further nine the same room."""
    return -np.log10(np.maximum(1 - share, 1e-9))


def share_axis(most: float) -> dict[str, Any]:
    """A percentile axis up to the share `most`, at least 99 %."""
    highest = max(2.0, float(tail(np.array([most]))[0]))
    ticks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]
    wanted = [tick for tick in ticks if tail(np.array([tick]))[0] <= highest]
    return axis(
        tickvals=rounded(tail(np.array(wanted))),
        ticktext=[f"{100 * tick:g} %" for tick in wanted],
        range=[-0.05, highest * 1.08],
    )


def distribution_figure(
    name: str,
    title: str,
    values_ms: Floats,
    from_intended_ms: Floats | None,
    row: LatencyRow,
    slo_ms: float | None,
    failed: int = 0,
) -> Figure:
    """Cumulative distribution with the percentiles of results.json and their intervals.

    failed: requests of the window without an answer; they are beyond every latency.
    """
    values, share = distribution(values_ms)
    if not len(values):
        return Figure(name, title, "No request completed inside the window.")
    factor = 1e-3 if row.unit == "s" else 1.0
    traces = [_curve(values * factor, share, row.unit)]
    caption = "Share of requests at or below a latency; bars are the percentiles' intervals."
    top = float(values[-1]) * factor
    if from_intended_ms is not None:
        late, late_share = distribution(from_intended_ms)
        traces.insert(0, _curve(late * factor, late_share, row.unit, ("dot", MUTED)))
        top = max(top, float(late[-1]) * factor if len(late) else top)
        caption += " Dotted: from the intended time."
    if failed:
        answered = np.isfinite(values_ms).sum()
        lost = failed / (answered + failed)
        traces.insert(0, _curve(values * factor, share * (1 - lost), row.unit, ("dash", BAD)))
        caption += f" Red: {100 * lost:.3g} % failed, counted as never answered."
    traces.append(_percentile_marks(row, top))
    shapes, notes = _slo_line(slo_ms * factor if slo_ms else None, top, row.unit)
    y = share_axis(float(share[-1]))
    x = axis(title=titled(f"{row.label}, {row.unit}"), range=[0, top * 1.14], showgrid=False)
    shape = layout(320, xaxis=x, yaxis=y, shapes=shapes, annotations=notes)
    plot = {"data": traces, "layout": shape}
    said = ", ".join(
        f"{key} {value_text(row.cells[key])} {row.unit} {interval_text(row.cells[key])}".strip()
        for key in _SHARES
        if row.cells[key].value is not None
    )
    return Figure(name, title, caption, f"{row.label}: {said}", plot)


def _curve(
    values: Floats, share: Floats, unit: str, aside: tuple[str, str] | None = None
) -> dict[str, Any]:
    """aside: (dash, colour) of a curve that stands behind the main one."""
    dash, colour = aside or ("solid", ACCENT)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": rounded(values),
        "y": rounded(tail(share)),
        "text": [f"{100 * part:.4g} %" for part in share],
        "line": {"color": colour, "width": 1.5 if aside else 2.5, "dash": dash},
        "hovertemplate": "%{text} within %{x:.4~g} " + unit + "<extra></extra>",
    }


def _percentile_marks(row: LatencyRow, top: float) -> dict[str, Any]:
    known = {key: row.cells[key] for key in _SHARES if row.cells[key].value is not None}
    cells = list(known.values())
    values = np.array([cell.value for cell in cells], dtype="float64")
    above = [(cell.value if cell.high is None else cell.high) for cell in cells]
    below = [(cell.value if cell.low is None else cell.low) for cell in cells]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": rounded(values),
        "y": rounded(tail(np.array([_SHARES[key] for key in known]))),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rounded(np.array(above, dtype="float64") - values),
            "arrayminus": rounded(values - np.array(below, dtype="float64")),
            "color": INK,
            "thickness": 1.2,
            "width": 3,
        },
        "marker": {"color": INK, "size": 7},
        "text": [f"<b>{key}</b> {value_text(cell)}" for key, cell in known.items()],
        # Names of those at the right edge go to the other side, where a phone still shows them.
        "textposition": ["top left" if value > 0.6 * top else "bottom right" for value in values],
        "textfont": {"color": INK, "size": 12},
        "cliponaxis": False,
        "hoverinfo": "skip",
    }


def _slo_line(
    slo: float | None, top: float, unit: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The SLO, where it is near enough not to squeeze the curve."""
    if slo is None or slo > top * 1.14:
        return [], []
    line = {"color": BAD, "width": 1.5, "dash": "dash"}
    shape = {"type": "line", "x0": slo, "x1": slo, "yref": "paper", "y0": 0, "y1": 1, "line": line}
    note = {
        "x": slo,
        "yref": "paper",
        "y": 0.02,
        "text": f"SLO {number(slo, 0 if slo >= 10 else 2)} {unit}",
        "showarrow": False,
        "xanchor": "left" if slo < top * 0.7 else "right",
        "yanchor": "bottom",
        "font": {"color": BAD, "size": 12},
    }
    return [shape], [note]


def gap_histogram(gaps_ms: Floats, absent: str) -> Figure:
    """Histogram of inter-chunk gaps; the far tail is named in the caption, not drawn."""
    name, title = "gaps", "How evenly do chunks arrive?"
    if not len(gaps_ms):
        return Figure(name, title, absent)
    limit = float(np.percentile(gaps_ms, 99.5))
    drawn = gaps_ms[gaps_ms <= limit] if limit > 0 else gaps_ms
    counts, edges = np.histogram(drawn, bins=min(60, max(10, int(len(drawn) ** 0.5))))
    caption = f"{len(gaps_ms):,} gaps between successive content chunks of one request."
    beyond = len(gaps_ms) - len(drawn)
    if beyond:
        caption += f" {beyond:,} longer than {limit:.3g} ms are not drawn; longest "
        caption += f"{gaps_ms.max():.3g} ms."
    bars = {
        "type": "bar",
        "x": rounded((edges[:-1] + edges[1:]) / 2),
        "width": rounded(np.diff(edges)),
        "y": rounded(counts / len(gaps_ms) * 100),
        "marker": {"color": ACCENT, "line": {"color": "var(--paper)", "width": 0.5}},
        "hovertemplate": "%{y:.3~g} % near %{x:.4~g} ms<extra></extra>",
    }
    x = axis(title=titled("inter-chunk latency, ms"), showgrid=False)
    y = axis(title=titled("share of gaps, %"), rangemode="tozero")
    plot = {"data": [bars], "layout": layout(320, xaxis=x, yaxis=y, bargap=0)}
    return Figure(name, title, caption, caption, plot)

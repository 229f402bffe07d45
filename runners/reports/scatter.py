"""Every request as a point: how its length goes with its latency."""

import html
from typing import Any

import numpy as np
import numpy.typing as npt

from runners.reports.plots import ACCENT, Figure, axis, layout, rounded, titled
from runners.reports.series import MAX_POINTS, Floats, Requests, thin

# The slowest are always drawn: they are what one looks for.
_SLOWEST = 500


def scatter_figures(requests: Requests | None) -> list[Figure]:
    """TTFT against the prompt's length, end-to-end latency against the answer's.

    Where all have one length, against the time at which they were sent.
    """
    about = (
        ("prompt-length", "Do longer prompts wait longer?", "prompt tokens", "TTFT, ms"),
        ("answer-length", "Do longer answers take longer?", "output tokens", "end-to-end, ms"),
    )
    if requests is None:
        return [
            Figure(name, title, "The run has no records of its requests.")
            for name, title, _, _ in about
        ]
    lengths = (requests.prompt_tokens, requests.output_tokens)
    ends = (requests.first_s, requests.last_s)
    return [
        _figure(*words, length, (end - requests.sent_s) * 1e3, requests)
        for words, length, end in zip(about, lengths, ends, strict=True)
    ]


def _figure(
    name: str, title: str, along: str, up: str, length: Floats, latency: Floats, requests: Requests
) -> Figure:
    known = np.flatnonzero(requests.measured & np.isfinite(length) & np.isfinite(latency))
    if not len(known):
        return Figure(name, title, f"No request of the window has both {along} and {up}.")
    same = ""
    if length[known].min() == length[known].max():
        same = f" All have {length[known[0]]:,.0f} {along}."
        title = "Which requests wait long?" if name == "prompt-length" else "Which take long?"
        along, length = "seconds since the start of load", requests.sent_s
    at = _chosen(latency, known)
    caption = f"{len(known):,} requests of the window."
    if len(at) < len(known):
        caption = (
            f"{len(at):,} of {len(known):,} requests drawn, the slowest {_SLOWEST} among them."
        )
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(length[at], 3),
        "y": rounded(latency[at], 2),
        "marker": {"color": ACCENT, "size": 5, "opacity": 0.5},
        "text": [html.escape(f"request {number}") for number in requests.request_id[at]],
        "hovertemplate": "%{text}: %{x:,.4~g}, %{y:.4~g} ms<extra></extra>",
    }
    caption += same
    x = axis(title=titled(along), showgrid=False)
    shape = layout(320, xaxis=x, yaxis=axis(title=titled(up), rangemode="tozero"))
    plot = {"data": [points], "layout": shape}
    return Figure(name, title, caption, f"{up} against {along}. {caption}", plot)


def _chosen(latency: Floats, known: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    if len(known) <= MAX_POINTS:
        return known
    slowest = known[np.argpartition(latency[known], -_SLOWEST)[-_SLOWEST:]]
    spread = known[thin(known, MAX_POINTS - _SLOWEST)]
    return np.union1d(spread, slowest)

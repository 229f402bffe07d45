"""Figures of a report as files of their own, drawn by the browser that also shows them."""

import base64
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_to_bytes

from runners.reports.browser import opened
from runners.rundir import writing

Format = Literal["png", "svg"]
WIDTH = 900
_SCALE = 2
# Each figure's name, and whether it has a key.
_NAMES = """
[...document.querySelectorAll(".plot")].map(place =>
  [place.id.slice(5), place.closest("figure").querySelector(".legend") !== null])
"""
_DRAW = """
(async () => {
  const place = document.getElementById("plot-" + %(name)r);
  const {margin, height} = place.layout, above = %(key)s ? 28 : 0;
  const layout = {...place.layout, width: %(width)d, height: height + above, autosize: false,
    paper_bgcolor: "#ffffff", showlegend: above > 0, margin: {...margin, t: margin.t + above},
    legend: {orientation: "h", traceorder: "normal", x: 0,
      y: 1, yref: "container", yanchor: "top"}};
  return Plotly.toImage({data: place.data, layout},
    {format: %(format)r, width: layout.width, height: layout.height, scale: %(scale)d});
})()
"""


def export_figures(report: Path, format: Format, out: Path) -> list[Path]:
    """Write every figure of a report.html as `out/<name>.<format>`, light, 900 pixels wide.

    PNG has two pixels for each of them. Raises UsageError where there is no Chromium,
    OutputError where a file cannot be written.
    """
    with opened(report, WIDTH) as page:
        names = page.evaluate(_NAMES)
        asked = {"width": WIDTH, "format": format, "scale": _SCALE if format == "png" else 1}
        drawn = {
            name: page.evaluate(_DRAW % {"name": name, "key": "true" if key else "false", **asked})
            for name, key in names
        }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    return [_write(out / f"{name}.{format}", address) for name, address in drawn.items()]


def _write(path: Path, address: str) -> Path:
    """A data: address as the file it holds."""
    head, _, body = address.partition(",")
    content = base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
    with writing(path):
        path.write_bytes(content)
    return path

"""A report's page: one file that opens offline, with its style, its figures and plotly in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from runners.reports.plots import Figure, shortened
from runners.reports.wording import DASH

_HERE = Path(__file__).parent


def render_page(template: str, figures: Iterable[Figure], **told: Any) -> str:
    """The HTML of a template beside this file. figures: all that the page shows."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["shortened"] = shortened
    return environment.get_template(template).render(
        **told,
        drawings=[{"name": each.name, "plot": each.plot} for each in figures if each.plot],
        dash=DASH,
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )

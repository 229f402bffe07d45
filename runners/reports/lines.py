"""One figure on one line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runners.reports.wording import estimate, interval_text, term, value_text, values_text


@dataclass(frozen=True)
class Line:
    """One figure: `value` is an em dash where it was not measured; `note` its context."""

    key: str
    label: str
    value: str
    interval: str
    unit: str
    note: str = ""


def line_of(key: str, stat: Any, note: str = "") -> Line:
    """stat: {value, low, high}, a number, or several; None: not measured."""
    name = term(key)
    if isinstance(stat, Sequence) and not isinstance(stat, str):
        parts = values_text([estimate(item).scaled(name.scale) for item in stat])
        return Line(key, name.label, parts, "", name.unit, note)
    shown = estimate(stat).scaled(name.scale)
    return Line(key, name.label, value_text(shown), interval_text(shown), name.unit, note)

"""What each engine calls its metrics, and which engine's names a server speaks.

A further engine is a further file in `runners/telemetry/names/` with one constant, `NAMES`.
"""

import importlib
import pkgutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

Names = tuple[str, ...]


@dataclass(frozen=True)
class Gauge:
    """combine: how the values of several engines or pods become one.

    where: labels that pick the series, where one name stands for several things.
    """

    names: Names
    combine: Literal["sum", "mean"]
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """A counter that is split by one label."""

    names: Names
    label: str


@dataclass(frozen=True)
class EngineNames:
    """Our word for a metric, and the sample names on the wire, the newest first.

    histograms: base names, without _sum and _count; their unit is seconds.
    """

    engine: str
    counters: Mapping[str, Names]
    labelled: Mapping[str, Labelled] = field(default_factory=dict)
    gauges: Mapping[str, Gauge] = field(default_factory=dict)
    histograms: Mapping[str, Names] = field(default_factory=dict)


def known_engines() -> tuple[EngineNames, ...]:
    """The tables of all engines, by file name."""
    from runners.telemetry import names

    modules = sorted(found.name for found in pkgutil.iter_modules(names.__path__))
    return tuple(importlib.import_module(f"{names.__name__}.{name}").NAMES for name in modules)


def names_spoken(metrics: Collection[str]) -> EngineNames | None:
    """The table with most counters among `metrics` (sample names); None where none fits."""

    def matches(table: EngineNames) -> int:
        return sum(any(name in metrics for name in names) for names in table.counters.values())

    best = max(known_engines(), key=matches, default=None)
    return best if best is not None and matches(best) else None

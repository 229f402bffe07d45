"""Every metric of results.json in its order, with unit and formula."""

from dataclasses import dataclass
from typing import Literal

from runners.measure.cost import COST, UNIT_COSTS
from runners.measure.energy import ENERGY
from runners.measure.latency import ADJUSTED, INTER_CHUNK, LATENCIES, QUANTILES
from runners.measure.rates import GOODPUT_FRACTION, RATES
from runners.measure.server import RATIOS


@dataclass(frozen=True)
class Fact:
    """A value that start-up told. missing: what to say where it did not."""

    name: str
    unit: str
    formula: str
    missing: str


FACTS = (
    Fact(
        "startup_s",
        "s",
        "start of the engine until its first token",
        "the engine was not started by this run",
    ),
    Fact(
        "model_weights_gib",
        "GiB",
        "memory the weights take, from the engine's start-up log",
        "the engine's start-up log did not tell it",
    ),
    Fact(
        "kv_cache_gib",
        "GiB",
        "memory for the KV cache, from the engine's start-up log",
        "the engine's start-up log did not tell it",
    ),
    Fact(
        "kv_cache_tokens",
        "tokens",
        "tokens that fit into the KV cache, from the engine's start-up log",
        "the engine's start-up log did not tell it",
    ),
)


@dataclass(frozen=True)
class Metric:
    """shape: distribution (count, mean, percentiles, max), estimate (with interval), or fact."""

    name: str
    unit: str
    formula: str
    shape: Literal["distribution", "estimate", "fact"]
    extras: tuple[str, ...] = ()


def _priced(name: str) -> tuple[str, ...]:
    """All tell their currency, the first of them all about the price."""
    more = ("price_per_hour", "price_source", "price_date") if name == COST else ()
    return ("currency", *more)


METRICS = (
    *(Metric(m.name, m.unit, m.formula, "distribution", (ADJUSTED,)) for m in LATENCIES),
    Metric(
        INTER_CHUNK,
        "ms",
        "gaps between successive content arrivals of a request, pooled",
        "distribution",
        ("tokens_per_chunk",),
    ),
    *(Metric(m.name, m.unit, m.formula, "estimate") for m in RATES),
    Metric(GOODPUT_FRACTION, "1", "requests within every SLO / ok and failed ones", "estimate"),
    *(Metric(m.name, m.unit, m.formula, "estimate") for m in RATIOS),
    *(Metric(c.name, "currency", c.formula, "estimate", _priced(c.name)) for c in UNIT_COSTS),
    Metric(ENERGY, "J/token", "energy of all GPUs / output tokens", "estimate"),
    *(Metric(m.name, m.unit, m.formula, "fact") for m in FACTS),
)

STATISTICS = ("mean", *QUANTILES)

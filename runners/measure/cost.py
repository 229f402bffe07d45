"""What the measured work costs at the profile's price: formulas and an example in docs/cost.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.measure.latency import Summary
from runners.measure.machines import Machines, Paid, paid_machines
from runners.measure.records import Recorded
from runners.measure.window import Window
from runners.profiles.cost_section import PRICES, Cost

COST = "cost_per_million_output_tokens"
HOURS_PER_MONTH = 730.0
_ADD = "add `cost: {{{key}: <price>, source: <where from>, date: <YYYY-MM>}}` to the profile"
ADD_PRICE = "no price; " + _ADD.format(key="price_per_gpu_hour")
ADD_NODE_PRICE = "no price for a machine without GPUs; " + _ADD.format(key="price_per_node_hour")
ADD_API = (
    "no price of an API to compare with; add "
    "`cost: {api_price_per_million_output_tokens: <price>}` to the profile"
)

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class UnitCost:
    """Price per second / `rate` (a metric, per second) x `per`."""

    name: str
    formula: str
    rate: str
    per: float


UNIT_COSTS = (
    UnitCost(
        COST, "price per second / output tokens per second x 1e6", "output_throughput_tok_s", 1e6
    ),
    UnitCost(
        "cost_per_million_total_tokens",
        "price per second / tokens per second x 1e6",
        "total_throughput_tok_s",
        1e6,
    ),
    UnitCost(
        "cost_per_thousand_requests",
        "price per second / requests per second x 1000",
        "request_throughput_req_s",
        1e3,
    ),
    UnitCost(
        "cost_per_good_request", "price per second / goodput per second", "goodput_req_s", 1.0
    ),
)


@dataclass(frozen=True)
class Bill:
    """What is paid per hour: over the window on average, and at the start."""

    per_hour: float
    per_hour_at_start: float
    machines: Machines
    paid: Paid
    changes: int


def price_per_hour(cost: Cost, machines: Machines) -> float | str:
    """Of all machines together, in the profile's currency; or the line to add."""
    if cost.price_per_node_hour is not None:
        return cost.price_per_node_hour * machines.nodes
    if machines.gpus and cost.price_per_gpu_hour is None:
        return ADD_PRICE
    parts = (
        (cost.price_per_gpu_hour, machines.gpus),
        (cost.price_per_vcpu_hour, machines.vcpus),
        (cost.price_per_gib_hour, machines.memory_gib),
    )
    total = sum(price * amount for price, amount in parts if price is not None)
    return total or ADD_NODE_PRICE


def bill(run: Recorded, window: Window | None) -> Bill | str:
    """What the run's machines cost; or why that is not known."""
    cost = run.profile.cost
    paid = paid_machines(run)
    if isinstance(paid, str):
        return paid if cost.is_known else ADD_PRICE
    span = _unix_window(run, window)
    machines = paid.start if span is None else paid.mean(*span)
    hourly, at_start = (price_per_hour(cost, each) for each in (machines, paid.start))
    if isinstance(hourly, str):
        return hourly
    changes = 0 if span is None else paid.within(*span)
    start = hourly if isinstance(at_start, str) else at_start
    return Bill(hourly, start, machines, paid, changes)


def _unix_window(run: Recorded, window: Window | None) -> tuple[float, float] | None:
    begun = run.load.get("t0_unix_ns")
    if window is None or not isinstance(begun, int):
        return None
    return (begun + window.start_ns) / 1e9, (begun + window.end_ns) / 1e9


def cost_metric(unit: UnitCost, cost: Cost, billed: Bill | str, metrics: Metrics) -> Summary:
    """One unit cost; its interval is that of the rate, inverted."""
    if isinstance(billed, str):
        return Summary(missing={"": billed})
    rate = metrics.get(unit.rate)
    if rate is None or not rate["value"]:
        return Summary(missing={"": f"{unit.rate} was not measured, or is 0"})
    found = scaled_inverse(billed.per_hour / 3600 * unit.per, rate)
    missing = {}
    if found["low"] is None:
        missing["interval"] = f"{unit.rate} has no interval above 0"
    found["currency"] = cost.currency
    if unit.name == COST:
        found |= {"price_per_hour": billed.per_hour}
        found |= {"price_source": cost.source, "price_date": cost.date}
    return Summary(found, missing)


def scaled_inverse(amount: float, rate: Mapping[str, Any]) -> dict[str, Any]:
    """amount / rate, {value, low, high}; without bounds where the rate has none above 0."""
    low, high = rate["low"], rate["high"]
    bounded = low is not None and high is not None and low > 0
    return {
        "value": amount / rate["value"],
        "low": amount / high if bounded else None,
        "high": amount / low if bounded else None,
    }


def cost_section(
    run: Recorded, window: Window | None, billed: Bill | str, metrics: Metrics
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The `cost` part of results.json, and what is missing of it."""
    if isinstance(billed, str):
        return None, {"cost": billed}
    cost, missing = run.profile.cost, {}
    startup = metrics.get("startup_s")
    if startup is None:
        missing["cost.cold_start"] = "the engine was not started by this run"
    even = break_even(cost, metrics)
    if isinstance(even, str):
        missing["cost.break_even"] = even
    idle = idle_share(run, window)
    if idle is None:
        missing["cost.idle_share"] = missing["cost.window"] = "there is no window"
    length = 0.0 if window is None else window.length_s
    section = {
        "price": cost.price,
        "prices": {key: value for key in PRICES if (value := getattr(cost, key)) is not None},
        "currency": cost.currency,
        "kind": cost.kind,
        "source": cost.source,
        "date": cost.date,
        "machines": {**vars(billed.machines), "from": billed.paid.known_from},
        "changes": billed.changes,
        "per_hour": billed.per_hour,
        "window": None if idle is None else billed.per_hour * length / 3600,
        "cold_start": startup and billed.per_hour_at_start * startup["value"] / 3600,
        "idle_share": idle,
        "per_month": _per_month(billed, metrics),
        "break_even": None if isinstance(even, str) else even,
    }
    return section, missing


def _per_month(billed: Bill, metrics: Metrics) -> dict[str, Any]:
    """If this rate is kept up, day and night."""
    seconds = HOURS_PER_MONTH * 3600
    month: dict[str, Any] = {"hours": HOURS_PER_MONTH, "cost": billed.per_hour * HOURS_PER_MONTH}
    for key, name in (
        ("output_tokens", "output_throughput_tok_s"),
        ("requests", "request_throughput_req_s"),
    ):
        rate = metrics.get(name)
        month[key] = rate and {
            bound: None if rate[bound] is None else rate[bound] * seconds
            for bound in ("value", "low", "high")
        }
    return month


def break_even(cost: Cost, metrics: Metrics) -> dict[str, Any] | str:
    """Own machines against an API that is paid by the token; or why not compared.

    share_of_rate: own cost of a token / the API's. Machines that are busy for this share of
    the time, at the measured rate, cost what the API does.
    """
    asked = cost.api_price_per_million_output_tokens
    if asked is None:
        return ADD_API
    own, output = metrics.get(COST), metrics.get("output_throughput_tok_s")
    if own is None or output is None:
        return f"{COST} was not measured"
    more = cost.api_price_per_million_input_tokens
    total = metrics.get("total_throughput_tok_s")
    if more is not None:
        if total is None:
            return "prompt tokens are not known, and the API asks for them"
        asked += more * (total["value"] - output["value"]) / output["value"]
    share = {bound: own[bound] and own[bound] / asked for bound in ("value", "low", "high")}
    verdict = "not shown"
    if share["low"] is not None and share["low"] > 1:
        verdict = "the API"
    elif share["high"] is not None and share["high"] < 1:
        verdict = "own machines"
    return {
        "api_price_per_million_output_tokens": asked,
        "counts": "output tokens" if more is None else "output tokens and the prompts before them",
        "api_price_source": cost.api_price_source,
        "share_of_rate": share,
        "output_tok_s": share["value"] * output["value"],
        "output_tokens_per_month": share["value"] * output["value"] * HOURS_PER_MONTH * 3600,
        "cheaper": verdict,
    }


def idle_share(run: Recorded, window: Window | None) -> float | None:
    """Share of the window in which no request was in flight; None without a window."""
    if window is None or window.length_s <= 0:
        return None
    sent, end = run.requests.sent, run.requests.end
    known = ~np.isnan(sent)
    start = np.clip(sent[known], window.start_ns, window.end_ns)
    stop = np.where(np.isnan(end[known]), window.end_ns, end[known])
    stop = np.clip(stop, window.start_ns, window.end_ns)
    order = np.argsort(start, kind="stable")
    start, stop = start[order], np.maximum.accumulate(stop[order])
    before = np.concatenate([[window.start_ns], stop[:-1]]) if len(stop) else np.empty(0)
    gaps = float(np.maximum(start - before, 0).sum())
    last = float(window.end_ns - (stop[-1] if len(stop) else window.start_ns))
    return (gaps + last) / (window.end_ns - window.start_ns)

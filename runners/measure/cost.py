"""What the measured tokens cost, at the profile's price."""

from typing import Any

from runners.measure.latency import Summary
from runners.profiles.model import Profile

COST = "cost_per_million_output_tokens"
_ADD = "add `cost: {{{key}: <price>, source: <where from>, date: <YYYY-MM>}}` to the profile"
ADD_PRICE = "no price; " + _ADD.format(key="price_per_gpu_hour")
ADD_NODE_PRICE = "no price for a machine without GPUs; " + _ADD.format(key="price_per_node_hour")


def price_per_hour(profile: Profile) -> float | str:
    """Of all replicas together, in the profile's currency; or the line to add."""
    cost, replicas = profile.cost, profile.serving.replicas
    if cost.price_per_node_hour is not None:
        return cost.price_per_node_hour * replicas
    gpus = profile.resources.gpu.count
    if not gpus:
        return ADD_NODE_PRICE
    if cost.price_per_gpu_hour is None:
        return ADD_PRICE
    return cost.price_per_gpu_hour * gpus * replicas


def cost_metric(profile: Profile, output_throughput: dict[str, Any] | None) -> Summary:
    """Price per second / output tokens per second x 1e6, over the window.

    output_throughput: {value, low, high} in tokens/s, or None. Start-up and idle time are
    not in it.
    """
    hourly = price_per_hour(profile)
    if isinstance(hourly, str):
        return Summary(missing={"": hourly})
    if output_throughput is None or not output_throughput["value"]:
        return Summary(missing={"": "output throughput was not measured"})

    def per_million(rate: float | None) -> float | None:
        return hourly / 3600 / rate * 1e6 if rate else None

    low, high = per_million(output_throughput["high"]), per_million(output_throughput["low"])
    missing = {}
    if low is None or high is None:
        missing["interval"] = "output throughput has no interval above 0"
        low = high = None
    metric = {
        "value": per_million(output_throughput["value"]),
        "low": low,
        "high": high,
        "currency": profile.cost.currency,
        "price_per_hour": hourly,
        "price_source": profile.cost.source,
        "price_date": profile.cost.date,
    }
    return Summary(metric, missing)

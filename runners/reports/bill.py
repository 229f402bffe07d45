"""The bill and the energy of a run, line by line."""

from collections.abc import Iterator, Mapping
from typing import Any

from runners.reports.lines import Line
from runners.reports.wording import DASH, estimate, interval_text, number, value_text

_MACHINES = {"gpus": "GPUs", "nodes": "nodes", "vcpus": "vCPUs", "memory_gib": "GiB"}


def bill_lines(results: Mapping[str, Any]) -> list[Line]:
    """From the parts `cost` and `energy` of results.json; empty where they are null."""
    cost, energy = results.get("cost"), results.get("energy")
    lines = [
        *(_cost(cost) if isinstance(cost, Mapping) else ()),
        *(_energy(energy) if isinstance(energy, Mapping) else ()),
    ]
    return [line for line in lines if line.value != DASH]


def _named(key: str, label: str, stat: Any, unit: str, note: str = "", scale: float = 1) -> Line:
    shown = estimate(stat).scaled(scale)
    return Line(key, label, value_text(shown), interval_text(shown), unit, note)


def _cost(cost: Mapping[str, Any]) -> Iterator[Line]:
    money = str(cost.get("currency") or "")
    machines = cost.get("machines") or {}
    has = [
        f"{machines[key]:g} {word.removesuffix('s') if machines[key] == 1 else word}"
        for key, word in _MACHINES.items()
        if machines.get(key)
    ]
    terms = [str(cost[key]) for key in ("kind", "source", "date") if cost.get(key)]
    yield _named("per_hour", "per hour", cost.get("per_hour"), money, ", ".join([*has, *terms]))
    yield _named("window", "the measured window", cost.get("window"), money)
    yield _named("cold_start", "a cold start", cost.get("cold_start"), money)
    idle = "of the window without a request"
    yield _named("idle_share", "idle share", cost.get("idle_share"), "%", idle, 100)
    month = cost.get("per_month") or {}
    tokens = estimate(month.get("output_tokens")).value
    note = "" if tokens is None else f"{number(tokens / 1e6)} million output tokens at this rate"
    yield _named("per_month", "per month", month.get("cost"), money, note)
    yield from _break_even(cost.get("break_even"), money)


def _break_even(even: Any, money: str) -> Iterator[Line]:
    if not isinstance(even, Mapping):
        return
    api = even.get("api_price_per_million_output_tokens")
    note = f"API: {api:g} {money} per million {even.get('counts')}" if api else ""
    note += f"; cheaper: {even['cheaper']}" if even.get("cheaper") else ""
    share = even.get("share_of_rate")
    yield _named("share_of_rate", "break-even with an API", share, "% busy", note, 100)


def _energy(energy: Mapping[str, Any]) -> Iterator[Line]:
    note = ", ".join(str(energy[key]) for key in ("source", "method") if energy.get(key))
    yield _named("average_w", "power, mean", energy.get("average_w"), "W", note)
    yield _named("idle_w", "power, idle", energy.get("idle_w"), "W", "before the load")
    yield _named("tokens_per_joule", "tokens per joule", energy.get("tokens_per_joule"), "tok/J")
    yield _named("joules", "energy of the window", energy.get("joules"), "J")

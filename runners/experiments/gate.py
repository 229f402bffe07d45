"""Gates: may this go on? A limit that a figure keeps, with its interval, or does not.

A figure passes when the whole of its 95 % interval keeps the limit, fails when the whole of
it breaks the limit, and is undecided otherwise: a lucky run does not pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runners.errors import UsageError
from runners.experiments.difference import Better
from runners.experiments.rounds import check_metric

Outcome = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class Gate:
    """How far a figure may change from the baseline: at most `percent` to the worse."""

    metric: str
    percent: float


@dataclass(frozen=True)
class Judged:
    """What a gate said. text: a sentence with the numbers."""

    metric: str
    outcome: Outcome
    limit: float
    value: float | None
    low: float | None
    high: float | None
    text: str


_GATE = re.compile(r"(?P<metric>[A-Za-z0-9_.]+):(?P<change>[+-]?\d+(\.\d+)?)\s*%")


def read_gate(text: str) -> Gate:
    """Read `ttft_ms.p95:+5%`. Raises UsageError.

    The sign may be left out; it must point to the worse side, since a change to the better
    never breaks a gate.
    """
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"--gate {text}: write METRIC:+PERCENT%, such as ttft_ms.p95:+5% or "
            "output_throughput_tok_s:-5%"
        )
    check_metric(match["metric"], f"--gate {text}")
    return Gate(match["metric"], abs(float(match["change"])))


def judge_change(gate: Gate, found: Mapping[str, Any] | None, better: Better) -> Judged:
    """A gate against a figure of comparison.json (a null ratio is undecided)."""
    worse = 1 + gate.percent / 100 if better == "lower" else 1 - gate.percent / 100
    ratio = (found or {}).get("ratio")
    shown = f"{gate.metric} may be {gate.percent:g} % worse at most"
    if found is None or ratio is None or found.get("verdict") == "not comparable":
        why = (found or {}).get("why") or "it could not be compared"
        return Judged(gate.metric, "undecided", worse, None, None, None, f"{shown}: {why}")
    value, low, high = ratio["value"], ratio["low"], ratio["high"]
    outcome = judged(low, high, worse, better)
    interval = (
        "no interval" if low is None else f"{100 * (low - 1):+.1f} to {100 * (high - 1):+.1f} %"
    )
    text = f"{shown}: it changed by {100 * (value - 1):+.1f} % ({interval})"
    return Judged(gate.metric, outcome, worse, value, low, high, text)


def judged(low: float | None, high: float | None, limit: float, better: Better) -> Outcome:
    """An interval against a limit."""
    if low is None or high is None:
        return "undecided"
    if better == "lower":
        return "pass" if high <= limit else "fail" if low > limit else "undecided"
    return "pass" if low >= limit else "fail" if high < limit else "undecided"

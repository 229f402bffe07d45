"""Service level objectives of a whole run, and whether a run has shown that it keeps them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from runners.errors import UsageError
from runners.experiments.compare import tested
from runners.experiments.gate import Outcome, judged
from runners.experiments.rounds import check_metric, stat_of, why_missing
from runners.measure.statistics import wilson

ERROR_RATE = "error_rate"
# The normal quantile of 95 %, squared.
Z2 = 1.959964**2
OF_A_REQUEST = ("ttft_ms", "tpot_ms", "e2e_latency_ms")
_LIMIT = re.compile(r"(?P<sign><=|>=)\s*(?P<number>\d+(\.\d*)?([eE][-+]?\d+)?)")


@dataclass(frozen=True)
class Objective:
    """A limit of a figure. sign: `<=` (at most) or `>=` (at least)."""

    metric: str
    sign: Literal["<=", ">="]
    limit: float


@dataclass(frozen=True)
class Checked:
    """What the run says of an objective.

    low, high: the 95 % interval. more_requests: about how many more would decide it, for an
    undecided one whose interval narrows with more requests. text: a sentence.
    """

    objective: Objective
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    more_requests: int | None
    text: str


def read_objectives(file: Path) -> list[Objective]:
    """Objectives of a YAML file: `slo:` of a profile, or a mapping of figures to limits.

    Raises UsageError.
    """
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--slo {file}: cannot be read: {' '.join(str(error).split())}") from error
    if isinstance(data, dict) and isinstance(data.get("slo"), dict):
        data = data["slo"].get("limits") or {}
    if not isinstance(data, dict) or not data:
        raise UsageError(f"--slo {file}: write figures with limits, such as `ttft_ms.p95: 500`")
    return objectives(data, f"--slo {file}")


def objectives(limits: Mapping[str, Any], where: str) -> list[Objective]:
    """`{"ttft_ms.p95": 500, "goodput_fraction": ">= 0.99"}` as objectives. Raises UsageError.

    A bare number is the limit on the worse side: the most of a latency, the least of a rate.
    """
    return [_objective(str(metric), limit, where) for metric, limit in limits.items()]


def _objective(metric: str, limit: Any, where: str) -> Objective:
    if metric in OF_A_REQUEST:
        raise UsageError(
            f"{where}: {metric} limits each request and makes goodput, which is counted while "
            f"measuring: put it into the profile's slo, and here a figure such as {metric}.p95"
        )
    if metric != ERROR_RATE:
        check_metric(metric, where)
    lower = metric == ERROR_RATE or tested(metric).better == "lower"
    if isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit):
        return Objective(metric, "<=" if lower else ">=", float(limit))
    match = _LIMIT.fullmatch(str(limit).strip())
    if match is None:
        raise UsageError(f"{where}: {metric}: write a number, or `<= 500`, or `>= 0.99`")
    return Objective(metric, "<=" if match["sign"] == "<=" else ">=", float(match["number"]))


def check_run(results: Mapping[str, Any], asked: list[Objective]) -> list[Checked]:
    """Each objective against a run's results.json. An invalid, empty or interrupted run passes
    nothing."""
    spoilt = _spoilt(results)
    return [_spoiled(each, spoilt) if spoilt else _check(each, results) for each in asked]


def check_group(summary: Mapping[str, Any], asked: list[Objective]) -> list[Checked]:
    """Each objective against the means over the runs of a group of repeats (group.json)."""
    spoilt = None
    if summary["verdict"]["status"] in (None, "invalid") or not summary.get("metrics"):
        spoilt = "no valid runs of one load are in this group"
    elif summary["state"] != "done":
        spoilt = f"the group is {summary['state']}"
    found = []
    for each in asked:
        stat = (summary.get("metrics") or {}).get(each.metric)
        if spoilt or stat is None:
            found.append(_spoiled(each, spoilt or "it was not measured"))
        else:
            found.append(_judge(each, stat["mean"], stat["low"], stat["high"], None))
    return found


def _spoilt(results: Mapping[str, Any]) -> str | None:
    if results["verdict"]["status"] == "invalid":
        return f"the run is invalid: {'; '.join(results['verdict']['reasons'])}"
    if results.get("interrupted"):
        return "the run was interrupted"
    if not results["requests"]["ok"]:
        return "no request was answered"
    return None


def _spoiled(asked: Objective, why: str) -> Checked:
    return Checked(asked, "fail", None, None, None, None, f"{_said(asked)}: {why}")


def _check(asked: Objective, results: Mapping[str, Any]) -> Checked:
    if asked.metric == ERROR_RATE:
        value, low, high, count = _error_rate(results["requests"])
        return _judge(asked, value, low, high, count)
    stat = stat_of(results, asked.metric)
    if "value" not in stat or stat["value"] is None:
        why = f"{_said(asked)}: not measured: {why_missing(results, asked.metric)}"
        return Checked(asked, "undecided", None, None, None, None, why)
    count = results["requests"].get("in_window")
    judged_so = _judge(asked, stat["value"], stat.get("low"), stat.get("high"), count)
    lacks = (results.get("not_measured") or {}).get(f"{asked.metric}.interval")
    if not lacks:
        return judged_so
    more, text = _more_for_interval(str(lacks), count or 0), f"{judged_so.text}: {lacks}"
    if more is not None and judged_so.outcome == "undecided":
        text += f"; about {more} more requests would decide"
        return replace(judged_so, text=text, more_requests=more)
    return replace(judged_so, text=text)


def _error_rate(requests: Mapping[str, Any]) -> tuple[float, float, float, int]:
    """(value, low, high, count): failed of all, Wilson's 95 % interval."""
    count = requests["ok"] + requests["failed"]
    share = requests["failed"] / count
    return share, *wilson(share, count, Z2), count


def _judge(
    asked: Objective, value: float, low: float | None, high: float | None, count: int | None
) -> Checked:
    better: Literal["lower", "higher"] = "lower" if asked.sign == "<=" else "higher"
    outcome = judged(low, high, asked.limit, better)
    interval = "no interval" if low is None or high is None else f"{low:.4g} to {high:.4g}"
    text = f"{_said(asked)}: it is {value:.4g} ({interval})"
    more = None
    if outcome == "undecided":
        more = _more(asked.limit, value, low, high, count)
        if asked.metric == ERROR_RATE and count:
            more = _more_for_share(asked.limit, value, count)
        if more is not None:
            text += f"; about {more} more requests would decide"
    return Checked(asked, outcome, value, low, high, more, text)


def _more(
    limit: float, value: float, low: float | None, high: float | None, count: int | None
) -> int | None:
    """Intervals narrow with the square root of the number of requests."""
    if low is None or high is None or not count or value == limit:
        return None
    half = high - value if value < limit else value - low
    needed = count * (half / abs(value - limit)) ** 2
    return max(1, math.ceil(needed - count)) if needed < 1e9 else None


def _more_for_share(limit: float, share: float, count: int) -> int | None:
    """Requests until Wilson's interval of the same share leaves the limit out."""
    if share == limit:
        return None
    total = count
    while total < 10**9:
        low, high = wilson(share, total, Z2)
        if not low <= limit <= high:
            return max(1, total - count)
        total = math.ceil(1.02 * total) + 1
    return None


def _more_for_interval(lacks: str, count: int) -> int | None:
    """From the reason why a percentile has no interval: `44 …, 72 needed`."""
    numbers = re.search(r"(\d+)(?: samples)?, (\d+) needed", lacks)
    if numbers is None or not int(numbers[1]):
        return None
    # Some to spare, since how much samples depend on each other is only estimated.
    return math.ceil(count * 1.2 * int(numbers[2]) / int(numbers[1])) - count


def _said(asked: Objective) -> str:
    most = "at most" if asked.sign == "<=" else "at least"
    return f"{asked.metric} {most} {asked.limit:g}"

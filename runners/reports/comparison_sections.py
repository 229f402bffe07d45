"""comparison.json as rows to show: verdicts, gates, and what differs between the sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runners.reports.group_sections import labelled, named
from runners.reports.run_facts import without_secrets
from runners.reports.wording import DASH, Estimate, number, values_text

ARROWS = {"lower": "↓", "higher": "↑"}
_SHOWN = ("better", "worse", "no difference shown", "not comparable")


@dataclass(frozen=True)
class FigureRow:
    """A figure of both sides. tone: a class of report.css; needed: rounds that show 5 %."""

    key: str
    label: str
    baseline: str
    value: str
    change: str
    interval: str
    p: str
    effect: str
    needed: str
    verdict: str
    tone: str
    why: str


@dataclass(frozen=True)
class Pair:
    """A side against the baseline. missing: (why, figures) that neither verdict nor value have."""

    side: str
    baseline: str
    rounds: int
    headline: str
    rows: Sequence[FigureRow]
    missing: Sequence[tuple[str, Sequence[str]]]
    gates: Sequence[tuple[str, str]]
    obstacles: Sequence[str]
    forced: bool
    remarks: Sequence[str]
    differs: Sequence[tuple[str, str, str]]


def pairs_of(comparison: Mapping[str, Any]) -> list[Pair]:
    """Every side against the baseline, as it is told."""
    return [_pair(pair) for pair in comparison["comparisons"]]


def _pair(pair: Mapping[str, Any]) -> Pair:
    told = {key: found for key, found in pair["metrics"].items() if "value" in found}
    missing: dict[str, list[str]] = {}
    for key, found in pair["metrics"].items():
        if key not in told:
            missing.setdefault(str(found.get("why")), []).append(labelled(key))
    return Pair(
        side=pair["side"],
        baseline=pair["baseline"],
        rounds=pair["rounds"],
        headline=headline(pair),
        rows=[_row(key, found) for key, found in told.items()],
        missing=list(missing.items()),
        gates=[(gate["outcome"], gate["text"]) for gate in pair["gates"]],
        obstacles=pair["obstacles"],
        forced=pair["forced"],
        remarks=pair["remarks"],
        differs=differing(pair["differs"]),
    )


def conclusion(comparison: Mapping[str, Any]) -> str:
    """The verdicts of all pairs in a sentence."""
    told = [
        f"{pair['side']} against {pair['baseline']}: {headline(pair)}"
        for pair in comparison["comparisons"]
    ]
    return "; ".join(told)


def headline(pair: Mapping[str, Any]) -> str:
    """`worse in 3 figures, better in 1; no difference shown in 6`."""
    if not pair["metrics"]:
        return "not compared"
    verdicts = [found["verdict"] for found in pair["metrics"].values() if "value" in found]
    counts = {name: verdicts.count(name) for name in _SHOWN}
    parts = [
        f"{name}{' in' if name != 'not comparable' else ':'} {_figures(counts[name])}"
        for name in _SHOWN
        if counts[name]
    ]
    return ", ".join(parts) or "nothing was measured on both sides"


def _figures(count: int) -> str:
    return "1 figure" if count == 1 else f"{count} figures"


def _row(key: str, found: Mapping[str, Any]) -> FigureRow:
    scale = named(key).scale
    estimates = [Estimate(found[name]).scaled(scale) for name in ("baseline", "value")]
    both = values_text(estimates).split(", ")
    ratio = found["ratio"]
    verdict = found["verdict"]
    needed = (found.get("rounds_needed") or {}).get("5 %")
    return FigureRow(
        key=key,
        label=f"{labelled(key)} {ARROWS[found['better']]}",
        baseline=both[0],
        value=both[1],
        change=percent(ratio["value"]) if ratio else _step(found, "value", scale),
        interval=_interval(found, scale),
        p=p_text(found["p_holm"]),
        effect=DASH if found["effect"] is None else number(round(found["effect"], 1) + 0.0, 1),
        needed=DASH if needed is None else str(needed),
        verdict=verdict,
        tone="none-shown" if verdict == _SHOWN[2] else verdict.replace(" ", "-"),
        why=found["why"] or "",
    )


def percent(ratio: float) -> str:
    """A ratio as a change: `+4.2 %`; twice and more as a factor."""
    if ratio >= 3:
        return f"× {ratio:.3g}"
    change = 100 * (ratio - 1)
    places = 1 if abs(change) >= 0.1 or change == 0 else 2
    return f"{change:+.{places}f} %"


def _step(found: Mapping[str, Any], name: str, scale: float) -> str:
    """Where there is no ratio, the plain difference."""
    value = found["difference"][name]
    return DASH if value is None else f"{value * scale:+.4g}"


def _interval(found: Mapping[str, Any], scale: float) -> str:
    ratio = found["ratio"]
    if ratio and ratio["low"] is not None:
        return f"{percent(ratio['low'])} … {percent(ratio['high'])}"
    if ratio or found["difference"]["low"] is None:
        return DASH
    return f"{_step(found, 'low', scale)} … {_step(found, 'high', scale)}"


def p_text(p: float | None) -> str:
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def differing(differs: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, the baseline's value, the side's), without credentials."""
    return [
        (key, _said(_without_secret(key, both[0])), _said(_without_secret(key, both[1])))
        for key, both in differs.items()
    ]


def _without_secret(key: str, value: Any) -> Any:
    last = key.rpartition(".")[2]
    return without_secrets({last: value})[last]


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)


def statuses_text(comparison: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(side, `3 runs: 2 valid, 1 degraded; vllm 0.32.0, llama`)."""
    told = []
    for side in comparison["sides"]:
        counts = ", ".join(f"{count} {status}" for status, count in side["statuses"].items())
        engine = side.get("engine") or {}
        about = [" ".join(str(v) for v in engine.values() if v), side.get("model")]
        what = ", ".join(str(part) for part in about if part)
        runs = "1 run" if len(side["runs"]) == 1 else f"{len(side['runs'])} runs"
        told.append((side["name"], f"{runs}: {counts}" + (f"; {what}" if what else "")))
    return told

"""The comparison of sides that were run: every figure, how sure the difference is, a verdict."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runners.experiments.difference import (
    FEWEST_ROUNDS,
    Better,
    Difference,
    Value,
    as_json,
    holm,
    paired,
    verdict,
)
from runners.experiments.gate import Gate, Judged, judge_change
from runners.experiments.rounds import Finished, stat_of
from runners.experiments.sides import (
    Side,
    measured,
    obstacles,
    other_answers,
    paired_runs,
    what_differs,
)
from runners.measure.statistics import CONFIDENCE

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Tested:
    """A figure that gets a verdict. whole: it is about whole requests, so that answers of
    another length make it incomparable."""

    name: str
    better: Better
    whole: bool = False


# Few on purpose: each further figure makes Holm's correction stricter for all of them.
TESTED = (
    Tested("ttft_ms.mean", "lower"),
    Tested("ttft_ms.p50", "lower"),
    Tested("ttft_ms.p95", "lower"),
    Tested("ttft_ms.p99", "lower"),
    Tested("tpot_ms.mean", "lower"),
    Tested("tpot_ms.p95", "lower"),
    Tested("e2e_latency_ms.p50", "lower", whole=True),
    Tested("e2e_latency_ms.p95", "lower", whole=True),
    Tested("request_throughput_req_s", "higher", whole=True),
    Tested("output_throughput_tok_s", "higher"),
    Tested("goodput_req_s", "higher", whole=True),
    Tested("cost_per_million_output_tokens", "lower"),
    Tested("energy_j_per_output_token", "lower"),
)


def tested(name: str) -> Tested:
    """What a gate may name besides: any latency (lower is better) or rate (higher)."""
    known = {each.name: each for each in TESTED}
    rate = name.endswith(("_s", "_fraction", "_rate", "_length"))
    return known.get(name) or Tested(name, "higher" if rate else "lower")


def compare(
    sides: Sequence[Side],
    *,
    gates: Sequence[Gate] = (),
    subject: Sequence[str] = (),
    forced: bool = False,
) -> dict[str, Any]:
    """Every side against the first, as comparison.json holds it (docs/compare.md).

    subject: profile keys that differ on purpose. forced: compare in spite of obstacles, which
    stay named.
    """
    baseline, *others = sides
    return {
        "schema_version": SCHEMA_VERSION,
        "baseline": baseline.name,
        "simulated": any(side.simulated for side in sides),
        "statistics": {
            "confidence": CONFIDENCE,
            "correction": "Holm, over the figures of one pair",
            "tested": [each.name for each in TESTED],
        },
        "sides": [_side_json(side) for side in sides],
        "comparisons": [
            _pair_json(baseline, side, gates, subject, forced=forced) for side in others
        ],
    }


def _side_json(side: Side) -> dict[str, Any]:
    statuses = [run.results["verdict"]["status"] for run in side.runs]
    return {
        "name": side.name,
        "runs": [run.run for run in side.runs],
        "statuses": {name: statuses.count(name) for name in dict.fromkeys(statuses)},
        "engine": side.runs[0].results["engine"] if side.runs else None,
        "model": side.runs[0].results["model"] if side.runs else None,
        "simulated": side.simulated,
    }


def _pair_json(
    baseline: Side, other: Side, gates: Sequence[Gate], subject: Sequence[str], *, forced: bool
) -> dict[str, Any]:
    pairs = paired_runs(baseline, other)
    against = obstacles(baseline, other, subject)
    if not pairs:
        against.append("no valid run of one side has the seed of a valid run of the other")
    usable = bool(pairs) and (forced or not against)
    figures = _figures(baseline, other, pairs, gates) if usable else {}
    return {
        "side": other.name,
        "baseline": baseline.name,
        "comparable": not against,
        "forced": forced and bool(against),
        "obstacles": against,
        "differs": {key: list(both) for key, both in what_differs(baseline, other).items()},
        "rounds": len(pairs),
        "remarks": _remarks(baseline, other, pairs),
        "metrics": figures,
        "gates": [asdict(_gated(gate, figures.get(gate.metric))) for gate in gates],
    }


def _remarks(baseline: Side, other: Side, pairs: Sequence[tuple[Finished, Finished]]) -> list[str]:
    found = [remark] if (remark := other_answers(baseline, other)) else []
    if 0 < len(pairs) < FEWEST_ROUNDS:
        found.append(
            f"{len(pairs)} round{'s' * (len(pairs) > 1)}: what differs from run to run is in no "
            f"interval; {FEWEST_ROUNDS} rounds or more would show it"
        )
    left = max(len(baseline.runs), len(other.runs)) - len(pairs)
    if left:
        found.append(f"{left} round{'s' * (left > 1)} left out: a run is missing or invalid")
    degraded = sum(run.results["verdict"]["status"] == "degraded" for pair in pairs for run in pair)
    if degraded:
        found.append(f"{degraded} of {2 * len(pairs)} runs are degraded: {_reasons(pairs)}")
    return found


def _reasons(pairs: Sequence[tuple[Finished, Finished]], most: int = 3) -> str:
    """Why runs are degraded; reasons that differ only in their numbers are told once."""
    told: dict[str, str] = {}
    for pair in pairs:
        for run in pair:
            for reason in run.results["verdict"]["reasons"]:
                told.setdefault(re.sub(r"\d[\d.,]*", "#", reason), reason)
    more = f"; and {len(told) - most} more" if len(told) > most else ""
    return "; ".join(list(told.values())[:most]) + more


def _figures(
    baseline: Side,
    other: Side,
    pairs: Sequence[tuple[Finished, Finished]],
    gates: Sequence[Gate],
) -> dict[str, Any]:
    """Dotted name → the difference with its verdict, or why there is none."""
    names = dict.fromkeys([*(each.name for each in TESTED), *(gate.metric for gate in gates)])
    found: dict[str, Difference | None] = {}
    for name in names:
        both = measured(pairs, name)
        values = [[_value(run, name) for run in side] for side in zip(*both, strict=True)]
        found[name] = paired(values[0], values[1]) if values else None
    in_family = [name for name in names if found[name] is not None]
    adjusted = dict(zip(in_family, holm([_p(found[name]) for name in in_family]), strict=True))
    answers = other_answers(baseline, other)
    return {
        name: _figure_json(tested(name), found[name], adjusted.get(name), answers) for name in names
    }


def _p(found: Difference | None) -> float | None:
    return found.p if found else None


def _value(run: Finished, name: str) -> Value:
    stat = stat_of(run.results, name)
    return Value(stat["value"], stat.get("low"), stat.get("high"))


def _figure_json(
    about: Tested, found: Difference | None, adjusted: float | None, answers: str | None
) -> dict[str, Any]:
    if found is None:
        return {"verdict": "not comparable", "why": "it was not measured on both sides"}
    said, why = verdict(found, adjusted, about.better), None
    if about.whole and answers:
        said, why = "not comparable", answers
    elif found.p is None:
        said, why = "not comparable", "too few samples in the runs, and too few rounds, to judge"
    return {
        "verdict": said,
        "why": why,
        "better": about.better,
        **as_json(found),
        "p_holm": adjusted,
    }


def _gated(gate: Gate, found: Mapping[str, Any] | None) -> Judged:
    return judge_change(gate, found, tested(gate.metric).better)

"""Which part of a run is its steady state: the window, chosen as the profile asks."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runners.measure.records import Ints, Recorded
from runners.measure.series import Series, load_series
from runners.measure.steady import (
    CERTAIN,
    Change,
    Swing,
    drift,
    shift,
    swing,
    truncation,
)
from runners.measure.window import (
    STEADY_PATTERNS,
    Window,
    fixed_window,
    snapped,
    warmup_s,
    whole_window,
)

SHORTEST_S, FEWEST_REQUESTS = 10.0, 50
LEAST_SHARE = 0.25
# A closed loop beats with the length of a request; a swing has to be slower than that.
LATENCIES_PER_SWING_BATCH = 2.0


@dataclass(frozen=True)
class Settling:
    """Where one series settles (ns); begins None: it does not in the first half."""

    series: Series
    begins: float | None
    ends: float
    reason: str


def find_window(run: Recorded, scrapes_ns: Ints) -> Window | None:
    """The window of a run; None where no measured request was even due."""
    requests = run.requests
    if run.profile.load.window == "none":
        window = whole_window(requests)
    else:
        window = fixed_window(requests)
        if window is not None and run.profile.load.window == "detect":
            window = _detected(run, window)
    return None if window is None else snapped(window, requests, scrapes_ns)


def why_not_looked_for(run: Recorded, window: Window) -> str | None:
    """Why a steady state cannot be looked for in a window with fixed edges."""
    if run.pattern not in STEADY_PATTERNS:
        return f"load pattern {run.pattern} changes by plan"
    if window.length_s < SHORTEST_S:
        return f"{window.length_s:.1f} s of load, {SHORTEST_S:g} s needed"
    requests = run.requests
    count = int((requests.ok & ~requests.warmup & window.began(requests.begun)).sum())
    if count < FEWEST_REQUESTS:
        return f"{count} answered requests, {FEWEST_REQUESTS} needed"
    return None


def _detected(run: Recorded, fixed: Window) -> Window:
    """The fixed window shortened to where every series has settled, or as it was."""
    why = why_not_looked_for(run, fixed)
    if why is not None:
        return replace(fixed, reason=f"steady state not looked for: {why}; {fixed.reason}")
    change = run.profile.validity.steady_change
    series, missing = load_series(run, fixed.start_ns, fixed.end_ns)
    settled = [_settling(one, fixed, change) for one in series]
    start = max((s.begins for s in settled if s.begins is not None), default=fixed.start_ns)
    end = min((s.ends for s in settled), default=fixed.end_ns)
    start_ns, end_ns = int(np.ceil(start)), int(end)
    little = end_ns - start_ns < LEAST_SHARE * (fixed.end_ns - fixed.start_ns)
    if little:
        start_ns, end_ns = fixed.start_ns, fixed.end_ns
    facts: dict[str, Any] = {name: {"missing": reason} for name, reason in missing.items()}
    unsteady: list[str] = []
    for one in settled:
        facts[one.series.name], said = _judged(run, one, fixed, (start_ns, end_ns))
        unsteady += said
    if little:
        unsteady.append(f"only {LEAST_SHARE:.0%} of the load or less is free of start and end")
    reason = _reason(fixed, settled, start_ns, end_ns)
    return Window(
        start_ns,
        end_ns,
        "mser",
        warmup_s(run.requests, start_ns),
        reason,
        load_on=fixed.load_on,
        steady=not unsteady,
        unsteady=tuple(unsteady),
        series=facts,
    )


def _settling(series: Series, fixed: Window, change: float) -> Settling:
    """MSER-5 from the front, and from the back where a fall means that the load went away."""
    begins: float | None = fixed.start_ns
    ends, said = float(fixed.end_ns), []
    # A line that rises by `change` over the window has halves half of it apart.
    front = truncation(series.values, change / 2)
    if front is None:
        return Settling(series, begins, ends, f"{len(series.values)} points are too few for MSER-5")
    if not front.settled:
        return Settling(series, None, ends, "MSER-5 would drop half of it or more")
    kept = series.values[front.kept_from :]
    if front.kept_from:
        begins = float(series.starts[front.kept_from])
        said.append(f"first {(begins - fixed.start_ns) / 1e9:.2f} s cut by MSER-5")
    if series.of_load and fixed.load_on:
        back = truncation(kept[::-1], change / 2)
        cut = back.kept_from if back is not None and back.settled else 0
        if cut and kept[-cut:].mean() < kept[:-cut].mean():
            ends = float(series.ends[-1 - cut])
            said.append(f"last {(fixed.end_ns - ends) / 1e9:.2f} s cut by MSER-5 from the back")
    return Settling(series, begins, ends, "; ".join(said) or "settled from the start")


def _judged(
    run: Recorded, one: Settling, fixed: Window, edges: tuple[int, int]
) -> tuple[dict[str, Any], list[str]]:
    """What results.json says of one series, and in words what is not steady about it.

    Drift and swings are looked for in the window that was chosen in the end.
    """
    series, limit = one.series, run.profile.validity.steady_change
    inside = series.within(*edges)
    drifts = drift(inside.values)
    length = (edges[1] - edges[0]) / 1e6
    swings = swing(inside.values, int(length / max(1e-9, _beat_ms(run))))
    period_s = None if swings is None else swings.period * length / 1e3 / len(inside.values)
    said: list[str] = []
    if drifts is not None and drifts.p < CERTAIN and abs(drifts.change) > limit:
        said.append(f"{series.name} drifts ({drifts.change:+.0%} over the window)")
    if swings is not None and swings.p < CERTAIN and swings.amplitude > limit:
        said.append(f"{series.name} oscillates (±{swings.amplitude:.0%} every {period_s:.1f} s)")
    shifts = shift(inside.values)
    if shifts is not None and shifts.p < CERTAIN and shifts.change > limit and not said:
        said.append(f"{series.name} shifts (its quarters differ by {shifts.change:.0%})")
    reason = "; ".join([one.reason, *said])
    if one.begins is None and not said:
        said.append(f"{series.name} has not settled in the first half of the load")
    facts = {
        "points": len(series.values),
        "interval_s": series.interval_s,
        "start_s": None if one.begins is None else one.begins / 1e9,
        "end_s": one.ends / 1e9,
        "settled": one.begins is not None,
        "drift": _change_json(drifts),
        "shift": _change_json(shifts),
        "oscillation": _swing_json(swings, period_s),
        "reason": reason,
    }
    return facts, said


def _beat_ms(run: Recorded) -> float:
    """Shortest batch in which the beat of a closed loop averages out."""
    requests = run.requests
    latency = (requests.last - requests.sent)[requests.ok & ~requests.warmup] / 1e6
    known = latency[~np.isnan(latency)]
    return LATENCIES_PER_SWING_BATCH * float(np.median(known)) if len(known) else np.inf


def _change_json(found: Change | None) -> dict[str, float] | None:
    return None if found is None else {"change": found.change, "p": found.p}


def _swing_json(found: Swing | None, period_s: float | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"period_s": period_s, "amplitude": found.amplitude, "p": found.p}


def _reason(fixed: Window, settled: list[Settling], start_ns: int, end_ns: int) -> str:
    """Which series set the edges."""
    said = []
    if start_ns > fixed.start_ns:
        late = max(settled, key=lambda one: one.begins or fixed.start_ns)
        said.append(f"starts {(start_ns - fixed.start_ns) / 1e9:.2f} s after the warm-up")
        said[-1] += f", when {late.series.name} had settled (MSER-5)"
    elif all(one.begins is not None for one in settled):
        said.append("starts with the first measured send, settled by then (MSER-5)")
    else:
        said.append("starts with the first measured send")
    if end_ns < fixed.end_ns:
        early = min(settled, key=lambda one: one.ends)
        said.append(f"ends before the last send, when {early.series.name} fell (MSER-5)")
    elif fixed.load_on:
        said.append("ends with the last send; the drain after it does not count")
    else:
        said.append("ends with the last arrival: the last send would keep less than half of it")
    return "; ".join(said)

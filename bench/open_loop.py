"""(d) Open loop: what arrives at the server against the plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.clients import Work, ours, run_directory
from bench.mock import Floats, Ints, Timetable, Truth
from bench.tables import show, spread
from bench.trial import trial

TIMETABLE = Timetable(ttft_ms=20, itl_ms=5)
TOKENS = 32
_MEAN_COUNT = 2.0


@dataclass(frozen=True)
class Arrivals:
    """Arrivals by the server's kernel stamps. lag: arrival after the intended instant;
    send_lag: by our own record. gap CV: standard deviation of gaps over their mean.
    dispersion: variance over mean of counts in windows of two mean gaps, of the plan too;
    dispersion_se: what chance alone gives it."""

    achieved: float
    lag_p50_ms: float
    lag_p99_ms: float
    send_lag_p99_ms: float
    gap_cv: float
    planned_gap_cv: float
    dispersion: float
    planned_dispersion: float
    dispersion_se: float


def gap_cv(times: Ints | Floats) -> float:
    gaps = np.diff(np.sort(times))
    return float(gaps.std() / gaps.mean())


def dispersion(times: Ints | Floats, window: float) -> float:
    """Variance over mean of counts in windows of `window`: 1 for a Poisson process.

    Windows begin a quarter of their length early, so that even arrivals meet no edge.
    """
    since = window / 4 + np.asarray(np.sort(times) - np.min(times), dtype=np.float64)
    whole = int(since[-1] // window)
    counts = np.bincount((since // window).astype(np.int64))[:whole]
    return float(counts.var(ddof=1) / counts.mean())


def arrivals_of(run: Path, truth: Truth, rate: float) -> Arrivals:
    """From a run directory and the server's log of it; one row per request in both."""
    import json

    import pyarrow.parquet as pq

    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    t0 = environment["load"]["t0_monotonic_ns"]
    table = pq.read_table(run / "requests.parquet").to_pandas().sort_values("sent_ns")
    planned = pq.read_table(run / "schedule.parquet")["intended_ns"].to_numpy()
    intended = table["intended_ns"].to_numpy()
    lag = (truth.arrival - t0 - intended) / 1e6
    send_lag = (table["sent_ns"].to_numpy() - intended) / 1e6
    window = _MEAN_COUNT / rate * 1e9
    windows = len(planned) / _MEAN_COUNT
    span = truth.arrival[-1] - truth.arrival[0]
    return Arrivals(
        float((len(truth.arrival) - 1) / span / ((len(planned) - 1) / np.ptp(planned))),
        float(np.percentile(lag, 50)),
        float(np.percentile(lag, 99)),
        float(np.percentile(send_lag, 99)),
        gap_cv(truth.arrival),
        gap_cv(planned),
        dispersion(truth.arrival, window),
        dispersion(planned, window),
        float(np.sqrt((2 + 1 / _MEAN_COUNT) / windows)),
    )


def measure(
    rates: Sequence[float], patterns: Sequence[str], workers: Sequence[int], seconds: float,
    rounds: int,
) -> dict[str, Any]:  # fmt: skip
    """Every rate, pattern and number of workers; prints a table and returns the figures."""
    rows, figures = [], []
    for pattern in patterns:
        for rate in rates:
            for count in workers:
                runs = [_arrivals(rate, pattern, count, seconds) for _ in range(rounds)]
                rows.append(_row(f"{pattern} {rate:g}/s, {count} workers", runs))
                figures.append(
                    {
                        "rate": rate,
                        "pattern": pattern,
                        "workers": count,
                        "runs": [vars(run) for run in runs],
                    }
                )
    columns = (
        "open loop", "achieved %", "arrival lag p50", "p99 ms", "send lag p99 ms", "gap CV",
        "planned", "dispersion", "planned", "± chance",
    )  # fmt: skip
    show(f"Open loop, {seconds:g} s each, 20/5 ms, 32 tokens", columns, rows)
    return {"arrivals": figures}


def _arrivals(rate: float, pattern: str, workers: int, seconds: float) -> Arrivals:
    work = Work(round(rate * seconds), TOKENS, rate=rate, pattern=pattern, workers=workers)
    with trial(ours(), work, TIMETABLE) as done:
        assert done.truth is not None
        return arrivals_of(run_directory(done.folder), done.truth, rate)


def _row(name: str, runs: Sequence[Arrivals]) -> tuple[str, ...]:
    def of(field: str, digits: int, factor: float = 1.0) -> str:
        return spread([getattr(run, field) * factor for run in runs], digits)

    return (
        name,
        of("achieved", 2, 100),
        of("lag_p50_ms", 3),
        of("lag_p99_ms", 2),
        of("send_lag_p99_ms", 2),
        of("gap_cv", 3),
        of("planned_gap_cv", 3),
        of("dispersion", 2),
        of("planned_dispersion", 2),
        f"{runs[0].dispersion_se:.2f}",
    )

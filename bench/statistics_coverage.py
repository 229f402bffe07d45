"""How often do the 95 % intervals of results.json hold the truth? Simulated series with known
mean, p50 and p95: latencies of queues (waiting + service) and of an autoregressive process.

    python bench/statistics_coverage.py [--quick] [--runs N] [--seed S]

The queues are M/G/1 by Lindley's recursion, service time 1 on average. Truth: in closed form
for exponential service; for lognormal service the Pollaczek-Khinchine formula gives the mean
and its geometric sum of residual services, on a fine grid, the percentiles.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from runners.measure.statistics import mean_bounds, quantile_bounds

Floats = npt.NDArray[np.float64]
Service = Callable[[np.random.Generator, int], Floats]

RUNS, QUICK_RUNS = 1000, 200
QUANTILES = {"p50": 0.50, "p95": 0.95}
LOGNORMAL_SIGMA = 1.0


@dataclass(frozen=True)
class Cell:
    """A process, its length, and the truth by statistic. hard: shown, but no bar applies."""

    name: str
    draw: Callable[[np.random.Generator], Floats]
    truth: Callable[[], dict[str, float]]
    hard: bool = False


@dataclass(frozen=True)
class Coverage:
    """share: of the intervals given, how many held the truth. given: share of series with one."""

    share: float
    given: float


def exponential(generator: np.random.Generator, count: int) -> Floats:
    return generator.exponential(1.0, count)


def lognormal(generator: np.random.Generator, count: int) -> Floats:
    return generator.lognormal(-(LOGNORMAL_SIGMA**2) / 2, LOGNORMAL_SIGMA, count)


def queue(
    service: Service, utilisation: float, count: int, burn_in: int
) -> Callable[[np.random.Generator], Floats]:
    """Time in system of `count` successive customers, after `burn_in` others."""

    def draw(generator: np.random.Generator) -> Floats:
        served = service(generator, count + burn_in)
        gaps = generator.exponential(1 / utilisation, count + burn_in)
        walk = np.cumsum(np.concatenate([[0.0], served[:-1] - gaps[1:]]))
        waited = walk - np.minimum.accumulate(walk)
        return np.asarray((waited + served)[burn_in:], np.float64)

    return draw


def autoregressive(coefficient: float, count: int) -> Callable[[np.random.Generator], Floats]:
    """AR(1) with mean 0 and variance 1."""
    from scipy.signal import lfilter

    def draw(generator: np.random.Generator) -> Floats:
        noise = generator.normal(size=count + 1000) * math.sqrt(1 - coefficient**2)
        return np.asarray(lfilter([1.0], [1.0, -coefficient], noise)[1000:], np.float64)

    return draw


def exponential_truth(utilisation: float) -> dict[str, float]:
    """Time in system of M/M/1 is exponential."""
    mean = 1 / (1 - utilisation)
    return {"mean": mean, "p50": mean * math.log(2), "p95": mean * math.log(20)}


def lognormal_truth(utilisation: float) -> dict[str, float]:
    """Waiting is a geometric sum of residual services (Pollaczek-Khinchine), plus a service."""
    from scipy.special import ndtr

    step, cells = 0.01, 1 << 18
    centre = np.arange(cells) * step
    edge = centre + step / 2
    share = ndtr((np.log(edge) + LOGNORMAL_SIGMA**2 / 2) / LOGNORMAL_SIGMA)
    service = np.diff(share, prepend=0.0)
    residual = np.empty(cells)
    residual[1:] = np.diff(np.cumsum(1 - share) * step)
    residual[0] = 1 - residual[1:].sum()
    waiting = (1 - utilisation) / (1 - utilisation * np.fft.rfft(residual))
    below = np.cumsum(np.fft.irfft(waiting * np.fft.rfft(service), cells))
    found = {name: float(np.interp(q, below, edge)) for name, q in QUANTILES.items()}
    wait = utilisation * math.exp(LOGNORMAL_SIGMA**2) / (2 * (1 - utilisation))
    return {"mean": 1 + wait} | found


def normal_truth() -> dict[str, float]:
    from scipy.special import ndtri

    return {"mean": 0.0, "p50": 0.0, "p95": float(ndtri(0.95))}


CELLS = (
    Cell(
        "M/M/1, utilisation 0.7, n = 10,000",
        queue(exponential, 0.7, 10_000, 3_000),
        lambda: exponential_truth(0.7),
    ),
    Cell(
        "M/G/1 lognormal, utilisation 0.7, n = 10,000",
        queue(lognormal, 0.7, 10_000, 6_000),
        lambda: lognormal_truth(0.7),
    ),
    Cell("AR(1) 0.8, n = 10,000", autoregressive(0.8, 10_000), normal_truth),
    Cell("AR(1) 0.7, n = 400", autoregressive(0.7, 400), normal_truth),
    Cell("independent, n = 400", autoregressive(0.0, 400), normal_truth),
    Cell(
        "M/M/1, utilisation 0.95, n = 1,000",
        queue(exponential, 0.95, 1_000, 30_000),
        lambda: exponential_truth(0.95),
        hard=True,
    ),
)


def covered(cell: Cell, runs: int, seed: int) -> dict[str, Coverage]:
    """Coverage of mean, p50 and p95 over `runs` series of one process."""
    truth, generator = cell.truth(), np.random.default_rng(seed)
    held = dict.fromkeys(truth, 0)
    given = dict.fromkeys(truth, 0)
    for _ in range(runs):
        series = cell.draw(generator)
        ordered = np.sort(series)
        bounds: dict[str, tuple[float, float | None]] = {"mean": mean_bounds(series)}
        for name, quantile in QUANTILES.items():
            found = quantile_bounds(series, ordered, quantile)
            bounds[name] = (found.low, found.high)
        for name, (low, high) in bounds.items():
            if high is not None:
                given[name] += 1
                held[name] += low <= truth[name] <= high
    return {name: Coverage(held[name] / max(1, given[name]), given[name] / runs) for name in truth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} series per process")
    parser.add_argument("--runs", type=int, default=RUNS, help="series per process")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    runs = QUICK_RUNS if asked.quick else asked.runs
    print(f"Coverage of 95 % intervals over {runs} series; ± {196 / runs**0.5 * 0.218:.1f} %.")
    print(f"{'process':46}{'mean':>8}{'p50':>8}{'p95':>8}{'seconds':>9}")
    for cell in CELLS:
        began = time.monotonic()
        found = covered(cell, runs, asked.seed)
        cells = "".join(f"{one.share:8.1%}" for one in found.values())
        print(f"{cell.name:46}{cells}{time.monotonic() - began:9.1f}", flush=True)
        partial = {name: one.given for name, one in found.items() if one.given < 1}
        if partial:
            said = ", ".join(f"{name} {part:.1%}" for name, part in partial.items())
            print(f"    of the series that had an interval: {said}")


if __name__ == "__main__":
    main()

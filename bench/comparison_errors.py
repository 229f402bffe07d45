"""How often does a comparison see a difference where there is none, and miss one that is there?

    python bench/comparison_errors.py [--quick] [--experiments N] [--seed S]

Simulated experiments: two sides, a few rounds, in each round a run of autocorrelated
latencies (the logarithm is AR(1) with coefficient 0.8) with an effect of its own from run to
run. A/A: both sides alike; the share with p < 0.05, before Holm's correction, should be 5 %.
A/B: one side 5 % slower; the share is the power.
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

from runners.experiments.difference import FEWEST_ROUNDS, Value, paired
from runners.measure.statistics import mean_bounds, quantile_bounds, rank

Floats = npt.NDArray[np.float64]

EXPERIMENTS, QUICK = 10_000, 1_000
COEFFICIENT, SIGMA = 0.8, 0.4
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
SHIFT = 1.05


@dataclass(frozen=True)
class Design:
    """rounds of each side, requests of a run, and the standard deviation from run to run."""

    rounds: int
    requests: int
    between: float

    @property
    def name(self) -> str:
        several = "s" if self.rounds > 1 else ""
        return (
            f"{self.rounds} round{several}, {self.requests} requests, "
            f"run to run {100 * self.between:g} %"
        )


# With fewer than three rounds nothing can be known from run to run, so none is simulated.
DESIGNS = (
    Design(5, 400, 0.02),
    Design(5, 400, 0.0),
    Design(3, 400, 0.02),
    Design(1, 2_000, 0.0),
    Design(2, 2_000, 0.0),
)


def latencies(generator: np.random.Generator, design: Design, scale: float) -> Floats:
    """One run: times around `scale`, autocorrelated, with the run's own effect."""
    from scipy.signal import lfilter

    noise = generator.normal(size=design.requests + 100) * math.sqrt(1 - COEFFICIENT**2)
    walk = np.asarray(lfilter([1.0], [1.0, -COEFFICIENT], noise)[100:], np.float64)
    effect = math.exp(generator.normal() * design.between)
    return np.asarray(scale * effect * np.exp(SIGMA * walk), np.float64)


def figures(run: Floats, *, bounds: bool) -> dict[str, Value]:
    """The statistics of a run; with their intervals where these are needed."""
    ordered = np.sort(run)
    mean = float(run.mean())
    found = {"mean": Value(mean, *mean_bounds(run)) if bounds else Value(mean)}
    for name, quantile in QUANTILES.items():
        value = float(ordered[rank(len(run), quantile)])
        if not bounds:
            found[name] = Value(value)
            continue
        interval = quantile_bounds(run, ordered, quantile)
        found[name] = Value(value, interval.low, interval.high)
    return found


def seen(
    design: Design, experiments: int, seed: int, shift: float, draw: Callable[..., Floats]
) -> dict[str, float]:
    """Share of experiments with p < 0.05, by statistic, of those that have a p."""
    generator = np.random.default_rng(seed)
    bounds = design.rounds < FEWEST_ROUNDS
    hits = dict.fromkeys(("mean", *QUANTILES), 0)
    told = dict.fromkeys(hits, 0)
    for _ in range(experiments):
        sides = [
            [figures(draw(generator, design, scale), bounds=bounds) for _ in range(design.rounds)]
            for scale in (1.0, shift)
        ]
        for name in hits:
            p = paired([run[name] for run in sides[0]], [run[name] for run in sides[1]]).p
            if p is not None:
                told[name] += 1
                hits[name] += p < 0.05
    return {name: hits[name] / max(1, told[name]) for name in hits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} experiments a line")
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    count = QUICK if asked.quick else asked.experiments
    print(f"Share of {count} comparisons with p < 0.05, before Holm's correction.")
    print(f"{'design':42}{'':>6}{'mean':>8}{'p50':>8}{'p95':>8}{'p99':>8}{'seconds':>9}")
    for design in DESIGNS:
        for kind, shift in (("A/A", 1.0), ("A/B", SHIFT)):
            began = time.monotonic()
            found = seen(design, count, asked.seed, shift, latencies)
            cells = "".join(f"{share:8.1%}" for share in found.values())
            print(f"{design.name:42}{kind:>6}{cells}{time.monotonic() - began:9.1f}", flush=True)


if __name__ == "__main__":
    main()

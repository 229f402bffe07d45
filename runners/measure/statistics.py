"""Estimates with 95 % intervals that respect autocorrelation, all by batch means.

A series in order of time is cut into batches; the spread of their means says how sure the
whole is (Schmeiser 1982). What the batches still remember of each other widens it, and for
means Willink's t follows the skewness of latencies (both as in N-Skart: Tafazzoli, Steiger
and Wilson 2011). Percentiles: the interval of the share of samples below, turned back into
values (Woodruff 1952). `make bench-stats` shows how often the intervals hold the truth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Bounds = tuple[float, float]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
MIN_SAMPLES = 10
# Chosen by simulation: fewer are wide, more leave batches that still depend on each other.
MIN_BATCHES, BATCHES = 5, 16
# A correlation estimated from so few batches must not stretch the interval without limit.
_MOST_CORRELATION = 0.8
_SYMMETRIC = 1e-3
_FEW = 100


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; None where there is too little to give one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Spread:
    """How uncertain a mean over batches is.

    error: standard error, correlation between batches included. freedom: of Student's t.
    skewness: of the batch means.
    """

    value: float
    error: float
    batches: int
    skewness: float

    @property
    def half(self) -> float:
        """Half of the symmetric 95 % interval."""
        return student(self.batches - 1) * self.error


@dataclass(frozen=True)
class Quantile:
    """Bounds of a quantile; high None: too few independent samples bound it from above.

    effective: as how many independent samples they count.
    """

    low: float
    high: float | None
    effective: float


@lru_cache(maxsize=256)
def student(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t.

    Where the degrees of freedom are whole and few, as those of batches are, by bisection:
    scipy takes longer to load than most runs take to measure.
    """
    if freedom != int(freedom) or not 1 <= freedom <= _FEW:
        from scipy.special import stdtrit

        return float(stdtrit(freedom, 1 - TAIL))
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, int(freedom)) < CONFIDENCE else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """Probability that |T| is below t (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    total = term = (math.cos(angle) if odd else 1.0) if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def rank(count: int, quantile: float) -> int:
    """Index, in sorted order, of the smallest sample with at least `quantile` at or below it."""
    return min(count - 1, max(0, math.ceil(count * quantile - 1e-9) - 1))


def samples_for_value(quantile: float) -> int:
    """Samples below which a quantile would be the maximum under another name."""
    return max(2, math.ceil(1 / (1 - quantile) - 1e-6))


def samples_for_interval(quantile: float) -> int:
    """Samples below which no sample bounds the quantile from above with 95 % confidence."""
    return max(MIN_SAMPLES, math.ceil(math.log(TAIL) / math.log(quantile)))


def batch_firsts(count: int, batches: int = BATCHES) -> npt.NDArray[np.intp]:
    """Where successive batches of nearly equal size begin; at most one per sample."""
    return np.linspace(0, count, min(batches, count), endpoint=False).astype(np.intp)


def batched(values: npt.NDArray[Any], batches: int = BATCHES) -> tuple[Floats, Floats]:
    """(sums, counts) of successive batches of at least one value."""
    firsts = batch_firsts(len(values), batches)
    counts = np.diff(firsts, append=len(values)).astype(np.float64)
    if values.dtype == np.bool_:  # as a sum it would take eight times the memory
        hits = [np.count_nonzero(part) for part in np.split(values, firsts[1:])]
        return np.array(hits, np.float64), counts
    return np.add.reduceat(values, firsts, dtype=np.float64), counts


def spread(sums: Floats, sizes: Floats) -> Spread:
    """Sum over sum of at least two batches in order of time, and how uncertain it is.

    The variance is that of a ratio estimator (Cochran 1977, section 6.4), times
    (1 + r) / (1 - r) for a lag-1 correlation r > 0 of the batches.
    """
    value = float(sums.sum() / sizes.sum())
    residual = sums - value * sizes
    batches, power = len(residual), float(residual @ residual)
    if power <= 1e-24 * float(sums @ sums):
        return Spread(value, 0.0, batches, 0.0)
    lag1 = float(residual[1:] @ residual[:-1]) / power
    lag1 = min(max(lag1, 0.0), _MOST_CORRELATION)
    variance = batches / (batches - 1) * power * (1 + lag1) / (1 - lag1)
    return Spread(value, math.sqrt(variance) / float(sizes.sum()), batches, _skewness(residual))


def _skewness(residual: Floats) -> float:
    count = len(residual)
    if count < MIN_BATCHES:
        return 0.0
    centred = residual - residual.mean()
    scale = math.sqrt(float(centred @ centred) / (count - 1))
    cubes = float(((centred / scale) ** 3).sum())
    return count / ((count - 1) * (count - 2)) * cubes


def ratio(numerators: Floats, denominators: Floats) -> tuple[Estimate, int]:
    """Sum over sum of batches in order of time, and how many batches the interval rests on.

    The sum of the denominators must not be 0; without enough batches there is no interval.
    """
    value = float(numerators.sum() / denominators.sum())
    used = denominators > 0
    if used.sum() < MIN_BATCHES:
        return Estimate(value), int(used.sum())
    found = spread(numerators[used], denominators[used])
    return Estimate(value, value - found.half, value + found.half), found.batches


def mean_bounds(values: Floats) -> Bounds:
    """Interval of the mean of at least MIN_SAMPLES finite values in order of time.

    Willink (2005, Communications in Statistics 34): t is bent by the skewness of the mean.
    """
    found = spread(*batched(values))
    t = student(found.batches - 1)
    bend = found.skewness / (6 * math.sqrt(found.batches))
    low = found.value - _bent(t, bend) * found.error
    high = found.value - _bent(-t, bend) * found.error
    return max(low, float(values.min())), min(high, float(values.max()))


def _bent(t: float, bend: float) -> float:
    if abs(bend) < _SYMMETRIC:
        return t
    return (float(np.cbrt(1 + 6 * bend * (t - bend))) - 1) / (2 * bend)


def quantile_bounds(values: Floats, ordered: Floats, quantile: float) -> Quantile:
    """Interval of a quantile of at least MIN_SAMPLES values; some may be +inf.

    values: in order of time; ordered: the same, sorted.
    """
    count = len(values)
    value = ordered[rank(count, quantile)]
    # Where many samples tie at the value, one of the two shares may look certain.
    either = (spread(*batched(side)) for side in (values <= value, values < value))
    found = max(either, key=lambda one: one.error)
    effective = float(count)
    if found.error > 0:
        effective = min(effective, quantile * (1 - quantile) / found.error**2)
    low = float(ordered[rank(count, max(0.0, quantile - found.half))])
    if quantile + found.half < 1:
        return Quantile(low, float(ordered[rank(count, quantile + found.half)]), effective)
    # The share may reach 1: only then the maximum is asked whether it bounds the quantile.
    bounded = effective >= samples_for_interval(quantile)
    return Quantile(low, float(ordered[-1]) if bounded else None, effective)


def share(hits: Bools) -> Estimate:
    """Share of hits, in order of time: Wilson's interval on the effective number of samples."""
    count = len(hits)
    value = float(hits.mean())
    if count < MIN_SAMPLES:
        return Estimate(value)
    found = spread(*batched(hits))
    effective = float(count)
    if found.error > 0:
        effective = min(effective, value * (1 - value) / found.error**2)
    return Estimate(value, *wilson(value, effective, student(found.batches - 1) ** 2))


def wilson(value: float, count: float, z2: float) -> Bounds:
    """Interval of a share of `count` independent samples (Wilson 1927). z2: quantile squared."""
    middle = (value + z2 / (2 * count)) / (1 + z2 / count)
    variance = value * (1 - value) / count + z2 / (4 * count**2)
    half = math.sqrt(z2 * variance) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def repeat_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """(mean, low, high) over independent runs: Student's t.

    One run has no interval (None). Raises ValueError without a single value.
    """
    if not values:
        raise ValueError("no run to take the mean of")
    runs = np.asarray(values, np.float64)
    mean = float(runs.mean())
    if len(runs) < 2:
        return mean, None, None
    half = student(len(runs) - 1) * float(runs.std(ddof=1)) / math.sqrt(len(runs))
    return mean, mean - half, mean + half

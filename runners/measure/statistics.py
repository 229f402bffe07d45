"""Estimates with 95 % intervals that respect autocorrelation.

Means: circular block bootstrap (Politis and Romano 1992), blocks of an automatic length
(Politis and White 2004, corrected by Patton, Politis and White 2009). Percentiles, rates,
ratios and very long series: batch means (Schmeiser 1982), percentiles by inverting the
interval of the share below them (Woodruff 1952). docs/metrics.md has the reasons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Bounds = tuple[float, float]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
REPLICATES = 1000
BOOTSTRAP_SAMPLES = 50_000
MIN_SAMPLES = 10
MIN_BATCHES, MAX_BATCHES = 5, 32
FEWEST_MERGED_BATCHES = 8
_BLOCKS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; None where there is too little to give one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Memory:
    """How far a series remembers itself.

    length: block length in samples. inflation: variance of the mean of the series, in units
    of that of as many independent samples.
    """

    length: int
    inflation: float


@dataclass(frozen=True)
class Intervals:
    """Bounds of the mean (None: some value is infinite) and of each quantile.

    method: how the mean's were made. batches: how many each quantile's rest on.
    """

    mean: Bounds | None
    quantiles: tuple[Bounds, ...]
    method: dict[str, Any]
    batches: tuple[int, ...]


def student(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - TAIL))


def rank(count: int, quantile: float) -> int:
    """Index, in sorted order, of the smallest sample with at least `quantile` at or below it."""
    return max(0, math.ceil(count * quantile - 1e-9) - 1)


def samples_for_value(quantile: float) -> int:
    """Samples below which a quantile would be the maximum under another name."""
    return max(2, math.ceil(1 / (1 - quantile) - 1e-6))


def samples_for_interval(quantile: float) -> int:
    """Samples below which no sample bounds the quantile from above with 95 % confidence."""
    return max(MIN_SAMPLES, math.ceil(math.log(TAIL) / math.log(quantile)))


def memory(series: Floats) -> Memory:
    """Automatic block length for the circular block bootstrap, at least n^(1/3).

    Patton, Politis and White 2009, eq. 9 and 10, with the flat-top lag window and the
    cut-off rule of Politis and White 2004, section 3.2 (c = 2).
    """
    count = len(series)
    longest = max(1, math.ceil(min(3 * math.sqrt(count), count / 3)))
    least = min(longest, math.ceil(count ** (1 / 3)))
    centred = series - series.mean()
    variance = float(centred @ centred) / count
    run = max(5, math.ceil(math.sqrt(math.log10(max(count, 2)))))
    lags = min(count - 1, math.ceil(math.sqrt(count)) + run)
    if variance <= 1e-12 * max(1.0, float(np.abs(series).max()) ** 2) or lags < run:
        return Memory(least, 1.0)
    products = [float(centred[lag:] @ centred[: count - lag]) for lag in range(1, lags + 1)]
    covariance = np.array(products) / count
    small = np.abs(covariance / variance) < 2 * math.sqrt(math.log10(count) / count)
    cut = _first_run(small, run)
    reach = min(2 * cut, lags)
    lag = np.arange(1, reach + 1)
    weight = np.clip(2 * (1 - lag / reach), 0.0, 1.0)
    spectrum = variance + 2 * float(weight @ covariance[:reach])
    slope = 2 * float((weight * lag) @ covariance[:reach])
    if spectrum <= 0:
        return Memory(least, 1.0)
    best = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * count ** (1 / 3)
    return Memory(min(longest, max(least, math.ceil(best))), spectrum / variance)


def _first_run(small: Bools, run: int) -> int:
    """Lag after which `run` autocorrelations in a row are negligible, at least 1."""
    windows = np.lib.stride_tricks.sliding_window_view(small, run).all(axis=1)
    if windows.any():
        return max(1, int(windows.argmax()))
    return int(np.flatnonzero(~small)[-1]) + 1


def intervals(values: Floats, quantiles: Sequence[float], seed: int) -> Intervals:
    """Intervals of the mean and of quantiles of at least MIN_SAMPLES values in order of time.

    Values may hold +inf; then the mean has no interval.
    """
    ordered = np.sort(values)
    mean, method = _mean_interval(values, seed)
    if mean is not None:
        mean = max(mean[0], float(ordered[0])), min(mean[1], float(ordered[-1]))
    firsts = np.linspace(0, len(values), min(MAX_BATCHES, len(values)), endpoint=False)
    bounds, batches = [], []
    for quantile in quantiles:
        below = values <= ordered[rank(len(values), quantile)]
        part, used = ratio(*_batch_means(below.astype(np.float64), firsts.astype(np.intp)))
        half = 1.0 if part.high is None else part.high - part.value
        low = ordered[rank(len(values), max(0.0, quantile - half))]
        high = ordered[rank(len(values), min(1.0, quantile + half))]
        bounds.append((float(low), float(high)))
        batches.append(used)
    return Intervals(mean, tuple(bounds), method, tuple(batches))


def _mean_interval(values: Floats, seed: int) -> tuple[Bounds | None, dict[str, Any]]:
    if not np.isfinite(values).all():
        return None, {}
    if len(values) > BOOTSTRAP_SAMPLES:
        firsts = np.linspace(0, len(values), MAX_BATCHES, endpoint=False).astype(np.intp)
        estimate, used = ratio(*_batch_means(values, firsts))
        assert estimate.low is not None and estimate.high is not None
        return (estimate.low, estimate.high), {"method": "batch_means", "batches": used}
    length = memory(values).length
    value, means = float(values.mean()), np.sort(_bootstrap_means(values, length, seed))
    low = float(means[rank(REPLICATES, TAIL)])
    high = float(means[rank(REPLICATES, 1 - TAIL)])
    # Few blocks understate the spread; Student's t makes up for it.
    widen = student(max(1.0, len(values) / length - 1)) / student(math.inf)
    bounds = value - widen * max(0.0, value - low), value + widen * max(0.0, high - value)
    method = {"method": "block_bootstrap", "block_length": length, "replicates": REPLICATES}
    return bounds, method


def _bootstrap_means(values: Floats, length: int, seed: int) -> Floats:
    """Means of series resampled in circular blocks; shape (REPLICATES,)."""
    count = len(values)
    blocks = math.ceil(count / length)
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: length - 1]]))])
    block_sums = running[length:] - running[:-length]
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCKS_AT_ONCE // blocks)
    means = np.empty(REPLICATES)
    for start in range(0, REPLICATES, rows):
        stop = min(start + rows, REPLICATES)
        drawn = block_sums[generator.integers(0, count, (stop - start, blocks))]
        means[start:stop] = drawn.sum(axis=1) / (blocks * length)
    return means


def _batch_means(values: Floats, firsts: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """(sums, counts) of successive batches that begin at `firsts`."""
    counts = np.diff(firsts, append=len(values)).astype(np.float64)
    return np.add.reduceat(values, firsts), counts


def batch_sums(times: npt.NDArray[Any], amounts: Floats, start: float, end: float) -> Floats:
    """Amounts summed over MAX_BATCHES stretches (a, b] of equal length; shape (MAX_BATCHES,)."""
    edges = np.linspace(start, end, MAX_BATCHES + 1)
    batch = np.clip(np.searchsorted(edges, times, side="left") - 1, 0, MAX_BATCHES - 1)
    return np.bincount(batch, weights=amounts, minlength=MAX_BATCHES).astype(np.float64)


def ratio(numerators: Floats, denominators: Floats) -> tuple[Estimate, int]:
    """Sum over sum of batches in order of time, and how many batches the interval rests on.

    Neighbouring batches are merged while they still resemble each other (lag-1 correlation
    of the residuals above its one-sided 5 % limit), down to FEWEST_MERGED_BATCHES. The
    variance is that of a ratio estimator (Cochran 1977, section 6.4). The sum of the
    denominators must not be 0; without enough batches there is no interval.
    """
    value = float(numerators.sum() / denominators.sum())
    used = denominators > 0
    top, bottom = numerators[used], denominators[used]
    if len(top) < MIN_BATCHES:
        return Estimate(value), len(top)
    residual = top - value * bottom
    while len(top) >= 2 * FEWEST_MERGED_BATCHES and _alike(residual):
        pairs = np.arange(0, len(top), 2)
        top, bottom = np.add.reduceat(top, pairs), np.add.reduceat(bottom, pairs)
        residual = top - value * bottom
    batches = len(top)
    error = math.sqrt(batches / (batches - 1) * float(residual @ residual)) / float(bottom.sum())
    half = student(batches - 1) * error
    return Estimate(value, value - half, value + half), batches


def _alike(residual: Floats) -> bool:
    power = float(residual @ residual)
    if power == 0:
        return False
    return float(residual[1:] @ residual[:-1]) / power > 1.645 / math.sqrt(len(residual))


def share(hits: Bools) -> Estimate:
    """Share of hits, in order of time: Wilson's interval on the effective number of samples."""
    count = len(hits)
    value = float(hits.mean())
    if count < MIN_SAMPLES:
        return Estimate(value)
    effective = count / max(1.0, memory(hits.astype(np.float64)).inflation)
    z2 = student(math.inf) ** 2
    middle = (value + z2 / (2 * effective)) / (1 + z2 / effective)
    spread = value * (1 - value) / effective + z2 / (4 * effective**2)
    half = math.sqrt(z2 * spread) / (1 + z2 / effective)
    return Estimate(value, max(0.0, middle - half), min(1.0, middle + half))

"""Where a series settles, and whether it truly does: MSER-5; tests for drift, shifts, swings.

MSER-5: White (1997), An effective truncation heuristic for bias reduction in simulation
output, Simulation 69 (6); batches of five: White, Cobb and Spratt (2000), A comparison of
five steady-state truncation heuristics for simulation, Winter Simulation Conference.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runners.measure.statistics import batched, spread

Floats = npt.NDArray[np.float64]

MSER_BATCH = 5
FEWEST_MSER_BATCHES = 10
DRIFT_BATCHES = 16
FEWEST_SWING_BATCHES, SWING_BATCHES = 16, 64
FEWEST_PERIODS = 3
# Four series are asked two questions each; a steady run shall rarely be called unsteady.
CERTAIN = 0.001


@dataclass(frozen=True)
class Truncation:
    """kept_from: index of the first point that is kept. settled: False when the best
    truncation lies at the bound, half of the series, so that more might have to go."""

    kept_from: int
    settled: bool


@dataclass(frozen=True)
class Change:
    """How much a series changes, as a share of its mean, and how probable that is by chance."""

    change: float
    p: float


@dataclass(frozen=True)
class Swing:
    """The strongest period: its length in points, half its height as a share of the mean, p."""

    period: float
    amplitude: float
    p: float


def truncation(values: Floats, least: float) -> Truncation | None:
    """MSER-5 over the first half; None for fewer than 50 points.

    Keeps the batches d.. that minimise (sum of squares about their mean) / (their number)^2.
    Nothing is cut where the mean of what would go does not for certain differ from that of
    the rest, by more than `least` of it: MSER alone also cuts what comes and goes.
    """
    count = len(values) // MSER_BATCH
    if count < FEWEST_MSER_BATCHES:
        return None
    means = values[: count * MSER_BATCH].reshape(count, MSER_BATCH).mean(axis=1)
    centred = means - means.mean()
    left = np.arange(count, 0, -1.0)
    sums = np.cumsum(centred[::-1])[::-1]
    squares = np.cumsum((centred**2)[::-1])[::-1]
    errors = (squares - sums**2 / left) / left**2
    bound = count // 2
    best = int(np.argmin(errors[: bound + 1]))
    if not best or not _differs(means[:best], means[best:], least, best == bound):
        return Truncation(0, True)
    return Truncation(best * MSER_BATCH, best < bound)


def _differs(cut: Floats, kept: Floats, least: float, equals: bool) -> bool:
    """Whether two neighbouring parts have different means, beyond chance and beyond `least`.

    The noise is that of the part that is kept; of two halves, of the quieter one, so that a
    step in one does not hide itself.
    """
    apart, level = abs(float(cut.mean() - kept.mean())), abs(float(kept.mean()))
    if apart <= least * level:
        return False
    noise, freedom = _noise(kept)
    if equals:
        noise, freedom = min((noise, freedom), _noise(cut))
    error = math.sqrt(noise / len(cut) + noise / len(kept))
    return error <= 1e-12 * apart or _two_sided(apart / error, freedom) < CERTAIN


def _noise(values: Floats) -> tuple[float, int]:
    """Variance of the mean times the number of values, and its degrees of freedom."""
    found = spread(*batched(values))
    return found.error**2 * len(values), found.batches - 1


def drift(values: Floats) -> Change | None:
    """Least-squares line through 16 batch means, last point minus first, two-sided Student's t;
    None for fewer than 32 points.

    The error of the slope is widened by the lag-1 correlation of the residuals.
    """
    if len(values) < 2 * DRIFT_BATCHES:
        return None
    means, x = _batch_means(values, DRIFT_BATCHES)
    mean = float(means.mean())
    power = float(x @ x)
    slope = float(x @ means) / power
    residual = means - mean - slope * x
    if mean == 0 or float(residual @ residual) <= 1e-24 * float(means @ means):
        return Change(0.0 if mean == 0 else slope * DRIFT_BATCHES / abs(mean), _sure(slope, mean))
    # The spread of the residuals as a mean of batches, turned into that of a slope.
    of_mean = spread(residual, np.ones(DRIFT_BATCHES)).error
    freedom = DRIFT_BATCHES - 2
    error = of_mean * math.sqrt(DRIFT_BATCHES * (DRIFT_BATCHES - 1) / freedom / power)
    return Change(slope * DRIFT_BATCHES / abs(mean), _two_sided(slope / error, freedom))


def shift(values: Floats) -> Change | None:
    """Do the quarters of a series have one mean? Analysis of variance of 16 batch means.

    change: highest minus lowest quarter as a share of the mean. F is divided by
    (1 + r) / (1 - r) for a lag-1 correlation r > 0 inside the quarters. None for fewer than
    32 points.
    """
    from scipy.special import fdtrc

    if len(values) < 2 * DRIFT_BATCHES:
        return None
    means, _ = _batch_means(values, DRIFT_BATCHES)
    quarters = means.reshape(4, -1)
    levels, mean = quarters.mean(axis=1), float(means.mean())
    residual = (quarters - levels[:, None]).ravel()
    change = 0.0 if mean == 0 else float(levels.max() - levels.min()) / abs(mean)
    between = quarters.shape[1] * float(((levels - mean) ** 2).sum()) / 3
    within = spread(residual, np.ones(DRIFT_BATCHES)).error ** 2 * DRIFT_BATCHES
    within *= (DRIFT_BATCHES - 1) / (DRIFT_BATCHES - 4)
    if within <= 1e-24 * mean**2:
        return Change(change, 0.0 if change > 1e-9 else 1.0)
    return Change(change, float(fdtrc(3, DRIFT_BATCHES - 4, between / within)))


def _sure(slope: float, mean: float) -> float:
    """p of a line without residuals: certain where it rises at all."""
    return 0.0 if abs(slope) > 1e-9 * abs(mean) else 1.0


def _two_sided(t: float, freedom: int) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -abs(t)))


def swing(values: Floats, batches: int) -> Swing | None:
    """The highest peak of the periodogram of batch means, against red noise of their lag-1
    correlation; None for fewer than 16 batches, or for a series that does not vary.

    Periods from 2 batches to a third of the series. p is that of the highest of as many
    exponential ordinates (Bonferroni). A pure wave keeps the full contrast at any period:
    its own lag-1 correlation makes the red background 1 there.
    """
    batches = min(batches, SWING_BATCHES, len(values))
    if batches < FEWEST_SWING_BATCHES:
        return None
    means, x = _batch_means(values, batches)
    mean = float(means.mean())
    flat = means - mean - x * (float(x @ means) / float(x @ x))
    variance = float(flat @ flat) / batches
    if mean == 0 or variance <= 1e-20 * mean**2:
        return None
    lag1 = max(0.0, float(flat[1:] @ flat[:-1]) / float(flat @ flat))
    power = np.abs(np.fft.rfft(flat)) ** 2 / batches
    turn = 2 * np.pi * np.arange(len(power)) / batches
    background = variance * (1 - lag1**2) / (1 + lag1**2 - 2 * lag1 * np.cos(turn))
    contrast = (power / background)[FEWEST_PERIODS:]
    peak = int(np.argmax(contrast))
    at = peak + FEWEST_PERIODS
    p = min(1.0, len(contrast) * math.exp(-float(contrast[peak])))
    amplitude = 2 * math.sqrt(float(power[at]) / batches) / abs(mean)
    return Swing(len(values) / at, amplitude, p)


def _batch_means(values: Floats, batches: int) -> tuple[Floats, Floats]:
    """Batch means, and their places centred about 0."""
    sums, counts = batched(values, batches)
    return sums / counts, np.arange(batches, dtype=np.float64) - (batches - 1) / 2

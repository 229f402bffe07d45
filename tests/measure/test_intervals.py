"""Do 95 % intervals hold the truth about 95 % of the time, also where samples are correlated?

A reduced, seeded form of `make bench-stats`. Over 300 series a true 95 % shows as 91 to 98 %.
"""

import numpy as np
import numpy.typing as npt
import pytest

from bench.statistics_coverage import CELLS, Cell, covered
from runners.measure.statistics import (
    mean_bounds,
    quantile_bounds,
    rank,
    ratio,
    repeat_interval,
    share,
)

Floats = npt.NDArray[np.float64]
RUNS = 300


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.hard], ids=lambda c: c.name)
def test_intervals_hold_the_truth(cell: Cell) -> None:
    found = covered(cell, RUNS, seed=7)
    for statistic in ("mean", "p50", "p95"):
        assert 0.91 <= found[statistic].share <= 0.985, statistic


def persistent(generator: np.random.Generator, count: int) -> Floats:
    """AR(1) with coefficient 0.8 and unit variance."""
    noise = generator.normal(size=count) * np.sqrt(1 - 0.8**2)
    series = np.empty(count)
    series[0] = generator.normal()
    for i in range(1, count):
        series[i] = 0.8 * series[i - 1] + noise[i]
    return series


def test_correlation_widens_an_interval() -> None:
    generator = np.random.default_rng(3)
    series = persistent(generator, 4000)
    shuffled = generator.permutation(series)
    wide, narrow = mean_bounds(series), mean_bounds(shuffled)
    # In theory by the square root of (1 + 0.8) / (1 - 0.8), that is 3.
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    ordered = np.sort(series)
    assert quantile_bounds(series, ordered, 0.5).effective < 1500


def test_an_interval_is_never_wider_than_the_samples() -> None:
    values = np.array([1.0] * 30 + [100.0])
    assert mean_bounds(values)[0] >= 1.0
    median = quantile_bounds(values, np.sort(values), 0.5)
    assert (median.low, median.high) == (1.0, 1.0)


def test_a_tail_that_was_seen_once_is_not_bounded_from_above() -> None:
    """One long stall at the end holds every slow request: as good as one sample of the tail."""
    values = np.concatenate([np.full(900, 10.0), np.full(100, 500.0)])
    found = quantile_bounds(values, np.sort(values), 0.95)
    assert found.high is None
    assert found.effective < 72
    scattered = np.tile(np.array([10.0] * 9 + [500.0]), 100)
    assert quantile_bounds(scattered, np.sort(scattered), 0.95).high == 500.0


def test_a_share_of_all_is_not_certain() -> None:
    # Rule of three: none of 100 missed leaves room for about 3 to 5 %.
    found = share(np.ones(100, np.bool_))
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.957, abs=0.01)


def test_batches_that_resemble_each_other_widen_a_ratio() -> None:
    bottom = np.ones(16)
    slow = 10 + np.sin(np.arange(16) / 4)
    shuffled = np.random.default_rng(0).permutation(slow)

    def width(top: Floats) -> float:
        estimate, _ = ratio(top, bottom)
        assert estimate.low is not None and estimate.high is not None
        return estimate.high - estimate.low

    assert width(slow) > 1.5 * width(shuffled)
    assert ratio(slow, bottom)[0].value == pytest.approx(slow.mean())


def test_repeats_give_a_t_interval() -> None:
    # t(2 degrees of freedom, 97.5 %) = 4.3027; standard error 1 / sqrt(3).
    mean, low, high = repeat_interval([9.0, 10.0, 11.0])
    assert mean == 10.0
    assert low == pytest.approx(10 - 4.3027 / 3**0.5, abs=1e-3)
    assert high == pytest.approx(10 + 4.3027 / 3**0.5, abs=1e-3)
    assert repeat_interval([9.0]) == (9.0, None, None)


@pytest.mark.parametrize(
    ("count", "quantile", "index"), [(100, 0.99, 98), (101, 0.99, 99), (4, 0.5, 1), (1, 0.5, 0)]
)
def test_a_percentile_is_the_smallest_sample_with_enough_below_it(
    count: int, quantile: float, index: int
) -> None:
    assert rank(count, quantile) == index

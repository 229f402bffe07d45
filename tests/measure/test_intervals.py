"""Do 95 % intervals hold the truth about 95 % of the time, also where samples are correlated?"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from runners.measure import statistics
from runners.measure.statistics import intervals, memory, rank, ratio, share

Floats = npt.NDArray[np.float64]
SAMPLES = 400
RUNS = 300


def independent(generator: np.random.Generator) -> Floats:
    return generator.normal(size=SAMPLES)


def persistent(generator: np.random.Generator) -> Floats:
    """AR(1) with coefficient 0.7 and unit variance; its mean is 2.4 times as uncertain."""
    noise = generator.normal(size=SAMPLES + 100) * np.sqrt(1 - 0.7**2)
    return np.asarray(lfilter([1.0], [1.0, -0.7], noise)[100:], np.float64)


Draw = Callable[[np.random.Generator], Floats]


def coverage(draw: Draw) -> tuple[float, float, float]:
    """How often the intervals of mean, p50 and p90 hold the true 0, 0 and 1.28."""
    generator = np.random.default_rng(7)
    truth = np.array([0.0, 0.0, norm.ppf(0.9)])
    hits = np.zeros(3)
    for run in range(RUNS):
        found = intervals(draw(generator), (0.5, 0.9), run)
        assert found.mean is not None
        bounds = np.array([found.mean, *found.quantiles])
        hits += (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    mean, median, tail = hits / RUNS
    return mean, median, tail


@pytest.mark.parametrize("draw", [independent, persistent])
def test_bootstrap_intervals_hold_the_truth(draw: Draw) -> None:
    for part in coverage(draw):
        assert 0.88 <= part <= 0.995


@pytest.mark.parametrize("draw", [independent, persistent])
def test_batch_intervals_hold_the_truth(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "BOOTSTRAP_SAMPLES", 100)
    for part in coverage(draw):
        assert 0.85 <= part <= 0.995


def test_correlation_widens_an_interval() -> None:
    generator = np.random.default_rng(3)
    series = persistent(generator)
    shuffled = generator.permutation(series)
    wide, narrow = (intervals(s, (), 0).mean for s in (series, shuffled))
    assert wide is not None and narrow is not None
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])
    assert memory(series).length > memory(shuffled).length
    assert memory(series).inflation == pytest.approx((1 + 0.7) / (1 - 0.7), rel=0.5)


def test_an_interval_is_never_wider_than_the_samples() -> None:
    values = np.array([1.0] * 30 + [100.0])
    found = intervals(values, (0.5,), 0)
    assert found.mean is not None
    assert found.mean[0] >= 1.0
    assert found.quantiles[0] == (1.0, 1.0)


def test_a_share_of_all_is_not_certain() -> None:
    # Rule of three: none of 100 missed leaves room for about 3 to 4 %.
    found = share(np.ones(100, np.bool_))
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.963, abs=0.001)


def test_a_ratio_merges_batches_that_resemble_each_other() -> None:
    bottom = np.ones(32)
    slow = 10 + np.sin(np.arange(32) / 5)
    alternating = np.tile([9.0, 11.0], 16)
    assert ratio(slow, bottom)[1] == 8
    assert ratio(alternating, bottom)[1] == 32
    assert ratio(slow, bottom)[0].value == pytest.approx(slow.mean())


@pytest.mark.parametrize(
    ("count", "quantile", "index"), [(100, 0.99, 98), (101, 0.99, 99), (4, 0.5, 1), (1, 0.5, 0)]
)
def test_a_percentile_is_the_smallest_sample_with_enough_below_it(
    count: int, quantile: float, index: int
) -> None:
    assert rank(count, quantile) == index

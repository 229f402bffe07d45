"""The plan follows from the load and the seed alone."""

from typing import Any

import numpy as np
import pytest

from runners.load.schedule import Schedule, make_schedule, pace
from runners.profiles.model import Load, Workload

WORKLOAD = Workload(max_tokens=16)


def plan(**load: Any) -> Schedule:
    return make_schedule(Load(**load), WORKLOAD)


def test_constant_arrivals_are_evenly_spaced_and_as_many_as_asked() -> None:
    schedule = plan(pattern="constant", rate=50.0, requests=100, warmup={"seconds": 2.0})
    assert schedule.intended_ns is not None
    assert set(np.diff(schedule.intended_ns)) == {20_000_000}
    assert np.count_nonzero(schedule.warmup) == 100
    assert np.count_nonzero(~schedule.warmup) == 100


def test_poisson_arrivals_have_the_rate_and_the_dispersion_of_a_poisson_process() -> None:
    schedule = plan(rate=200.0, duration_s=200.0, warmup={"seconds": 0.0})
    assert schedule.intended_ns is not None
    gaps = np.diff(schedule.intended_ns) / 1e9
    assert len(gaps) / 200.0 == pytest.approx(200.0, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.02)
    counts = np.bincount((schedule.intended_ns // 1_000_000_000).astype(int))
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.3)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.02


def test_seeds_decide() -> None:
    first, again, other = (plan(rate=10.0, requests=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.intended_ns, again.intended_ns)  # type: ignore[arg-type]
    assert not np.array_equal(first.intended_ns, other.intended_ns)  # type: ignore[arg-type]


def test_the_first_limit_reached_ends_an_open_loop() -> None:
    by_time = plan(pattern="constant", rate=10.0, requests=1000, duration_s=3.0)
    assert np.count_nonzero(~by_time.warmup) == 30
    by_count = plan(pattern="constant", rate=10.0, requests=7, duration_s=3.0)
    assert np.count_nonzero(~by_count.warmup) == 7


def test_a_closed_loop_warms_up_with_extra_requests() -> None:
    schedule = plan(concurrency=4, requests=20)
    assert schedule.intended_ns is None
    assert np.count_nonzero(schedule.warmup) == 8
    assert len(schedule) == 28


def test_a_profile_that_says_nothing_gets_a_closed_loop() -> None:
    found = pace(Load())
    assert (found.pattern, found.rate) == ("closed", None)
    assert found.requests and found.concurrency

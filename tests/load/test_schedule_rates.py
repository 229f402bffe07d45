"""Arrivals under a rate that changes over time follow its integral."""

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from runners.load.rates import Curve, Floats, Ramp, Wave, curve
from runners.load.schedule import make_schedule
from runners.profiles.load_section import Load
from runners.profiles.workload_section import Workload

NO_WARMUP = {"seconds": 0.0}


def seconds(**load: Any) -> Floats:
    schedule = make_schedule(Load(**{"warmup": NO_WARMUP} | load), Workload())
    assert schedule.intended_ns is not None
    times: Floats = schedule.intended_ns / 1e9
    return times


def expected(stages: list[tuple[float, float, float]], time: float) -> float:
    """Arrivals until `time` of ramps (from, to, seconds), by the areas under them."""
    total = 0.0
    for start, end, length in stages:
        part = min(max(time, 0.0), length)
        total += part * (start + (start + (end - start) * part / length)) / 2
        time -= length
    return total


RAMPS = st.lists(
    st.tuples(st.floats(0.0, 500.0), st.floats(0.0, 500.0), st.floats(0.01, 100.0)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(RAMPS, st.lists(st.floats(0.0, 0.999), min_size=1, max_size=20), st.booleans())
def test_arrivals_come_when_the_cumulative_rate_reaches_them(
    stages: list[tuple[float, float, float]], shares: list[float], repeats: bool
) -> None:
    rates = Curve(tuple(Ramp(*stage) for stage in stages), repeats)
    if rates.arrivals < 1e-3:
        return
    counts = np.sort(np.array(shares)) * rates.arrivals
    if repeats:
        counts += 7 * rates.arrivals
    times = rates.when(counts)
    assert np.all(np.diff(times) >= 0.0)
    begin, before = (7 * rates.duration_s, 7 * rates.arrivals) if repeats else (0.0, 0.0)
    reached = [before + expected(stages, time - begin) for time in times]
    assert reached == pytest.approx(counts.tolist(), rel=1e-6, abs=1e-6 * rates.arrivals)


@settings(deadline=None)
@given(
    st.floats(0.1, 100.0), st.floats(0.0, 1.0), st.floats(0.5, 50.0), st.floats(0.0, 1.0),
    st.floats(0.1, 200.0), st.floats(0.0, 0.999),
)  # fmt: skip
def test_a_sine_is_inverted_too(
    mean: float, depth: float, period: float, phase: float, duration: float, share: float
) -> None:
    wave = Wave(mean, depth * mean, period, phase, duration)
    (time,) = wave.when(np.array([share * wave.arrivals]))
    grid = np.linspace(0.0, time, 20_001)
    rate = mean + depth * mean * np.sin(2 * np.pi * (grid / period + phase))
    area = float(np.sum((rate[1:] + rate[:-1]) / 2 * np.diff(grid)))
    assert area == pytest.approx(share * wave.arrivals, rel=1e-3, abs=1e-3)


def test_the_counts_of_a_ramp_follow_the_integral() -> None:
    times = seconds(stages=[{"ramp_to": 100.0, "duration_s": 100.0}])
    share = (times / 100.0) ** 2  # the integral of t, as a share of its end
    assert kstest(share, "uniform").pvalue > 0.01
    for moment in range(10, 101, 10):
        due = moment**2 / 2
        assert abs(np.count_nonzero(times < moment) - due) < 4 * np.sqrt(due)


def test_evenly_spaced_arrivals_of_a_ramp_follow_it_to_one() -> None:
    stages = [{"rate": 10.0, "duration_s": 5.0}, {"ramp_to": 50.0, "duration_s": 10.0}]
    times = seconds(stages=stages, spacing="even")
    for moment in np.linspace(0.1, 15.0, 50):
        due = expected([(10.0, 10.0, 5.0), (10.0, 50.0, 10.0)], moment)
        assert abs(np.count_nonzero(times < moment) - due) <= 1.0


def test_steps_hold_their_rate_and_a_pause_is_empty() -> None:
    stages = [
        {"rate": 100.0, "duration_s": 40.0},
        {"rate": 0.0, "duration_s": 10.0},
        {"rate": 300.0, "duration_s": 40.0},
    ]
    times = seconds(stages=stages)
    counts = np.histogram(times, [0.0, 40.0, 50.0, 90.0])[0]
    assert counts[1] == 0
    assert counts[[0, 2]] == pytest.approx([4000, 12_000], rel=0.06)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.6])
def test_a_sine_has_its_phase_and_its_amplitude(phase: float) -> None:
    sine = {"mean": 50.0, "amplitude": 40.0, "period_s": 10.0, "phase": phase}
    times = seconds(stages=[{"sine": sine, "duration_s": 400.0}])
    # The first Fourier coefficient of the arrivals: T A / 2i exp(2πi phase).
    wave = np.exp(-2j * np.pi * times / 10.0).sum() / (400.0 / 2j)
    assert abs(wave) == pytest.approx(40.0, rel=0.05)
    off = np.angle(wave / np.exp(2j * np.pi * phase)) / (2 * np.pi)
    assert abs(off) < 0.01


def test_bursts_keep_to_their_time_and_come_again() -> None:
    burst = {"on_s": 2.0, "off_s": 3.0, "rate": 50.0}
    times = seconds(burst=burst, duration_s=500.0)
    assert np.all(times % 5.0 < 2.0)
    per_burst = np.bincount((times // 5.0).astype(int), minlength=100)
    assert per_burst.mean() == pytest.approx(100.0, rel=0.05)
    assert per_burst.var() / per_burst.mean() == pytest.approx(1.0, abs=0.4)
    quiet = seconds(burst=burst | {"off_rate": 10.0}, duration_s=500.0)
    assert np.count_nonzero(quiet % 5.0 >= 2.0) == pytest.approx(3000, rel=0.08)


def test_the_warm_up_has_the_rate_with_which_the_plan_begins() -> None:
    load = Load(
        stages=[{"rate": 20.0, "duration_s": 5.0}, {"rate": 80.0, "duration_s": 5.0}],  # type: ignore[list-item]
        spacing="even",
        warmup={"seconds": 3.0},  # type: ignore[arg-type]
    )
    schedule = make_schedule(load, Workload())
    assert schedule.intended_ns is not None
    assert np.count_nonzero(schedule.warmup) == 60
    counts = np.histogram(schedule.intended_ns / 1e9, [0.0, 3.0, 8.0, 13.0])[0]
    assert counts.tolist() == [60, 100, 400]


def test_a_ramp_begins_where_the_stage_before_ended() -> None:
    stages = [
        {"ramp_to": 10.0, "duration_s": 1.0},
        {"sine": {"mean": 8.0, "amplitude": 4.0, "period_s": 8.0}, "duration_s": 2.0},
        {"ramp_to": 0.0, "duration_s": 1.0},
    ]
    parts = curve(Load(stages=stages)).stages  # type: ignore[arg-type]
    assert list(accumulate(part.duration_s for part in parts)) == [1.0, 3.0, 4.0]
    assert [part.start for part in parts] == pytest.approx([0.0, 8.0, 12.0])
    assert [part.end for part in parts] == pytest.approx([10.0, 12.0, 0.0])

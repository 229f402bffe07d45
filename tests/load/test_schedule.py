"""The plan follows from the load and the seed alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runners.errors import UsageError
from runners.load.schedule import Nanoseconds, Schedule, make_schedule, pace
from runners.profiles.error import ProfileError
from runners.profiles.load import load_profile
from runners.profiles.load_section import Load
from runners.profiles.workload_section import Workload

WORKLOAD = Workload(max_tokens=16)


def plan(**load: Any) -> Schedule:
    return make_schedule(Load(**load), WORKLOAD)


def arrivals(**load: Any) -> Nanoseconds:
    intended = plan(**load).intended_ns
    assert intended is not None
    return intended


def variation(intended: Nanoseconds) -> float:
    gaps = np.diff(intended)
    return float(gaps.std() / gaps.mean())


def test_constant_arrivals_are_evenly_spaced_and_as_many_as_asked() -> None:
    schedule = plan(pattern="constant", rate=50.0, requests=100, warmup={"seconds": 2.0})
    assert schedule.intended_ns is not None
    assert set(np.diff(schedule.intended_ns)) == {20_000_000}
    assert np.count_nonzero(schedule.warmup) == 100
    assert np.count_nonzero(~schedule.warmup) == 100


def test_poisson_arrivals_have_the_rate_and_no_memory() -> None:
    intended = arrivals(rate=200.0, duration_s=200.0, warmup={"seconds": 0.0})
    gaps = np.diff(intended)
    assert len(gaps) / 200.0 == pytest.approx(200.0, rel=0.02)
    assert variation(intended) == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0, 100.0])
def test_gamma_gaps_vary_as_their_shape_says(burstiness: float) -> None:
    intended = arrivals(rate=100.0, burstiness=burstiness, requests=50_000)
    assert variation(intended) == pytest.approx(burstiness**-0.5, rel=0.03)
    assert np.diff(intended).mean() == pytest.approx(1e7, rel=0.03)


def test_a_gamma_load_far_above_1_is_constant() -> None:
    assert variation(arrivals(rate=100.0, burstiness=1e9, requests=1000)) < 1e-3


@pytest.mark.parametrize(
    "load",
    [
        {"rate": 10.0},
        {"rate": 10.0, "burstiness": 0.5},
        {"burst": {"on_s": 1.0, "off_s": 2.0, "rate": 30.0}},
        {"stages": [{"ramp_to": 20.0, "duration_s": 20.0}]},
    ],
)
def test_seeds_decide(load: dict[str, Any]) -> None:
    first, again, other = (arrivals(**load, requests=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = (arrivals(rate=50.0, requests=count) for count in (500, 40_000))
    assert np.array_equal(long[: len(short)], short)


def test_the_first_limit_reached_ends_an_open_loop() -> None:
    by_time = plan(pattern="constant", rate=10.0, requests=1000, duration_s=3.0)
    assert np.count_nonzero(~by_time.warmup) == 30
    by_count = plan(pattern="constant", rate=10.0, requests=7, duration_s=3.0)
    assert np.count_nonzero(~by_count.warmup) == 7


def test_time_alone_is_filled_however_bursty_the_arrivals() -> None:
    for seed in range(20):
        intended = arrivals(rate=5.0, burstiness=0.02, duration_s=4000.0, seed=seed)
        assert intended[-1] > 3_500e9
        assert intended[-1] < 4_002e9


def test_a_closed_loop_warms_up_with_extra_requests() -> None:
    schedule = plan(concurrency=4, requests=20)
    assert schedule.intended_ns is None
    assert np.count_nonzero(schedule.warmup) == 8
    assert len(schedule) == 28


def test_users_who_think_begin_in_the_middle_of_a_thought() -> None:
    constant = plan(
        concurrency=400, requests=2000, think_time={"mean_s": 2.0, "distribution": "constant"}
    ).think_ns
    assert constant is not None
    assert set(constant[400:]) == {2_000_000_000}
    assert constant[:400].mean() == pytest.approx(1e9, rel=0.1)
    drawn = plan(concurrency=4, requests=20_000, think_time={"mean_s": 2.0}).think_ns
    assert drawn is not None
    assert drawn.mean() == pytest.approx(2e9, rel=0.03)
    assert drawn.std() == pytest.approx(2e9, rel=0.03)


def test_a_profile_that_says_nothing_gets_a_closed_loop() -> None:
    found = pace(Load())
    assert (found.pattern, found.rate) == ("closed", None)
    assert found.requests and found.concurrency


@pytest.mark.parametrize(
    ("load", "pattern"),
    [
        ({"rate": 2.0}, "poisson"),
        ({"rate": 2.0, "burstiness": 2.0}, "gamma"),
        ({"stages": [{"rate": 1.0, "duration_s": 5.0}], "spacing": "even"}, "stages"),
        ({"burst": {"on_s": 1.0, "off_s": 1.0, "rate": 2.0}}, "burst"),
        ({"trace": {"file": "x"}}, "trace"),
        ({"concurrency": 3, "think_time": {"mean_s": 1.0}}, "closed"),
    ],
)
def test_the_keys_that_are_given_say_the_pattern(load: dict[str, Any], pattern: str) -> None:
    assert Load(**load).resolved_pattern() == pattern


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("pattern: closed\n  rate: 3", "p.yaml:5:3: load.rate: does not go with load.pattern"),
        ("rate: 3\n  burst: {on_s: 1, off_s: 1, rate: 2}", "p.yaml:5:3: load.burst: contradicts"),
        ("stages: [{rate: 1, duration_s: 9}]\n  duration_s: 9", "load.duration_s: contradicts"),
        ("rate: 3\n  think_time: {mean_s: 1}", "load.think_time: contradicts load.rate"),
        ("pattern: stages", "load: pattern stages needs stages"),
        ("pattern: gamma\n  rate: 3", "load: pattern gamma needs burstiness"),
        ("burstiness: 2", "load: pattern gamma needs rate"),
        ("spacing: even", "load: spacing is for the patterns stages and burst"),
        ("stages: []", "load.stages: give at least one stage"),
        ("stages: [{duration_s: 9}]", "load.stages.0: give rate, ramp_to or sine"),
        ("stages: [{rate: 1, duration_s: -1}]", "load.stages.0.duration_s: must be a number"),
        (
            "stages: [{sine: {mean: 1, amplitude: 2, period_s: 3}, duration_s: 9}]",
            "load.stages.0.sine: amplitude must not be above mean",
        ),
        ("stop_after_failures: {}", "load.stop_after_failures: give count or share"),
        ("stop_after_failures: {share: 5}", "load.stop_after_failures.share: must be a number"),
    ],
)
def test_a_contradiction_names_its_key(
    lines: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(f"name: x\nmodel: {{uri: y}}\nload:\n  {lines}\n")
    with pytest.raises(ProfileError) as caught:
        load_profile("p.yaml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ({"rate": 0.001, "duration_s": 1.0}, "no measured request"),
        ({"stages": [{"rate": 0.0, "duration_s": 9.0}]}, "no measured request"),
        ({"rate": 1e7, "duration_s": 1e5}, "1,000,000,000,000 requests, more than 20,000,000"),
        (
            {"stages": [{"ramp_to": 9.0, "duration_s": 9.0}], "warmup": {"requests": 5}},
            "load.warmup.requests",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(load: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan(**load)

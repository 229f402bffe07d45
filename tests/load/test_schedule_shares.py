"""Worker i of N takes the arrivals k with k mod N = i: together always the same trace."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runners.load.limits import Limits, Planned
from runners.load.schedule import Schedule, make_schedule, pace, share_of_requests
from runners.load.worker import Spec, planned, think_times
from runners.profiles.load_section import Load
from runners.profiles.workload_section import Workload

COUNTS = range(1, 9)


def write(schedule: Schedule, folder: Path) -> Path:
    path = folder / "schedule.npz"
    np.savez(path, **schedule.columns())  # type: ignore[arg-type]
    return path


def spec(path: Path, index: int, count: int) -> Spec:
    limits = Limits(None, None, None, None, 10**9, 20)
    return Spec(
        api="chat",
        base_url="http://localhost", path="/", bodies="", schedule=str(path), output="",
        index=index, count=count, limits=limits, connect_ahead=0, stream=True,
        keep_responses=False, api_key_env=None, ca_cert=None,
    )  # fmt: skip


def of_worker(path: Path, schedule: Schedule, index: int, count: int) -> list[Planned]:
    return list(planned(spec(path, index, count), [b""] * len(schedule)))


@pytest.mark.parametrize(
    "load",
    [
        {"pattern": "constant", "rate": 30.0},
        {"rate": 30.0},
        {"rate": 30.0, "burstiness": 0.3},
        {"burst": {"on_s": 1.0, "off_s": 2.0, "rate": 50.0}},
        {"stages": [{"ramp_to": 40.0, "duration_s": 9.0}]},
        {"concurrency": 5, "requests": 101},
    ],
)
def test_the_union_over_workers_is_the_same_for_every_number(
    load: dict[str, Any], tmp_path: Path
) -> None:
    schedule = make_schedule(Load(**load), Workload())
    path = write(schedule, tmp_path)
    (whole,) = (of_worker(path, schedule, 0, 1),)
    assert [each.request_id for each in whole] == list(range(len(schedule)))
    if schedule.intended_ns is not None:
        assert [each.intended_ns for each in whole] == schedule.intended_ns.tolist()
    for count in COUNTS:
        shares = [of_worker(path, schedule, index, count) for index in range(count)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        union = sorted((each for share in shares for each in share), key=lambda p: p.request_id)
        assert union == whole


def test_poisson_arrivals_are_dispersed_as_such_at_every_number_of_workers(tmp_path: Path) -> None:
    load = Load(rate=200.0, duration_s=400.0)
    schedule = make_schedule(load, Workload())
    path = write(schedule, tmp_path)
    for count in COUNTS:
        due = [
            each.intended_ns
            for index in range(count)
            for each in of_worker(path, schedule, index, count)
        ]
        windows = np.bincount(np.array(due) // 100_000_000)
        assert windows.var() / windows.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("warmup", [0, 1, 3, 16])
def test_the_limits_of_the_workers_add_up_to_the_requests(warmup: int, tmp_path: Path) -> None:
    load = Load(concurrency=8, requests=21, warmup={"requests": warmup})  # type: ignore[arg-type]
    schedule = make_schedule(load, Workload())
    path = write(schedule, tmp_path)
    for count in COUNTS:
        for index in range(count):
            share = of_worker(path, schedule, index, count)
            measured = sum(not each.warmup for each in share)
            assert share_of_requests(pace(load), index, count) == measured


def test_think_times_are_shared_out_like_requests(tmp_path: Path) -> None:
    load = Load(concurrency=6, requests=30, think_time={"mean_s": 1.0})  # type: ignore[arg-type]
    schedule = make_schedule(load, Workload())
    assert schedule.think_ns is not None
    path = write(schedule, tmp_path)
    for count in COUNTS:
        for index in range(count):
            times = think_times(spec(path, index, count))
            assert times is not None
            mine = schedule.think_ns[index::count].tolist()
            assert [next(times) for _ in range(len(mine) + 1)] == [*mine, mine[0]]

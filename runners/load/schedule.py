"""The plan of a run: every request and its intended time, computed before it starts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runners.profiles.model import Load, Workload
from runners.rundir import writing

DEFAULT_CONCURRENCY = 8
DEFAULT_REQUESTS = 200
_WARMUP_ARRIVALS_S = 2.0
_MOST_PLANNED = 50_000


@dataclass(frozen=True)
class Schedule:
    """Columns of equal length, one entry per request.

    intended_ns: after the start of load; None in a closed loop, where a request is due
    when a slot is free. A closed loop limited by time alone plans more requests than it
    will send and starts over with the first prompt should it run out.
    """

    intended_ns: npt.NDArray[np.int64] | None
    prompt_id: npt.NDArray[np.int32]
    requested_tokens: npt.NDArray[np.int32]
    warmup: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.prompt_id)


@dataclass(frozen=True)
class Pace:
    """A load with its defaults filled in. `concurrency` None: no cap (open loop)."""

    pattern: str
    concurrency: int | None
    rate: float | None
    requests: int | None
    duration_s: float | None
    warmup_requests: int | None
    warmup_s: float | None


def pace(load: Load) -> Pace:
    """Fill in what a profile leaves open."""
    pattern = load.resolved_pattern()
    closed = pattern == "closed"
    concurrency = load.concurrency or (DEFAULT_CONCURRENCY if closed else None)
    requests = load.requests
    if requests is None and load.duration_s is None:
        requests = DEFAULT_REQUESTS
    warmup_requests = load.warmup.requests if load.warmup else None
    warmup_s = load.warmup.seconds if load.warmup else None
    if warmup_requests is None and warmup_s is None:
        if closed:
            warmup_requests = 2 * (concurrency or 1)
        else:
            warmup_s = _WARMUP_ARRIVALS_S
    return Pace(
        pattern, concurrency, load.rate, requests, load.duration_s, warmup_requests, warmup_s
    )


def make_schedule(load: Load, workload: Workload) -> Schedule:
    """Plan a load; the same load and seed give the same schedule.

    Open loop: constant gaps of 1/rate, or exponential ones (Poisson process), from
    numpy's PCG64 with the seed. Warm-up requests come on top of the measured ones.
    """
    plan = pace(load)
    if plan.pattern == "closed":
        return _closed(plan, workload)
    return _open(plan, workload, load.seed)


def _closed(plan: Pace, workload: Workload) -> Schedule:
    warmup = plan.warmup_requests or 0
    measured = plan.requests
    if measured is None:
        seconds = (plan.duration_s or 0.0) + (plan.warmup_s or 0.0)
        measured = min(_MOST_PLANNED, max(500, int(10 * (plan.concurrency or 1) * seconds)))
    elif plan.warmup_s is not None:
        measured += min(_MOST_PLANNED, max(100, int(10 * (plan.concurrency or 1) * plan.warmup_s)))
    flags = np.zeros(warmup + measured, dtype=np.bool_)
    flags[:warmup] = True
    return _schedule(None, flags, workload)


def _open(plan: Pace, workload: Workload, seed: int) -> Schedule:
    assert plan.rate is not None
    warmup_s = plan.warmup_s or 0.0
    warmup_n = plan.warmup_requests or 0
    wanted = plan.requests
    if wanted is None:
        wanted = int(plan.rate * (plan.duration_s or 0.0) * 1.5) + 100
    count = wanted + warmup_n + int(plan.rate * warmup_s * 1.5) + 100
    if plan.pattern == "poisson":
        gaps = np.random.default_rng([seed, 1]).exponential(1.0 / plan.rate, count)
        times = np.cumsum(gaps)
    else:
        times = np.arange(count) / plan.rate
    warm = np.arange(count) < warmup_n if warmup_n else times < warmup_s
    first = int(np.argmin(warm)) if not warm.all() else count
    keep = np.ones(count, dtype=np.bool_)
    if plan.requests is not None:
        keep[first + plan.requests :] = False
    if plan.duration_s is not None:
        begin = times[first] if warmup_n else warmup_s
        keep &= times < begin + plan.duration_s
    intended = np.round(times[keep] * 1e9).astype(np.int64)
    return _schedule(intended, warm[keep], workload)


def _schedule(
    intended: npt.NDArray[np.int64] | None, warmup: npt.NDArray[np.bool_], workload: Workload
) -> Schedule:
    count = len(warmup)
    prompts = len(workload.prompts) or count
    return Schedule(
        intended_ns=intended,
        prompt_id=(np.arange(count) % prompts).astype(np.int32),
        requested_tokens=np.full(count, workload.max_tokens, dtype=np.int32),
        warmup=warmup,
    )


def write_schedule(schedule: Schedule, path: Path, workers: int = 1) -> None:
    """Write schedule.parquet; worker i of N has the arrivals k with k mod N = i."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(schedule)
    none = pa.nulls(count, pa.int64())
    table = pa.table(
        {
            "request_id": pa.array(np.arange(count, dtype=np.int32)),
            "intended_ns": none if schedule.intended_ns is None else schedule.intended_ns,
            "worker": pa.array((np.arange(count) % workers).astype(np.int16)),
            "prompt_id": schedule.prompt_id,
            "requested_tokens": schedule.requested_tokens,
            "warmup": pa.array(schedule.warmup),
        }
    )
    with writing(path):
        pq.write_table(table, path)

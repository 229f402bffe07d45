"""The plan of a run: every request and its intended time, computed before it starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runners.errors import UsageError
from runners.load.rates import Floats, curve
from runners.load.trace import read_trace
from runners.profiles.load_section import Load
from runners.profiles.workload_section import Workload
from runners.rundir import writing
from runners.workloads.plan import ask

DEFAULT_CONCURRENCY = 8
DEFAULT_REQUESTS = 200
_WARMUP_ARRIVALS_S = 2.0
_MOST_PLANNED = 50_000
_MOST_ARRIVALS = 20_000_000
_FIRST_DRAW = 1024
# Streams of the seed; prompts use others.
_ARRIVALS, _THINK_TIMES = 1, 4

Nanoseconds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """Columns of equal length, one entry per request.

    intended_ns: after the start of load; None in a closed loop, where a request is due
    when a slot is free. A closed loop limited by time alone plans more requests than it
    will send and starts over with the first prompt should it run out.
    input_tokens: length of each prompt, None where the workload decides.
    turn: place of each request in its conversation, a later one belonging to the request
    before it; None where no conversation goes on.
    labels: by prompt id, what results can be split by; None without any.
    think_ns: waits of a closed loop's users, in the order in which they fall due on each
    worker; the first `concurrency` come before the users' first requests.
    """

    intended_ns: Nanoseconds | None
    prompt_id: npt.NDArray[np.int32]
    requested_tokens: npt.NDArray[np.int32]
    warmup: npt.NDArray[np.bool_]
    input_tokens: npt.NDArray[np.int32] | None = None
    think_ns: Nanoseconds | None = None
    turn: npt.NDArray[np.int32] | None = None
    labels: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.prompt_id)

    def busiest_second(self) -> int:
        """The most arrivals in any whole second of an open loop; 0 in a closed one."""
        if self.intended_ns is None:
            return 0
        return int(np.unique(self.intended_ns // 10**9, return_counts=True)[1].max())

    def worker(self, workers: int) -> npt.NDArray[np.int16]:
        """Which of `workers` sends each request: all turns of a conversation the same one."""
        place = np.arange(len(self)) if self.turn is None else np.cumsum(self.turn == 0) - 1
        return (place % workers).astype(np.int16)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns that are there, by name; what a load worker is given."""
        named = {
            "intended_ns": self.intended_ns,
            "prompt_id": self.prompt_id,
            "requested_tokens": self.requested_tokens,
            "warmup": self.warmup,
            "input_tokens": self.input_tokens,
            "think_ns": self.think_ns,
            "turn": self.turn,
        }
        return {name: column for name, column in named.items() if column is not None}


@dataclass(frozen=True)
class Pace:
    """A load with its defaults filled in. `concurrency` None: no cap (open loop).

    rate: arrivals per second, the mean of a changing rate; None in a closed loop and for
    a trace. duration_s: None where requests or the trace's end decide.
    """

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
    rate = None if pattern in ("closed", "trace") else curve(load).mean_rate
    requests, duration_s = load.requests, load.duration_s
    if pattern == "stages":
        duration_s = curve(load).duration_s
    elif requests is None and duration_s is None and pattern != "trace":
        requests = DEFAULT_REQUESTS
    warmup_requests = load.warmup.requests if load.warmup else None
    warmup_s = load.warmup.seconds if load.warmup else None
    if warmup_requests is None and warmup_s is None:
        if closed:
            warmup_requests = 2 * (concurrency or 1)
        elif pattern == "trace":
            warmup_requests = 0
        else:
            warmup_s = _WARMUP_ARRIVALS_S
    return Pace(pattern, concurrency, rate, requests, duration_s, warmup_requests, warmup_s)


def make_schedule(load: Load, workload: Workload) -> Schedule:
    """Plan a load; the same load and seed give the same schedule.

    Random draws come from numpy's PCG64 with the seed. Warm-up requests come on top of the
    measured ones, at the rate with which the plan begins; those of a trace are its first.
    Raises UsageError for a trace that cannot be read and for a plan without a measured
    request, or with too many.
    """
    plan = pace(load)
    if plan.pattern == "closed":
        return _closed(plan, load, workload)
    if plan.pattern == "trace":
        return _replay(plan, load, workload)
    times = _arrivals(plan, load)
    kept, warmup = _kept(times, plan)
    return _schedule(times[kept], warmup, workload, load)


def share_of_requests(
    plan: Pace, index: int, count: int, schedule: Schedule | None = None
) -> int | None:
    """How many measured requests worker `index` of `count` may send.

    None without such a limit, and in an open loop, whose schedule holds no more anyway.
    """
    if plan.pattern != "closed" or plan.requests is None:
        return None
    if schedule is not None and schedule.turn is not None and plan.warmup_s is None:
        return int((~schedule.warmup & (schedule.worker(count) == index)).sum())
    first = plan.warmup_requests or 0
    return len(range(first + (index - first) % count, first + plan.requests, count))


def _closed(plan: Pace, load: Load, workload: Workload) -> Schedule:
    warmup = plan.warmup_requests or 0
    measured = plan.requests
    if measured is None:
        seconds = (plan.duration_s or 0.0) + (plan.warmup_s or 0.0)
        measured = min(_MOST_PLANNED, max(500, int(10 * (plan.concurrency or 1) * seconds)))
    elif plan.warmup_s is not None:
        measured += min(_MOST_PLANNED, max(100, int(10 * (plan.concurrency or 1) * plan.warmup_s)))
    flags = np.zeros(warmup + measured, dtype=np.bool_)
    flags[:warmup] = True
    return _schedule(None, flags, workload, load, think_ns=_think(load, plan, len(flags)))


def _think(load: Load, plan: Pace, count: int) -> Nanoseconds | None:
    """Think times; users start in the middle of one, as if they had been at it before.

    What is left of an exponential wait is exponential again, of a constant one uniform
    (the residual life of a renewal process).
    """
    think = load.think_time
    if think is None:
        return None
    rng = np.random.default_rng([load.seed, _THINK_TIMES])
    if think.distribution == "exponential":
        waits = rng.exponential(think.mean_s, count)
    else:
        waits = np.full(count, think.mean_s)
        first = min(count, plan.concurrency or 0)
        waits[:first] *= rng.random(first)
    return _nanoseconds(waits)


def _replay(plan: Pace, load: Load, workload: Workload) -> Schedule:
    assert load.trace is not None
    if not workload.has_made_lengths:
        raise UsageError(
            f"workload.{workload.kind}: a trace says how long each prompt is; "
            "use workload.kind synthetic, or another load.pattern"
        )
    if workload.lengths:
        raise UsageError("workload.lengths: a trace says how long each prompt is; leave them out")
    recorded = read_trace(load.trace)
    kept, warmup = _kept(recorded.time_ns, plan)
    return Schedule(
        intended_ns=recorded.time_ns[kept],
        prompt_id=np.arange(len(warmup), dtype=np.int32),
        requested_tokens=recorded.output_tokens[kept],
        warmup=warmup,
        input_tokens=recorded.input_tokens[kept],
        labels=ask(workload, len(warmup), load.seed).labels,
    )


def _arrivals(plan: Pace, load: Load) -> Nanoseconds:
    """Arrival times, at least as many as the plan keeps.

    Arrivals of a process with rate 1 are moved to where the cumulative rate reaches them.
    Drawing more never changes the earlier ones, so a longer run begins like a shorter one.
    """
    _refuse_too_many(plan)
    rates = curve(load)
    rate = rates.stages[0].start
    lead_s, lead = plan.warmup_s or 0.0, float(plan.warmup_requests or 0)
    if lead and not rate:
        raise UsageError(
            "load.warmup.requests: the first stage begins at rate 0, at which no request comes; "
            "give load.warmup.seconds"
        )
    if lead:
        lead_s = lead / rate
    else:
        lead = lead_s * rate
    rng = np.random.default_rng([load.seed, _ARRIVALS])
    gaps = np.empty(0)
    while True:
        gaps = np.concatenate([gaps, _unit_gaps(load, rng, max(_FIRST_DRAW, len(gaps)))])
        due = np.cumsum(gaps) - (1.0 if _is_even(load) else 0.0)
        early = due < lead
        times = np.where(early, due / (rate or 1.0), lead_s + rates.when(np.maximum(due - lead, 0)))
        reached = _nanoseconds(times[np.isfinite(times)])
        if len(reached) < len(gaps) or _suffices(reached, plan):
            return reached


def _refuse_too_many(plan: Pace) -> None:
    expected = float("inf") if plan.requests is None else plan.requests
    if plan.duration_s is not None and plan.rate is not None:
        expected = min(expected, plan.duration_s * plan.rate)
    if expected > _MOST_ARRIVALS:
        raise UsageError(
            f"load: the plan has {expected:,.0f} requests, more than {_MOST_ARRIVALS:,}; "
            "lower the rate or the time"
        )


def _is_even(load: Load) -> bool:
    return load.resolved_pattern() == "constant" or load.spacing == "even"


def _unit_gaps(load: Load, rng: np.random.Generator, count: int) -> Floats:
    """Gaps with mean 1: equal, exponential, or gamma with CV 1/sqrt(burstiness)."""
    if _is_even(load):
        return np.ones(count)
    if load.burstiness is not None:
        return rng.gamma(load.burstiness, 1.0 / load.burstiness, count)
    return rng.exponential(1.0, count)


def _nanoseconds(seconds: Floats) -> Nanoseconds:
    return np.round(seconds * 1e9).astype(np.int64)


def _measured_from(times: Nanoseconds, plan: Pace) -> tuple[int, int]:
    """Position and time at which measuring begins, in ns."""
    if plan.warmup_s is not None:
        begin = round(plan.warmup_s * 1e9)
        return int(np.searchsorted(times, begin)), begin
    first = min(plan.warmup_requests or 0, len(times))
    return first, int(times[first]) if first < len(times) else 0


def _suffices(times: Nanoseconds, plan: Pace) -> bool:
    """Whether a limit of the plan lies within these arrivals."""
    first, begin = _measured_from(times, plan)
    if first >= len(times):
        return False
    if plan.requests is not None and len(times) - first >= plan.requests:
        return True
    return plan.duration_s is not None and times[-1] >= begin + plan.duration_s * 1e9


def _kept(times: Nanoseconds, plan: Pace) -> tuple[slice, npt.NDArray[np.bool_]]:
    """The part of the arrivals that the plan's limits leave, and which of it is warm-up."""
    first, begin = _measured_from(times, plan)
    stop = len(times)
    if plan.requests is not None:
        stop = min(stop, first + plan.requests)
    if plan.duration_s is not None:
        end = begin + round(plan.duration_s * 1e9)
        stop = min(stop, int(np.searchsorted(times, end)))
    if stop <= first:
        raise UsageError(
            "load: the plan has no measured request; "
            "give it more time, a higher rate or less warm-up"
        )
    return slice(0, stop), np.arange(stop) < first


def _schedule(
    intended: Nanoseconds | None,
    warmup: npt.NDArray[np.bool_],
    workload: Workload,
    load: Load,
    think_ns: Nanoseconds | None = None,
) -> Schedule:
    asked = ask(workload, len(warmup), load.seed)
    if asked.turn is not None and intended is not None:
        raise UsageError(
            "workload.dataset.turns: all needs a closed loop, because nobody can plan when an "
            "answer comes; use turns: first, or load.concurrency without a rate"
        )
    return Schedule(
        intended_ns=intended,
        prompt_id=asked.prompt_id,
        requested_tokens=asked.max_tokens,
        warmup=warmup,
        input_tokens=asked.input_tokens,
        think_ns=think_ns,
        turn=asked.turn,
        labels=asked.labels,
    )


def write_schedule(schedule: Schedule, path: Path, workers: int = 1) -> None:
    """Write schedule.parquet; worker i of N has the arrivals k with k mod N = i."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(schedule)
    columns: dict[str, Any] = {
        "request_id": np.arange(count, dtype=np.int32),
        "intended_ns": pa.nulls(count, pa.int64()),
        "worker": schedule.worker(workers),
    }
    columns |= schedule.columns()
    if schedule.labels is not None:
        columns["label"] = pa.array([schedule.labels[at] for at in schedule.prompt_id.tolist()])
    with writing(path):
        pq.write_table(pa.table(columns), path)

"""Drive a schedule against an endpoint with load workers and keep what they record."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from runners.errors import OutputError
from runners.load.clock import wall_offset_ns
from runners.load.limits import Limits
from runners.load.records import write_records
from runners.load.remote_client import (
    refuse_hidden_server,
    refuse_what_cannot_drive,
    remote_workers,
)
from runners.load.remote_clock import Clock
from runners.load.schedule import Pace, Schedule, pace, share_of_requests, write_schedule
from runners.load.worker import Spec
from runners.load.workers import Finished, Sent, processes, run_workers
from runners.profiles.load_section import Load
from runners.profiles.model import Profile
from runners.rundir import RunDirectory, writing
from runners.targets.endpoint import Endpoint
from runners.workloads.prompts import Prompts, request_body, request_path

_CONNECT_AHEAD_AT_MOST = 256


@dataclass(frozen=True)
class Driven:
    """How the driving went; t0 is the start of load in monotonic ns.

    facts: what belongs into environment.json under "load".
    """

    t0_ns: int
    facts: dict[str, Any]


def drive(
    profile: Profile,
    schedule: Schedule,
    prompts: Prompts,
    endpoint: Endpoint,
    run: RunDirectory,
    progress: Callable[[Sent], None],
) -> Driven:
    """Send the schedule; writes schedule, requests and chunks (and responses) parquet.

    A KeyboardInterrupt stops the load early: what was recorded is kept, and the facts
    say interrupted. Raises OutputError when the run directory cannot be written, and
    TargetError when a worker could not start.
    """
    addresses = _addresses(profile, endpoint)
    plan = pace(profile.load)
    peak = schedule.busiest_second()
    count = worker_count(_asked(profile.load), plan, peak)
    write_schedule(schedule, run / "schedule.parquet", count)
    work = run / "work"
    _write_orders(profile, schedule, prompts, endpoint, work)
    specs = [_spec(profile, plan, schedule, endpoint, work, index, count) for index in range(count)]
    with (
        remote_workers(specs, addresses, work, run.logs, endpoint.worker_token)
        if addresses
        else processes(specs, work, run.logs)
    ) as workers:
        finished = run_workers(workers, progress)
    for result in finished.results:
        if result["not_written"]:
            raise OutputError(
                f"cannot write {work}: {result['not_written']}; choose another place with --out DIR"
            )
    keep = profile.workload.keep_responses
    write_records([work], run, keep_responses=keep, labels=schedule.labels)
    shutil.rmtree(work, ignore_errors=True)
    facts = {
        "t0_monotonic_ns": finished.t0_ns,
        "t0_unix_ns": finished.t0_ns + wall_offset_ns(),
        "pattern": plan.pattern,
        "concurrency": plan.concurrency,
        "rate": plan.rate,
        "workers": count,
        "workers_lost": finished.lost,
        "interrupted": finished.interrupted,
        "client_cores": os.cpu_count(),
        "prompt_lengths": "exact" if prompts.exact else "estimated",
    }
    facts |= _merged(finished.results)
    if addresses:
        facts |= _of_machines(finished)
    return Driven(finished.t0_ns, facts)


def _addresses(profile: Profile, endpoint: Endpoint) -> list[str]:
    """Where workers on other machines wait; empty for processes on this one."""
    if endpoint.worker_addresses:
        return list(endpoint.worker_addresses)
    refuse_what_cannot_drive(profile)
    workers = profile.load.workers
    addresses = workers.addresses if workers else None
    refuse_hidden_server(endpoint.base_url, addresses or [])
    return addresses or []


def _asked(load: Load) -> int | None:
    """How many workers the profile names; None leaves it to us."""
    workers = load.workers
    if workers is None:
        return None
    return workers.processes or workers.pods or len(workers.addresses or ())


def _of_machines(finished: Finished) -> dict[str, Any]:
    """What is only known of workers that have clocks and cores of their own.

    clock_drift_ns: how far a worker's clock and ours surely moved apart meanwhile, at most.
    """
    clocks: dict[int, Clock] = {each["worker"]: each["clock"] for each in finished.machines}
    drifts = [clock.certain_drift_ns for clock in clocks.values()]
    return {
        "worker_addresses": [each["address"] for each in finished.machines],
        "clock_offsets": [clock.facts(worker) for worker, clock in clocks.items()],
        "clock_drift_ns": max((drift for drift in drifts if drift is not None), default=None),
        "client_cores": min(each["cores"] for each in finished.machines),
    }


def worker_count(asked: int | None, plan: Pace, peak: int) -> int:
    """How many workers: as asked, else one unless one core could be too slow for the plan.

    peak: arrivals in the busiest second of an open loop.

    A worker carries some 3,000 short streams a second; half of that, or 512 streams at
    once, is where a second one starts to pay.
    """
    if asked is None:
        needed = max(peak / 1500.0, (plan.concurrency or 0) / 512.0)
        asked = max(1, min(int(np.ceil(needed)), (os.cpu_count() or 2) - 1))
    return max(1, min(asked, plan.concurrency or asked))


def _merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The workers' own facts as one: the weakest clock, the largest lag, sums of counts."""
    if not results:
        return {}
    kernel = all(result["arrival_stamp"] == "kernel" for result in results)
    lags = [result["read_lag_p99_ms"] for result in results if result["read_lag_p99_ms"]]
    splits = {result["token_split"] for result in results}
    return {
        "arrival_stamp": "kernel" if kernel else "user_read",
        "read_lag_p99_ms": max(lags, default=None),
        "loop_stall_p99_ms": max(result["loop_stall_p99_ms"] for result in results),
        "loop_stalls": sum(result["loop_stalls"] for result in results),
        "gc_pauses": sum(result["gc_pauses"] for result in results),
        "dns_ms": max(result["dns_ms"] for result in results),
        "worker_cpu_share": max(result["cpu_share"] for result in results),
        "clock_step_ns": max(result["clock_step_ns"] for result in results),
        "connections": sum(result["connections"] for result in results),
        "reconnects": sum(result["reconnects"] for result in results),
        "stopped": next((result["stopped"] for result in results if result["stopped"]), None),
        "token_split": splits.pop() if len(splits) == 1 else "mixed",
    }


def _write_orders(
    profile: Profile, schedule: Schedule, prompts: Prompts, endpoint: Endpoint, work: Path
) -> None:
    """Write bodies and schedule where the workers find them."""
    continuous = endpoint.engine == "vllm" or endpoint.simulated
    # A prompt that is sent several times asks for the same number of tokens each time.
    tokens = np.full(int(schedule.prompt_id.max()) + 1, profile.workload.max_tokens)
    tokens[schedule.prompt_id] = schedule.requested_tokens
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
        with (work / "bodies.jsonl").open("wb") as file:
            for text, max_tokens, before in zip(
                prompts.texts, tokens.tolist(), prompts.before or repeat(()), strict=False
            ):
                body = request_body(
                    profile.workload,
                    endpoint.model,
                    text,
                    continuous_usage=continuous,
                    max_tokens=max_tokens,
                    before=before,
                )
                file.write(orjson.dumps(body) + b"\n")
        np.savez(work / "schedule.npz", **schedule.columns())  # type: ignore[arg-type]


def _spec(
    profile: Profile,
    plan: Pace,
    schedule: Schedule,
    endpoint: Endpoint,
    work: Path,
    index: int,
    count: int,
) -> Spec:
    """The orders of worker `index` of `count`: its share of every limit that counts."""
    concurrency = _share(plan.concurrency, index, count)
    budget = profile.load.stop_after_failures
    ahead = concurrency or 2 * schedule.busiest_second() // count + 1
    return Spec(
        base_url=endpoint.base_url,
        api=profile.workload.api,
        path=request_path(profile.workload, endpoint.model),
        bodies=str(work / "bodies.jsonl"),
        schedule=str(work / "schedule.npz"),
        output=str(work),
        index=index,
        count=count,
        limits=Limits(
            concurrency=concurrency,
            requests=share_of_requests(plan, index, count, schedule),
            duration_ns=None if plan.duration_s is None else round(plan.duration_s * 1e9),
            warmup_ns=None if plan.warmup_s is None else round(plan.warmup_s * 1e9),
            timeout_ns=round(profile.load.timeout_s * 1e9),
            give_up_after=max(20, 2 * (concurrency or 1)),
            # Rounded up: the budget of all is spent when each has spent its share.
            failures=None if budget is None or budget.count is None else -(-budget.count // count),
            failure_share=None if budget is None else budget.share,
            cold=profile.load.cold_connections,
        ),
        connect_ahead=0 if profile.load.cold_connections else min(ahead, _CONNECT_AHEAD_AT_MOST),
        stream=profile.workload.stream,
        keep_responses=profile.workload.keep_responses,
        api_key_env=endpoint.api_key_env,
        ca_cert=str(endpoint.ca_cert) if endpoint.ca_cert else None,
        host_header=endpoint.host_header,
        conversations=schedule.turn is not None,
    )


def _share(total: int | None, index: int, count: int) -> int | None:
    if total is None:
        return None
    return total // count + (index < total % count)

"""Drive a schedule against an endpoint with load workers and keep what they record."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from runners.errors import OutputError, TargetError
from runners.load.client import Limits
from runners.load.clock import monotonic_ns, wall_offset_ns
from runners.load.records import write_records
from runners.load.schedule import Schedule, pace, write_schedule
from runners.load.worker import Spec
from runners.profiles.model import Profile
from runners.rundir import RunDirectory, writing
from runners.targets.endpoint import Endpoint
from runners.workloads.prompts import Prompts, request_body, request_path

_LEAD_NS = 50_000_000
_CONNECT_AHEAD_AT_MOST = 256
_DRAIN_S = 10.0


@dataclass(frozen=True)
class Sent:
    """Live figures while load runs."""

    sent: int
    done: int
    failed: int


@dataclass(frozen=True)
class Driven:
    """How the driving went; times are monotonic ns.

    facts: what belongs into environment.json under "load".
    """

    t0_ns: int
    interrupted: bool
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

    A KeyboardInterrupt stops the load early: what was recorded is kept, and the result
    says interrupted. Raises OutputError when the run directory cannot be written, and
    TargetError when the worker itself could not work.
    """
    write_schedule(schedule, run / "schedule.parquet")
    work = run / "work"
    spec = _prepare(profile, schedule, prompts, endpoint, work)
    t0, interrupted, result = _run_worker(spec, work, run.logs / "load-worker.log", progress)
    failure = result.pop("not_written", None)
    if failure:
        raise OutputError(f"cannot write {work}: {failure}; choose another place with --out DIR")
    write_records([work], run, keep_responses=profile.workload.keep_responses)
    shutil.rmtree(work, ignore_errors=True)
    plan = pace(profile.load)
    facts = {
        "t0_monotonic_ns": t0,
        "t0_unix_ns": t0 + wall_offset_ns(),
        "pattern": plan.pattern,
        "concurrency": plan.concurrency,
        "rate": plan.rate,
        "workers": 1,
        "interrupted": interrupted,
        "client_cores": os.cpu_count(),
        "prompt_lengths": "exact" if prompts.exact else "estimated",
        **result,
    }
    return Driven(t0, interrupted, facts)


def _prepare(
    profile: Profile, schedule: Schedule, prompts: Prompts, endpoint: Endpoint, work: Path
) -> Spec:
    """Write bodies and schedule where the worker finds them; returns its orders."""
    workload, plan = profile.workload, pace(profile.load)
    continuous = endpoint.engine == "vllm" or endpoint.simulated
    bodies = work / "bodies.jsonl"
    with writing(bodies):
        work.mkdir(parents=True, exist_ok=True)
        with bodies.open("wb") as file:
            for text in prompts.texts:
                body = request_body(workload, endpoint.model, text, continuous_usage=continuous)
                file.write(orjson.dumps(body) + b"\n")
        columns = {
            "prompt_id": schedule.prompt_id,
            "requested_tokens": schedule.requested_tokens,
            "warmup": schedule.warmup,
        }
        if schedule.intended_ns is not None:
            columns["intended_ns"] = schedule.intended_ns
        np.savez(work / "schedule.npz", **columns)  # type: ignore[arg-type]
    ahead = plan.concurrency or int(2 * (plan.rate or 1)) + 1
    spec = Spec(
        base_url=endpoint.base_url,
        path=request_path(workload),
        bodies=str(bodies),
        schedule=str(work / "schedule.npz"),
        output=str(work),
        index=0,
        count=1,
        limits=Limits(
            concurrency=plan.concurrency,
            requests=plan.requests,
            duration_ns=None if plan.duration_s is None else round(plan.duration_s * 1e9),
            warmup_ns=None if plan.warmup_s is None else round(plan.warmup_s * 1e9),
            timeout_ns=round(profile.load.timeout_s * 1e9),
            give_up_after=max(20, 2 * (plan.concurrency or 1)),
        ),
        connect_ahead=min(ahead, _CONNECT_AHEAD_AT_MOST),
        stream=workload.stream,
        keep_responses=workload.keep_responses,
        api_key_env=endpoint.api_key_env,
        ca_cert=str(endpoint.ca_cert) if endpoint.ca_cert else None,
    )
    with writing(work):
        spec.write(work / "spec.json")
    return spec


def _run_worker(
    spec: Spec, work: Path, log: Path, progress: Callable[[Sent], None]
) -> tuple[int, bool, dict[str, Any]]:
    """Run one worker to its end; returns (t0, interrupted, its result)."""
    command = [sys.executable, "-m", "runners.load.worker", str(work / "spec.json")]
    with writing(log):
        errors = log.open("wb")
    with errors, _started(command, errors) as process:
        assert process.stdin is not None and process.stdout is not None
        interrupted = False
        try:
            _expect_ready(process, log)
            t0 = monotonic_ns() + _LEAD_NS
            process.stdin.write(json.dumps({"start_at": t0}).encode() + b"\n")
            process.stdin.flush()
        except BaseException:
            process.kill()
            raise
        lines: list[dict[str, Any]] = []
        reader = threading.Thread(target=_follow, args=(process.stdout, lines, progress))
        reader.start()
        try:
            while reader.is_alive():
                reader.join(0.2)
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGTERM)
        reader.join(_DRAIN_S)
        code = _wait(process)
    result: dict[str, Any] = next((line["result"] for line in lines if "result" in line), {})
    if not result and not interrupted:
        result = {"worker_lost": f"worker 0 ended with code {code} ({_last_line(log)})"}
    return t0, interrupted, result


def _started(command: Sequence[str], errors: Any) -> "subprocess.Popen[bytes]":
    """Start a worker in its own session, so that Ctrl-C reaches only us."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (root, environment.get("PYTHONPATH")) if part
    )
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )


def _expect_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _wait(process)
        raise TargetError(f"the load worker did not start: {_last_line(log)}; see {log}")


def _follow(stdout: Any, lines: list[dict[str, Any]], progress: Callable[[Sent], None]) -> None:
    for raw in stdout:
        line = json.loads(raw)
        if "sent" in line:
            progress(Sent(line["sent"], line["done"], line["failed"]))
        else:
            lines.append(line)


def _wait(process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + _DRAIN_S
    try:
        return process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"

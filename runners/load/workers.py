"""Load workers as processes: start them, start them together, follow them, stop them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from runners.errors import TargetError
from runners.load.clock import monotonic_ns
from runners.load.worker import Spec
from runners.rundir import writing

_LEAD_NS = 50_000_000
_DRAIN_S = 10.0


@dataclass(frozen=True)
class Sent:
    """Live figures of all workers while load runs."""

    sent: int
    done: int
    failed: int


@dataclass
class Worker:
    """One process; `result` is what it said at its end, None while or if it did not."""

    process: "subprocess.Popen[bytes]"
    log: Path
    latest: Sent = Sent(0, 0, 0)
    result: dict[str, Any] | None = None
    reader: threading.Thread | None = None

    def last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


@dataclass
class Finished:
    """How the workers ended; t0 is monotonic ns. lost: one line per worker that died."""

    t0_ns: int
    interrupted: bool
    results: list[dict[str, Any]]
    lost: list[str] = field(default_factory=list)


def run_workers(
    specs: Sequence[Spec], work: Path, logs: Path, progress: Callable[[Sent], None]
) -> Finished:
    """Run one process per spec on a common clock until all have ended.

    KeyboardInterrupt stops them early; so does the loss of one, because what is left
    would no longer be the load that was planned. Raises TargetError when one does not
    start.
    """
    with ExitStack() as stack:
        workers = [_start(spec, work, logs, stack) for spec in specs]
        t0 = _start_together(workers)
        for worker in workers:
            worker.reader = threading.Thread(target=_follow, args=(worker,), daemon=True)
            worker.reader.start()
        interrupted = _wait_for_all(workers, progress)
        codes = [_end(worker.process) for worker in workers]
    lost = [
        f"load worker {index} ended with code {code}: {worker.last_words()}"
        for index, (worker, code) in enumerate(zip(workers, codes, strict=True))
        if worker.result is None
    ]
    results = [worker.result for worker in workers if worker.result is not None]
    return Finished(t0, interrupted, results, lost)


def _start(spec: Spec, work: Path, logs: Path, stack: ExitStack) -> Worker:
    """Start a worker in its own session, so that Ctrl-C reaches only this process."""
    orders = work / f"spec-{spec.index}.json"
    log = logs / f"load-worker-{spec.index}.log"
    with writing(orders):
        spec.write(orders)
    with writing(log):
        errors: IO[bytes] = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(
        [sys.executable, "-m", "runners.load.worker", str(orders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_environment(),
        start_new_session=True,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return Worker(process, log)


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    path = [root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


def _start_together(workers: Sequence[Worker]) -> int:
    for worker in workers:
        assert worker.process.stdout is not None
        if not worker.process.stdout.readline():
            worker.process.wait()
            raise TargetError(
                f"the load worker did not start: {worker.last_words()}; see {worker.log}"
            )
    t0 = monotonic_ns() + _LEAD_NS
    order = json.dumps({"start_at": t0}).encode() + b"\n"
    for worker in workers:
        assert worker.process.stdin is not None
        worker.process.stdin.write(order)
        worker.process.stdin.flush()
    return t0


def _follow(worker: Worker) -> None:
    assert worker.process.stdout is not None
    for raw in worker.process.stdout:
        line = json.loads(raw)
        if "result" in line:
            worker.result = line["result"]
        else:
            worker.latest = Sent(line["sent"], line["done"], line["failed"])


def _wait_for_all(workers: Sequence[Worker], progress: Callable[[Sent], None]) -> bool:
    """Returns whether a person interrupted."""
    interrupted = False
    deadline: float | None = None
    while True:
        running = [worker for worker in workers if worker.reader and worker.reader.is_alive()]
        if not running or (deadline is not None and time.monotonic() > deadline):
            return interrupted
        lost = any(worker not in running and worker.result is None for worker in workers)
        try:
            if lost and deadline is None:
                deadline = _stop(running)
            assert running[0].reader is not None
            running[0].reader.join(0.2)
            progress(_total(workers))
        except KeyboardInterrupt:
            interrupted = True
            deadline = _stop(running)


def _stop(workers: Sequence[Worker]) -> float:
    for worker in workers:
        worker.process.send_signal(signal.SIGTERM)
    return time.monotonic() + _DRAIN_S


def _total(workers: Sequence[Worker]) -> Sent:
    latest = [worker.latest for worker in workers]
    return Sent(
        sum(each.sent for each in latest),
        sum(each.done for each in latest),
        sum(each.failed for each in latest),
    )


def _end(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

"""Load workers: start them together, follow them, stop them; and those on this machine."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from runners.errors import TargetError
from runners.load.clock import monotonic_ns
from runners.load.process import Process, end_process, last_words, start_process
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


NOTHING_SENT = Sent(0, 0, 0)


class Worker(Protocol):
    """One load worker, wherever it runs.

    result: what it said at its end, None while or if it did not.
    lead_ns: how long before the start of load it has to be told of it.
    """

    index: int
    latest: Sent
    result: dict[str, Any] | None

    @property
    def lead_ns(self) -> int: ...

    def wait_until_ready(self) -> None:
        """Connected and prepared; raises TargetError where it never gets there."""

    def start(self, t0_ns: int) -> None:
        """Let it start at t0, in this machine's monotonic ns."""

    def follow(self) -> None:
        """Keep `latest` and `result` up to date; returns when it has ended or is lost."""

    def stop(self) -> None:
        """Tell it to stop early and to keep what it has."""

    def finish(self, t0_ns: int) -> None:
        """After `follow`, or when that took too long: end it, and have its records here."""

    def why_lost(self) -> str | None:
        """Why its load is not what was planned; None where it did all."""

    def machine(self) -> dict[str, Any] | None:
        """Its cores and how its clock stood to ours; None for one on this machine."""


@dataclass
class Finished:
    """How the workers ended; t0 is monotonic ns.

    lost: one line per worker that did not do what was planned. machines: one entry per
    worker on another machine.
    """

    t0_ns: int
    interrupted: bool
    results: list[dict[str, Any]]
    lost: list[str] = field(default_factory=list)
    machines: list[dict[str, Any]] = field(default_factory=list)


def run_workers(workers: Sequence[Worker], progress: Callable[[Sent], None]) -> Finished:
    """Let them start on one clock when all are ready, and wait until all have ended.

    KeyboardInterrupt stops them early; so does the loss of one, because what is left
    would no longer be the load that was planned. Raises TargetError when one does not
    get ready.
    """
    for worker in workers:
        worker.wait_until_ready()
    t0 = monotonic_ns() + max(worker.lead_ns for worker in workers)
    for worker in workers:
        worker.start(t0)
    interrupted = _wait_for_all(workers, progress)
    try:
        for worker in workers:
            worker.finish(t0)
    except KeyboardInterrupt:
        interrupted = True
    lost = [(worker.index, why) for worker in workers if (why := worker.why_lost())]
    results = [worker.result for worker in workers if worker.result is not None]
    machines = [facts for worker in workers if (facts := worker.machine())]
    said = [f"load worker {index} {why}" for index, why in lost]
    return Finished(t0, interrupted, results, said, machines)


def _wait_for_all(workers: Sequence[Worker], progress: Callable[[Sent], None]) -> bool:
    """Returns whether a person interrupted."""
    interrupted = False
    deadline: float | None = None
    readers = [threading.Thread(target=worker.follow, daemon=True) for worker in workers]
    for reader in readers:
        reader.start()
    running = pairs = list(zip(workers, readers, strict=True))
    while True:
        try:
            running = [(worker, reader) for worker, reader in pairs if reader.is_alive()]
            if not running or (deadline is not None and time.monotonic() > deadline):
                return interrupted
            ended = [worker for worker, reader in pairs if not reader.is_alive()]
            if deadline is None and any(map(_fell_short, ended)):
                deadline = _stop(running)
            running[0][1].join(0.2)
            progress(_total(workers))
        except KeyboardInterrupt:
            interrupted = True
            deadline = _stop(running)


def _fell_short(worker: Worker) -> bool:
    """Lost or given up: either leaves the others with less load than was planned."""
    return worker.result is None or bool(worker.result["stopped"]) or worker.why_lost() is not None


def _stop(running: Sequence[tuple[Worker, threading.Thread]]) -> float:
    for worker, _ in running:
        worker.stop()
    return time.monotonic() + _DRAIN_S


def _total(workers: Sequence[Worker]) -> Sent:
    latest = [worker.latest for worker in workers]
    return Sent(
        sum(each.sent for each in latest),
        sum(each.done for each in latest),
        sum(each.failed for each in latest),
    )


@contextmanager
def processes(specs: Sequence[Spec], work: Path, logs: Path) -> Iterator[list[Worker]]:
    """Workers on this machine, a process per spec, none of which outlives the block."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        for spec in specs:
            orders = work / f"spec-{spec.index}.json"
            log = logs / f"load-worker-{spec.index}.log"
            with writing(orders):
                spec.write(orders)
            with writing(log):
                process = stack.enter_context(start_process(orders, log))
            stack.callback(process.kill)
            workers.append(LocalWorker(spec.index, process, log))
        yield workers


@dataclass
class LocalWorker:
    """A worker in a child process; it shares our clock and writes to our disk."""

    index: int
    process: Process
    log: Path
    latest: Sent = NOTHING_SENT
    result: dict[str, Any] | None = None
    code: int | None = None

    @property
    def lead_ns(self) -> int:
        return _LEAD_NS

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            self.process.wait()
            raise TargetError(
                f"the load worker did not start: {last_words(self.log)}; see {self.log}"
            )

    def start(self, t0_ns: int) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died since; `follow` sees that
            self.process.stdin.write(json.dumps({"start_at": t0_ns}).encode() + b"\n")
            self.process.stdin.flush()

    def follow(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = json.loads(raw)
            if "result" in line:
                self.result = line["result"]
            else:
                self.latest = Sent(line["sent"], line["done"], line["failed"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def finish(self, t0_ns: int) -> None:
        self.code = end_process(self.process, 1.0)

    def why_lost(self) -> str | None:
        if self.result is not None:
            return None
        return f"ended with code {self.code}: {last_words(self.log)}"

    def machine(self) -> dict[str, Any] | None:
        return None

"""What a command costs: processor time and memory of its whole process tree.

    python bench/meter.py REPORT.json COMMAND …

A process of its own does the metering: as the subreaper it inherits every descendant that
outlives its parent, so that RUSAGE_CHILDREN has all of them and nothing else.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.1
_ORPHANS_S = 10.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Metered:
    """started_ns: CLOCK_MONOTONIC right before the command started. peak_mb: the largest sum
    of the resident sets of all its processes, shared pages counted in each."""

    started_ns: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    processes: int
    exit_code: int


def meter(
    command: list[str], folder: Path, core: int | None = None, timeout_s: float = 900.0
) -> Metered:
    """Run `command` to its end, its output in folder/output.txt, on one core if given."""
    report = folder / "meter.json"
    own = [sys.executable, str(Path(__file__)), str(report), *command]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            own, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
    return Metered(**json.loads(report.read_text(encoding="utf-8")))


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            found.append(child)
            try:
                found += _descendants(child)
            except OSError:
                continue
    return found


def _resident_mb(pids: list[int]) -> float:
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * _PAGE / 1e6


def _run(report: Path, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    started = time.monotonic_ns()
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    peak, most = 0.0, 1
    while process.poll() is None:
        pids = _descendants(os.getpid())
        peak, most = max(peak, _resident_mb(pids)), max(most, len(pids))
        time.sleep(_SAMPLE_S)
    wall = (time.monotonic_ns() - started) / 1e9
    _reap_orphans()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    value = {
        "started_ns": started,
        "wall_s": wall,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": peak,
        "processes": most,
        "exit_code": process.returncode,
    }
    report.write_text(json.dumps(value), encoding="utf-8")


def _reap_orphans() -> None:
    """Wait for what the command left running; end it when that takes too long."""
    deadline = time.monotonic() + _ORPHANS_S
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > deadline:
                for child in _descendants(os.getpid()):
                    os.kill(child, signal.SIGKILL)
            time.sleep(_SAMPLE_S)


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2:])

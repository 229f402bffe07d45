"""One load worker as a child process: how it is started, ended, and what it said last."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runners.load.remote_wire import TOKEN_ENV

Process = subprocess.Popen[bytes]


def start_process(orders: Path, log: Path) -> Process:
    """Run `runners.load.worker` on written orders; raises OSError where log cannot be made.

    It gets a session of its own, so that Ctrl-C reaches only this process, and never the
    token that other machines ask for.
    """
    with log.open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "runners.load.worker", str(orders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            start_new_session=True,
        )


def _environment() -> Mapping[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    path = [root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept = {name: value for name, value in os.environ.items() if name != TOKEN_ENV}
    return {**kept, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


def end_process(process: Process, seconds: float) -> int:
    """Wait so long for it to end by itself, then kill it; returns its code."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def last_words(log: Path) -> str:
    """The last line that a worker wrote to stderr."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"

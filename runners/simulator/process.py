"""The simulator as a child process that never outlives its starter."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import runners
from runners.errors import TargetError
from runners.simulator.settings import Value

_START_TIMEOUT_S = 30.0
# Writing a long truth log takes a while.
_STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Running:
    """A simulator that answers at `base_url`.

    truth_path: where its truth log is once it has been stopped; meanwhile the same lines
        come from GET base_url/simulator/truth. log_path: what it said on stderr.
    """

    base_url: str
    model: str
    truth_path: Path
    log_path: Path
    process: "subprocess.Popen[bytes]"

    def stop(self) -> int:
        """End it, wait for its truth log; its exit code. A second call changes nothing."""
        return _stop(self.process)

    def last_words(self) -> str:
        """The last line it wrote to stderr, "" without one."""
        return _last_line(self.log_path)


def start(
    behaviour: Mapping[str, Value],
    truth_path: Path,
    log_path: Path,
    *,
    model: str = "simulated",
    port: int = 0,
    seed: int = 0,
    api_key_env: str | None = None,
) -> Running:
    """Start a simulator on `port` (0: a free one) and wait until it listens.

    behaviour: values by the names in `settings.Behaviour`, as a user would write them.
    Raises TargetError with the simulator's own last line where it did not come up.
    """
    command = [sys.executable, "-m", "runners.simulator", "--until-stdin-closes"]
    command += [f"--model={model}", f"--port={port}", f"--seed={seed}", f"--log={truth_path}"]
    if api_key_env is not None:
        command.append(f"--api-key-env={api_key_env}")
    command += _options(behaviour)
    source = str(Path(runners.__file__).resolve().parents[1])
    paths = (source, os.environ.get("PYTHONPATH"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        listens_on = _port(process, log_path)
    except BaseException:
        _stop(process)
        raise
    return Running(f"http://127.0.0.1:{listens_on}", model, truth_path, log_path, process)


def _options(behaviour: Mapping[str, Value]) -> list[str]:
    options: list[str] = []
    for key, value in behaviour.items():
        values = value if isinstance(value, list | tuple) else [value]
        options += [f"--{key.replace('_', '-')}={one}" for one in values if one is not None]
    return options


def _port(process: "subprocess.Popen[bytes]", log_path: Path) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
    line = process.stdout.readline() if ready else b""
    if line:
        return int(json.loads(line)["port"])
    if not ready:
        raise TargetError(f"the simulator did not listen within {_START_TIMEOUT_S:.0f} s")
    process.wait()
    raise TargetError(f"the simulator did not start: {_last_line(log_path) or 'it said nothing'}")


def _stop(process: "subprocess.Popen[bytes]") -> int:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return process.returncode


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")

"""An engine process ends with everything it started, however the run ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.engines.process import EngineProcess, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes in /proc")

# A server that ignores SIGTERM, with a child in its session and one that left it.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
inside, outside = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
print(inside.pid, outside.pid, flush=True)
time.sleep(600)
"""

# A toolkit that starts an engine and waits; it will be killed without a chance to clean up.
DOOMED = """
import os, sys, time
from pathlib import Path
from runners.engines.process import EngineProcess
command = [sys.executable, "-c", "import time; time.sleep(600)"]
print(EngineProcess(command, os.environ, Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


def wait_for(condition: object, limit_s: float = 20.0) -> bool:
    assert callable(condition)
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    return any(each.pid == pid for each in running())


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[EngineProcess]:
    process = EngineProcess([sys.executable, "-c", STUBBORN], os.environ, tmp_path / "log")
    yield process
    process.stop(0)


def test_stop_leaves_nothing_behind(stubborn: EngineProcess) -> None:
    assert wait_for(lambda: len(stubborn.log_text().split()) == 2)
    family = [stubborn.pid, *map(int, stubborn.log_text().split())]
    assert all(alive(pid) for pid in family)
    stubborn.stop(grace_s=0.3)
    assert [pid for pid in family if alive(pid)] == []
    assert stubborn.survivors() == []


def test_the_engine_dies_with_a_toolkit_that_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", DOOMED, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as toolkit:
        assert toolkit.stdout is not None
        engine = int(toolkit.stdout.readline())
        assert alive(engine)
        toolkit.send_signal(signal.SIGKILL)
        assert wait_for(lambda: not alive(engine))

"""The simulator as a process: how it starts, fails to start, and ends."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.errors import TargetError
from runners.simulator.process import Running
from tests.simulator.raw_http import RawClient, chat

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "runners.simulator", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_stop_ends_it_mid_stream_and_keeps_the_truth(
    simulator: Callable[..., Running],
) -> None:
    running = simulator(ttft_ms=0, itl_ms=60_000)
    with RawClient(running.base_url) as client:
        client.send("POST", "/v1/chat/completions", chat())
        while b'"delta":{"content"' not in client.socket.recv(65_536):
            pass
        assert running.stop() == 0
        assert running.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(running.process.pid, 0)
    (truth,) = [json.loads(line) for line in running.truth_path.read_text().splitlines()]
    assert (truth["outcome"], truth["tokens"]) == ("abort", [1])


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = (
        "import sys, time, pathlib\n"
        "from runners.simulator.process import start\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "running = start({}, place / 'truth.jsonl', place / 'log')\n"
        "print(running.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        handle = os.pidfd_open(pid)
        process.send_signal(signal.SIGKILL)
    try:
        ended, _, _ = select.select([handle], [], [], 20)
    finally:
        os.close(handle)
    assert ended


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fault", "explode"], "fault"),
        (["--ttft-ms", "soon"], "ttft_ms"),
        (["--acceptance", "0.5", "--tokens-per-chunk", "2"], "tokens_per_chunk"),
        (["--kv-blocks", "100"], "engine_model"),
        (["--engine-model", "--itl-ms", "5"], "itl_ms"),
        (["--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_and_an_unwritable_log_are_one_line_each(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = run("--port", str(taken.getsockname()[1]))
    log = run("--log", str(tmp_path / "missing" / "truth.jsonl"))
    assert (port.returncode, log.returncode) == (4, 5)
    assert port.stderr.count("\n") == log.stderr.count("\n") == 1


def test_a_failed_start_says_the_simulators_own_reason(
    simulator: Callable[..., Running],
) -> None:
    with pytest.raises(TargetError, match="max_running"):
        simulator(max_running=-1)

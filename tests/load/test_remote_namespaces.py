"""Load workers in network namespaces of their own: other hosts, as far as TCP can tell."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from runners.load.remote_wire import TOKEN_ENV
from runners.rundir import RunDirectory
from tests.load.remote_crew import ROOT, TOKEN, drive_one, listening, profile, table


@dataclass(frozen=True)
class Namespace:
    """A network namespace, its address, and ours on the cable between."""

    name: str
    address: str
    ours: str


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespace(number: int) -> Iterator[Namespace]:
    name = f"kb{os.getpid()}n{number}"
    # 198.18.0.0/15 is set aside for benchmarks (RFC 2544).
    made = Namespace(name, f"198.18.71.{4 * number + 2}", f"198.18.71.{4 * number + 1}")
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}o", "type", "veth", "peer", "name", f"{name}i", "netns", name)
        ip("addr", "add", f"{made.ours}/30", "dev", f"{name}o")
        ip("link", "set", f"{name}o", "up")
        ip("-n", name, "addr", "add", f"{made.address}/30", "dev", f"{name}i")
        ip("-n", name, "link", "set", f"{name}i", "up")
        ip("-n", name, "route", "add", "default", "via", made.ours)
        yield made
    finally:
        ip("netns", "del", name)


@pytest.fixture
def two() -> Iterator[list[Namespace]]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command ip")
    with ExitStack() as stack:
        try:
            made = [stack.enter_context(namespace(number)) for number in (0, 1)]
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield made


@contextmanager
def simulator_on_every_address() -> Iterator[int]:
    command = [sys.executable, "-m", "runners.simulator", "--host=0.0.0.0", "--port=0"]
    command += ["--until-stdin-closes", "--ttft-ms=5", "--itl-ms=1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
        process.terminate()


def test_workers_behind_a_network_send_the_plan_on_one_clock(
    two: list[Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    run = RunDirectory.create(tmp_path, "apart")
    with ExitStack() as stack:
        port = stack.enter_context(simulator_on_every_address())
        workers = [
            stack.enter_context(
                listening(
                    tmp_path / each.name,
                    host=each.address,
                    before=["ip", "netns", "exec", each.name],
                )
            )
            for each in two
        ]
        # Both reach it by the address of the first cable; the second one by its own way.
        wanted = profile([worker.address for worker in workers])
        facts = drive_one(wanted, f"http://{two[0].ours}:{port}", run)
    plan, sent = table(run, "schedule.parquet"), table(run, "requests.parquet")
    assert facts["workers_lost"] == []
    assert sent["request_id"] == plan["request_id"]
    assert sent["worker"] == plan["worker"]
    assert set(sent["error"]) == {None}
    for each in facts["clock_offsets"]:
        assert each["rtt_ns"] > 0
        assert abs(each["offset_ns"]) <= each["uncertainty_ns"]

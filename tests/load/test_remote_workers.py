"""Load from several workers that are reached over TCP, as if on other machines."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runners.errors import TargetError, UsageError
from runners.load.remote_client import refuse_what_cannot_drive
from runners.load.remote_wire import TOKEN_ENV, Link, Refused, introduce, split_address
from runners.load.workers import Sent
from runners.rundir import RunDirectory
from runners.simulator.process import Running
from tests.load.remote_crew import (
    ROOT,
    TOKEN,
    Listening,
    drive_one,
    listening,
    profile,
    table,
    workers_running,
)
from tests.load.scripted_server import Conversation, serve

StartSimulator = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    return RunDirectory.create(tmp_path, "apart")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Listening]]:
    with ExitStack() as stack:
        yield [stack.enter_context(listening(tmp_path / name)) for name in ("one", "two")]


def wait_until(happened: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if happened():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen in 30 s")


def test_two_workers_send_exactly_the_plan_and_their_records_come_together(
    run: RunDirectory, two: list[Listening], simulator: StartSimulator
) -> None:
    server = simulator(ttft_ms=5, itl_ms=1)
    facts = drive_one(profile([each.address for each in two]), server.base_url, run)
    assert facts["workers_lost"] == []
    plan, sent = table(run, "schedule.parquet"), table(run, "requests.parquet")
    for column in ("request_id", "worker", "prompt_id", "intended_ns", "requested_tokens"):
        assert sent[column] == plan[column], column
    assert set(sent["worker"]) == {0, 1}
    assert set(sent["error"]) == {None}
    off = max(each["uncertainty_ns"] for each in facts["clock_offsets"])
    assert all(lag >= -off for lag in map(int.__sub__, sent["sent_ns"], sent["intended_ns"]))
    chunks = table(run, "chunks.parquet")
    assert len(chunks["request_id"]) == sum(sent["chunks"]) == 60 * 6
    assert [each["worker"] for each in facts["clock_offsets"]] == [0, 1]
    for each in facts["clock_offsets"]:  # the clock is one and the same here
        assert abs(each["offset_ns"]) <= each["uncertainty_ns"]
    assert facts["clock_drift_ns"] == 0
    assert not (run / "work").exists()
    assert [list(each.folder.iterdir()) for each in two] == [[], []]


def test_a_worker_serves_one_coordinator_after_the_other(
    run: RunDirectory, two: list[Listening], simulator: StartSimulator
) -> None:
    server = simulator(ttft_ms=1, itl_ms=1)
    wanted = profile([each.address for each in two], rate=None, concurrency=4, requests=12)
    for _ in range(2):
        assert drive_one(wanted, server.base_url, run)["workers_lost"] == []
        assert len(table(run, "requests.parquet")["request_id"]) == 12


def test_a_certificate_to_trust_is_sent_along(
    run: RunDirectory, two: list[Listening], certificate: tuple[Path, Path]
) -> None:
    events = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"

    def play(conversation: Conversation) -> None:
        while conversation.request():
            conversation.send(head % len(events) + events)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    wanted = profile([each.address for each in two], rate=None, concurrency=2, requests=8)
    with serve(play, tls=context) as server:
        url = f"https://localhost:{server.port}"
        drive_one(wanted, url, run, ca_cert=certificate[0])
    assert set(table(run, "requests.parquet")["status"]) == {200}


def test_another_token_is_refused_on_both_sides(
    run: RunDirectory, two: list[Listening], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = profile([each.address for each in two])
    monkeypatch.setenv(TOKEN_ENV, "a token that nobody gave")
    with pytest.raises(TargetError, match=f"token is another one; {TOKEN_ENV}"):
        drive_one(wanted, "http://127.0.0.1:9", run)
    wait_until(lambda: "not admitted" in two[0].log())
    monkeypatch.delenv(TOKEN_ENV)
    with pytest.raises(UsageError, match=TOKEN_ENV):
        drive_one(wanted, "http://127.0.0.1:9", run)


def test_a_listener_that_does_not_know_the_token_learns_nothing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        lines: list[bytes] = []

        def impostor() -> None:
            header = b'{"type": "hello", "protocol": 1, "toolkit": "0.1.0", "nonce": "00"}'
            theirs.sendall(len(header).to_bytes(4, "big") + header)
            lines.append(theirs.recv(4096))
            header = b'{"type": "welcome", "proof": "00"}'
            theirs.sendall(len(header).to_bytes(4, "big") + header)

        thread = threading.Thread(target=impostor)
        thread.start()
        with pytest.raises(Refused, match="token is another one"):
            introduce(_over_tcp(ours), TOKEN)
        thread.join()
    assert TOKEN.encode() not in lines[0]


def _over_tcp(sock: socket.socket) -> Link:
    """A link over a socket that has no TCP options."""
    link = Link.__new__(Link)
    link._sock, link._wake = sock, None
    return link


def test_without_a_token_no_worker_waits() -> None:
    environment = {**os.environ, TOKEN_ENV: "short"}
    done = subprocess.run(
        [sys.executable, "-m", "runners.load.remote", "--listen", "127.0.0.1:0"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert TOKEN_ENV in line


@pytest.mark.parametrize(
    ("file", "spec", "said"),
    [
        ("../escaped", None, "nobody asked for"),
        ("/tmp/escaped", None, "nobody asked for"),
        ("bodies", {"bodies": "/etc/passwd"}, "other fields"),
        ("bodies", {"command": "true"}, "other fields"),
    ],
)
def test_orders_other_than_a_spec_are_refused(
    file: str, spec: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / "content").write_text("x")
    with listening(tmp_path / "one") as worker:
        link = Link(socket.create_connection(split_address(worker.address)))
        introduce(link, TOKEN)
        link.send_file(file, tmp_path / "content")
        link.send("spec", spec=spec)
        link.send("prepare")
        answer = link.receive(seconds=30)
        link.close()
        wait_until(lambda: "refused" in worker.log())
        assert answer.kind == "refused"
        assert said in answer.text("reason")
        assert list(worker.folder.iterdir()) == []


def test_a_key_comes_from_the_workers_own_environment(
    run: RunDirectory, simulator: StartSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATOR_KEY", "sk-of-the-worker")
    server = simulator(ttft_ms=1, itl_ms=1, api_key_env="SIMULATOR_KEY")
    monkeypatch.delenv("SIMULATOR_KEY")
    with listening(tmp_path / "with", env={"SIMULATOR_KEY": "sk-of-the-worker"}) as worker:
        facts = drive_one(
            profile([worker.address]), server.base_url, run, api_key_env="SIMULATOR_KEY"
        )
        assert facts["workers_lost"] == []
        assert set(table(run, "requests.parquet")["status"]) == {200}
    with (
        listening(tmp_path / "without") as worker,
        pytest.raises(TargetError, match="SIMULATOR_KEY with the API key is not set"),
    ):
        drive_one(profile([worker.address]), server.base_url, run, api_key_env="SIMULATOR_KEY")


class Striking:
    """Does something once, as soon as enough requests have been answered."""

    def __init__(self, strike: Callable[[], None]) -> None:
        self._strike: Callable[[], None] | None = strike

    def __call__(self, sent: Sent) -> None:
        if sent.done > 20 and self._strike is not None:
            strike, self._strike = self._strike, None
            strike()


@pytest.mark.parametrize(
    ("sent", "to", "said"),
    [
        (signal.SIGKILL, "load", "ended with code -9"),
        (signal.SIGKILL, "machine", "was lost"),
        (signal.SIGTERM, "machine", "was told to end"),
    ],
)
def test_a_lost_worker_stops_the_others_and_what_was_measured_is_kept(
    run: RunDirectory,
    two: list[Listening],
    simulator: StartSimulator,
    sent: signal.Signals,
    to: str,
    said: str,
) -> None:
    server = simulator(ttft_ms=5, itl_ms=1)

    def strike() -> None:
        (load,) = workers_running(two[1].folder)
        os.kill(load if to == "load" else two[1].process.pid, sent)

    wanted = profile([each.address for each in two], rate=50.0, requests=3000)
    facts = drive_one(wanted, server.base_url, run, Striking(strike))
    (line,) = facts["workers_lost"]
    assert line.startswith(f"load worker 1 at {two[1].address}") and said in line
    records = table(run, "requests.parquet")
    kept = [worker for worker, error in zip(records["worker"], records["error"], strict=True)
            if error is None]  # fmt: skip
    assert kept.count(0) > 5
    assert len(kept) < 1500  # the first worker did not go on alone
    if (sent, to) != (signal.SIGKILL, "machine"):  # whose records died with it
        assert kept.count(1) > 5
    wait_until(lambda: not (workers_running(two[0].folder) + workers_running(two[1].folder)))


def test_an_interrupt_stops_all_and_brings_their_records(
    run: RunDirectory, two: list[Listening], simulator: StartSimulator
) -> None:
    def strike() -> None:
        raise KeyboardInterrupt

    server = simulator(ttft_ms=5, itl_ms=1)
    wanted = profile([each.address for each in two], rate=50.0, requests=3000)
    facts = drive_one(wanted, server.base_url, run, Striking(strike))
    assert facts["interrupted"] is True
    assert facts["workers_lost"] == []
    assert set(table(run, "requests.parquet")["worker"]) == {0, 1}


def test_when_the_coordinator_is_killed_the_workers_stop_and_wait_for_the_next(
    run: RunDirectory, two: list[Listening], simulator: StartSimulator, tmp_path: Path
) -> None:
    server = simulator(ttft_ms=5, itl_ms=1)
    command = [sys.executable, "-m", "runners.cli", "--profile", "cpu-smoke"]
    command += ["--url", server.base_url, "--rate", "50", "--duration", "300", "--quiet"]
    command += ["--set", "model.name=simulated"]
    addresses = [each.address for each in two]
    command += ["--set", f"load.workers={{addresses: {addresses}}}"]
    coordinator = subprocess.Popen([*command, "--out", str(tmp_path / "out")], cwd=ROOT)
    try:
        wait_until(lambda: all(_has_records(each.folder) for each in two))
    finally:
        coordinator.kill()
        coordinator.wait()
    for each in two:
        wait_until(lambda each=each: not workers_running(each.folder))  # type: ignore[misc]
        wait_until(lambda each=each: list(each.folder.iterdir()) == [])  # type: ignore[misc]
        wait_until(lambda each=each: "the coordinator has gone" in each.log())  # type: ignore[misc]
    again = profile([each.address for each in two])
    assert drive_one(again, server.base_url, run)["workers_lost"] == []


def _has_records(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("*/requests-*.jsonl"))


def test_once_ends_after_one_coordinator_and_its_place_is_its_own(
    run: RunDirectory, simulator: StartSimulator, tmp_path: Path
) -> None:
    server = simulator(ttft_ms=1, itl_ms=1)
    of_a_job = {"JOB_COMPLETION_INDEX": "1"}
    with listening(tmp_path / "pod", "--once", "--count=2", env=of_a_job) as worker:
        with pytest.raises(TargetError, match="this is worker 1 of 2"):
            drive_one(profile([worker.address]), server.base_url, run)
        assert worker.process.wait(30) == 4
    with listening(tmp_path / "next", "--once") as worker:
        drive_one(profile([worker.address]), server.base_url, run)
        assert worker.process.wait(30) == 0


def test_a_server_that_only_this_machine_can_reach(run: RunDirectory) -> None:
    apart = profile(["127.0.0.1:8790", "10.0.0.7:8790"])
    said = r"10\.0\.0\.7:8790 is another machine and cannot reach a server at"
    with pytest.raises(UsageError, match=said):
        drive_one(apart, "http://127.0.0.1:9", run)
    with pytest.raises(UsageError, match=said):
        refuse_what_cannot_drive(apart.model_copy(update={"target": "simulator"}))


def test_more_workers_than_requests_in_flight(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match=r"2 workers cannot share load\.concurrency 1"):
        refuse_what_cannot_drive(profile(["10.0.0.7:1", "10.0.0.8:1"], concurrency=1))


def test_an_address_where_nobody_waits(run: RunDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(TargetError, match=f"{address} cannot be reached.*runners.load.remote"):
        drive_one(profile([address]), "http://127.0.0.1:9", run)


def test_what_is_no_worker_is_not_driven(run: RunDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(TargetError, match=f"{address}: it does not speak the language"):
            drive_one(profile([address]), "http://127.0.0.1:9", run)
        thread.join()

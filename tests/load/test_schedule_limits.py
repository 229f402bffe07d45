"""What the client does with think times and with an error budget."""

import time
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from pathlib import Path

import pytest

from runners.load.client import Client
from runners.load.clock import monotonic_ns
from runners.load.drive import worker_count
from runners.load.exchange import Exchange
from runners.load.limits import Limits, Planned
from runners.load.schedule import make_schedule, pace
from runners.load.stream import resolve
from runners.profiles.load_section import Load
from runners.profiles.workload_section import Workload
from tests.load.scripted_server import Conversation, Play, Server, plain, serve

MESSAGE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def answering(*statuses: str) -> Play:
    """One status after the other, after a service time in which the client can parse."""

    def play(talk: Conversation) -> None:
        for status in cycle(statuses):
            if not talk.request():
                return
            time.sleep(0.002)
            talk.send(plain(status, b"{}"))

    return play


def drive(
    server: Server,
    count: int,
    limits: Limits,
    think_times: Iterator[int] | None = None,
) -> tuple[list[Exchange], Client, int]:
    seen: list[Exchange] = []

    def finished(exchange: Exchange) -> bool:
        seen.append(exchange)
        return exchange.status == 200

    client = Client(resolve(server.host, server.port, None), limits, finished)
    start = monotonic_ns()
    plan = (Planned(index, index, 1, False, None, MESSAGE) for index in range(count))
    client.run(plan, start, think_times)
    return seen, client, start


def closed(concurrency: int, **limits: float) -> Limits:
    return Limits(concurrency, None, None, None, 5 * 10**9, 10_000, **limits)  # type: ignore[arg-type]


def test_a_user_thinks_before_the_first_request_and_after_each_answer() -> None:
    think = 30_000_000
    with serve(answering("200 OK")) as server:
        seen, _, start = drive(server, 4, closed(1), repeat(think))
    free = start
    for exchange in seen:
        assert exchange.sent_ns is not None and exchange.end_ns is not None
        assert exchange.intended_ns >= free + think
        assert exchange.sent_ns >= exchange.intended_ns
        free = exchange.end_ns


def test_a_user_deep_in_thought_does_not_hold_up_another() -> None:
    slow = 60 * 10**9
    with serve(answering("200 OK")) as server:
        seen, _, start = drive(server, 5, closed(2), chain([slow], repeat(0)))
    assert len(seen) == 5
    assert all(exchange.intended_ns < start + slow for exchange in seen)


def test_the_load_stops_when_the_error_budget_is_spent() -> None:
    with serve(answering("200 OK", "500 Oops")) as server:
        seen, client, _ = drive(server, 1000, closed(1, failures=3))
    assert sum(exchange.status == 500 for exchange in seen) >= 3
    assert len(seen) < 100
    assert client.tally.stopped is not None
    assert "load.stop_after_failures" in client.tally.stopped


@pytest.mark.parametrize(("share", "stops"), [(0.2, True), (0.5, False)])
def test_a_share_of_failures_is_judged_once_there_are_enough(share: float, stops: bool) -> None:
    with serve(answering("200 OK", "200 OK", "500 Oops")) as server:
        seen, client, _ = drive(server, 200, closed(1, failure_share=share))
    assert bool(client.tally.stopped) is stops
    assert 20 <= len(seen) < 100 if stops else len(seen) == 200


@pytest.fixture
def busy_trace(tmp_path: Path) -> Callable[[int], str]:
    def write(per_second: int) -> str:
        path = tmp_path / f"{per_second}.jsonl"
        line = '{"timestamp": 5, "input_length": 1, "output_length": 1}\n'
        path.write_text(line * per_second)
        return str(path)

    return write


def test_a_rush_within_a_trace_asks_for_more_workers(
    busy_trace: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    counts = []
    for rush in (10, 6000):
        load = Load(trace={"file": busy_trace(rush)})  # type: ignore[arg-type]
        peak = make_schedule(load, Workload()).busiest_second()
        counts.append(worker_count(None, pace(load), peak))
    assert counts == [1, 4]

"""(b, c) What a client reports against what the server did."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.clients import Client, Seen, Work, run_directory
from bench.mock import Floats, Timetable, Truth
from bench.tables import show
from bench.trial import trial

TIMETABLE = Timetable(ttft_ms=50, itl_ms=10)
TOKENS = 64
_ROUNDS = 8
_SERVER_CORE, _CLIENT_CORE = 0, 1

_COMPETITOR = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
while True:
    until = time.monotonic() + 0.005
    while time.monotonic() < until:
        pass
    time.sleep(0.005)
"""


@dataclass(frozen=True)
class Errors:
    """Client minus server, in ms: differences of quantiles, and per request where the
    client's records can be joined with the log: how far outside of what the log allows, which
    is from the instant before the first send to the one after. late_p99: how late the server
    read its requests."""

    requests: int
    ttft_p50: float
    ttft_p99: float
    tpot_p50: float
    tpot_p99: float
    gap_p50: float | None
    gap_p99: float | None
    ttft_each_p50: float | None
    ttft_each_p99: float | None
    late_p99: float


def errors_of(seen: Seen, truth: Truth, each: Floats | None = None) -> Errors:
    """`each`: the client's TTFT in the order of sending, to be joined with the log."""
    joined = None
    if each is not None and len(each) == len(truth.ttft_ms):
        last = np.array([sent[0] for sent in truth.sent]) - truth.arrival
        joined = np.maximum(np.maximum(truth.ttft_ms - each, each - last / 1e6), 0.0)
    gaps = seen.gap_ms
    return Errors(
        len(seen.ttft_ms),
        difference(seen.ttft_ms, truth.ttft_ms, 50),
        difference(seen.ttft_ms, truth.ttft_ms, 99),
        difference(seen.tpot_ms, truth.tpot_ms, 50),
        difference(seen.tpot_ms, truth.tpot_ms, 99),
        None if gaps is None else difference(gaps, truth.gap_ms, 50),
        None if gaps is None else difference(gaps, truth.gap_ms, 99),
        None if joined is None else float(np.percentile(joined, 50)),
        None if joined is None else float(np.percentile(joined, 99)),
        float(np.percentile(truth.read_late_ms, 99)),
    )


def difference(client: Floats, server: Floats, percent: float) -> float:
    return float(np.percentile(client, percent) - np.percentile(server, percent))


def measure(
    clients: Sequence[Client], concurrencies: Sequence[int], rounds: int, *, competitor: bool
) -> dict[str, Any]:
    """Errors of every client in turn; prints a table per concurrency.

    competitor: a process takes the client's core half of the time.
    """
    figures = []
    for concurrency in concurrencies:
        found: dict[str, list[Errors]] = {client.name: [] for client in clients}
        for _ in range(rounds):
            for client in clients:
                found[client.name].append(_errors(client, concurrency, competitor=competitor))
        _print(concurrency, found, competitor=competitor)
        figures += [
            {"concurrency": concurrency, "client": name, "runs": [vars(run) for run in runs]}
            for name, runs in found.items()
        ]
    return {"competitor": competitor, "errors": figures}


def _errors(client: Client, concurrency: int, *, competitor: bool) -> Errors:
    requests = 20 if concurrency == 1 else _ROUNDS * concurrency
    work = Work(requests, TOKENS, concurrency=concurrency)
    cores = (_SERVER_CORE, _CLIENT_CORE) if competitor else None
    with (
        competing(_CLIENT_CORE) if competitor else nullcontext(),
        trial(client, work, TIMETABLE, cores=cores) as done,
    ):
        assert done.truth is not None
        each = _ours_in_order(run_directory(done.folder)) if client.name == "ours" else None
        return errors_of(client.seen(done.folder), done.truth, each)


def _ours_in_order(run: Any) -> Floats:
    """Our TTFT by time of sending, which is the order of arrival at the server."""
    import pyarrow.parquet as pq

    table = pq.read_table(run / "requests.parquet").to_pandas().sort_values("sent_ns")
    return np.asarray((table["first_content_ns"] - table["sent_ns"]) / 1e6)


@contextmanager
def competing(core: int) -> Iterator[None]:
    """A process on `core` that computes 5 ms and sleeps 5 ms, over and over."""
    process = subprocess.Popen([sys.executable, "-c", _COMPETITOR, str(core)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _print(concurrency: int, found: dict[str, list[Errors]], *, competitor: bool) -> None:
    columns = (
        "client", "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "gap p50", "gap p99",
        "each p50", "each p99", "server late p99",
    )  # fmt: skip
    names = tuple(Errors.__dataclass_fields__)[1:]
    rows = []
    for client, runs in found.items():
        cells = [client]
        for name in names:
            values = [getattr(run, name) for run in runs]
            digits = 3 if name.startswith(("tpot", "gap")) else 2
            cells.append("–" if None in values else _signed(values, digits))
        rows.append(cells)
    half = ", a competitor takes half of the client's core" if competitor else ""
    show(
        f"Error in ms, client minus server: {concurrency} streams, 50/10 ms, 64 tokens{half}",
        columns,
        rows,
    )


def _signed(values: Sequence[float], digits: int) -> str:
    """The run in the middle, and behind it the worst where there are several."""
    ordered = sorted(values)
    middle = f"{ordered[len(ordered) // 2]:+.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({max(values, key=abs):+.{digits}f})"

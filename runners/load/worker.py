"""One load worker: a process of its own, so that nothing else shares its clock.

    python -m runners.load.worker SPEC.json

SPEC names a file of ready request bodies (one JSON body a line, by prompt id), a
schedule (npz), the server, the limits, and where to write. The worker connects, prints
{"ready": …}, reads {"start_at": <monotonic ns>} from standard input, drives the load,
prints its progress as JSON lines and ends with {"result": …}. SIGTERM stops it early;
what it has is written all the same. An API key comes by environment only.
"""

import gc
import json
import os
import select
import signal
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, cycle
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from runners.load.backlog import Tally
from runners.load.client import Client
from runners.load.clock import ask_for_short_turns, die_with_parent, monotonic_ns, tighten_timers
from runners.load.conversation import Conversations, Rows
from runners.load.dialects import DIALECTS
from runners.load.exchange import Exchange
from runners.load.limits import Limits, Planned
from runners.load.reading import Reader
from runners.load.stream import resolve, tls_context

_ROWS_AT_ONCE = 1 << 13
CHUNK_COLUMNS = ("request_id", "arrival_ns", "bytes", "tokens_milli", "kind")


@dataclass(frozen=True)
class Spec:
    """What a worker needs to know; times in ns, None for no limit.

    api: the dialect, by its name in runners.load.dialects. host_header: the name to send
    where base_url is a gateway's address. conversations: the schedule has later turns.
    """

    base_url: str
    api: str
    path: str
    bodies: str
    schedule: str
    output: str
    index: int
    count: int
    limits: Limits
    connect_ahead: int
    stream: bool
    keep_responses: bool
    api_key_env: str | None
    ca_cert: str | None
    host_header: str | None = None
    conversations: bool = False

    @classmethod
    def read(cls, path: Path) -> "Spec":
        data = json.loads(path.read_text(encoding="utf-8"))
        data["limits"] = Limits(**data["limits"])
        return cls(**data)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


class NotWrittenError(Exception):
    """The records could not be written; `str()` of it is the system's reason."""


class Records:
    """Finished requests on their way to disk: a JSON line each, chunks as int64 rows.

    Every method raises NotWrittenError when the disk is full or gone.
    """

    start_ns = 0

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        keep_text = spec.keep_responses or spec.conversations
        self._reader = Reader(DIALECTS[spec.api], spec.stream, keep_text)
        self.latest_answer: str | None = None
        folder = Path(spec.output)
        self._requests = (folder / f"requests-{spec.index}.jsonl").open("wb")
        self._chunks = (folder / f"chunks-{spec.index}.i64").open("wb")
        self._rows = [array("q") for _ in CHUNK_COLUMNS]
        self.counted_chunks = 0

    def add(self, exchange: Exchange) -> bool:
        """Understand and write one exchange; True when it is ok."""
        start = self.start_ns
        answer = self._reader.read(exchange)
        error, detail = exchange.error, exchange.error_detail
        if error is None or (error == "broken_stream" and answer.error == "stream_error"):
            error, detail = answer.error, answer.error_detail
        arrivals = answer.arrivals
        first = arrivals[0] - start if arrivals and self._spec.stream else None
        row = (
            exchange.request_id,
            self._spec.index,
            exchange.prompt_id,
            exchange.warmup,
            exchange.intended_ns - start,
            None if exchange.sent_ns is None else exchange.sent_ns - start,
            first,
            arrivals[-1] - start if arrivals else None,
            None if exchange.end_ns is None else exchange.end_ns - start,
            answer.prompt_tokens,
            answer.output_tokens,
            answer.cached_tokens,
            None if answer.output_tokens is None else "usage",
            len(arrivals),
            exchange.requested_tokens,
            answer.finish_reason,
            exchange.status,
            error,
            detail,
            exchange.capped,
            exchange.connect_ns,
            exchange.tls_ns,
            "".join(answer.texts) if self._spec.keep_responses else None,
        )
        columns = (array("q", [exchange.request_id]) * len(arrivals), arrivals, answer.sizes)
        for column, values in zip(self._rows, (*columns, answer.milli, answer.kinds), strict=True):
            column.extend(values)
        with written():
            self._requests.write(orjson.dumps(row) + b"\n")
        if len(self._rows[0]) > _ROWS_AT_ONCE:
            self._write_rows()
        self.counted_chunks += answer.counted_chunks
        if exchange.goes_on:
            self.latest_answer = answer.content() if error is None else None
        return error is None

    def _write_rows(self) -> None:
        """Chunks in rows, their arrivals since the start of load."""
        rows = np.array(self._rows, np.int64).T
        rows[:, CHUNK_COLUMNS.index("arrival_ns")] -= self.start_ns
        self._rows = [array("q") for _ in CHUNK_COLUMNS]
        with written():
            self._chunks.write(rows.tobytes())

    def flush(self) -> None:
        self._write_rows()
        with written():
            self._requests.flush()
            self._chunks.flush()

    def close(self) -> None:
        self._write_rows()
        with written():
            self._requests.close()
            self._chunks.close()


@contextmanager
def written() -> Iterator[None]:
    """Turn an operating-system failure into NotWrittenError, apart from those of sockets."""
    try:
        yield
    except OSError as error:
        raise NotWrittenError(error.strerror or str(error)) from error


def head(spec: Spec) -> bytes:
    """Start of every HTTP request, up to its length."""
    url = urlsplit(spec.base_url)
    lines = [
        f"POST {url.path.rstrip('/')}{spec.path} HTTP/1.1",
        f"Host: {spec.host_header or url.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        f"Accept: {'text/event-stream' if spec.stream else 'application/json'}",
        "Accept-Encoding: identity",
        "User-Agent: kserve-bench",
    ]
    key = os.environ.get(spec.api_key_env or "")
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join(lines).encode("latin-1")


def framed(start: bytes, body: bytes) -> bytes:
    """A whole HTTP request, head and body."""
    return start + b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def bodies(spec: Spec) -> list[bytes]:
    """JSON by prompt id."""
    return Path(spec.bodies).read_bytes().splitlines()


def messages(spec: Spec) -> list[bytes]:
    """Whole HTTP requests, head and body, by prompt id."""
    start = head(spec)
    return [framed(start, body) for body in bodies(spec)]


def read_rows(spec: Spec) -> Rows:
    """The whole schedule."""
    with np.load(spec.schedule) as plan:
        return Rows(
            plan["prompt_id"].tolist(),
            plan["requested_tokens"].tolist(),
            plan["warmup"].tolist(),
            plan["intended_ns"].tolist() if "intended_ns" in plan else None,
            plan["turn"].tolist() if "turn" in plan else None,
        )


def planned(spec: Spec, ready: list[bytes]) -> Iterator[Planned]:
    """This worker's share of the schedule, endless where only time limits it.

    Of a conversation only the first turn: what follows depends on the answer.
    """
    rows = read_rows(spec)
    total = len(rows)
    for index in _own(spec, rows):
        if index >= total and (spec.limits.duration_ns is None or rows.intended_ns is not None):
            return
        at = index % total
        yield Planned(
            request_id=index,
            prompt_id=rows.prompt_id[at],
            requested_tokens=rows.requested_tokens[at],
            warmup=rows.warmup[at] and index < total,
            intended_ns=None if rows.intended_ns is None else rows.intended_ns[at],
            message=ready[rows.prompt_id[at]],
            goes_on=rows.goes_on(index),
        )


def _own(spec: Spec, rows: Rows) -> Iterator[int]:
    """Every count-th request, or conversation, over and over; no end."""
    if rows.turn is None:
        return count(spec.index, spec.count)
    firsts = [at for at, turn in enumerate(rows.turn) if turn == 0][spec.index :: spec.count]
    if not firsts:
        return iter(())
    return (begin + first for begin in count(0, len(rows)) for first in firsts)


def next_turns(spec: Spec, records: Records) -> Callable[[Exchange], Planned | None]:
    """What makes the later turns of conversations."""
    if not spec.conversations:
        return lambda exchange: None
    conversations = Conversations(read_rows(spec), bodies(spec), partial(framed, head(spec)))
    return lambda exchange: conversations.next_turn(exchange, records.latest_answer)


def think_times(spec: Spec) -> Iterator[int] | None:
    """This worker's share of the schedule's think times in ns, over and over."""
    with np.load(spec.schedule) as plan:
        if "think_ns" not in plan:
            return None
        return cycle(plan["think_ns"][spec.index :: spec.count].tolist())


def say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> int:
    die_with_parent()
    tighten_timers()
    ask_for_short_turns()
    spec = Spec.read(Path(sys.argv[1]))
    url = urlsplit(spec.base_url)
    tls = (
        tls_context(Path(spec.ca_cert) if spec.ca_cert else None) if url.scheme == "https" else None
    )
    ready = messages(spec)
    asked_ns = monotonic_ns()
    addresses = resolve(url.hostname or "", url.port or (443 if tls else 80), tls)
    dns_ms = (monotonic_ns() - asked_ns) / 1e6
    records = Records(spec)

    def progress(tally: Tally) -> None:
        say({"sent": tally.sent, "done": tally.done, "failed": tally.failed})
        records.flush()

    client = Client(addresses, spec.limits, records.add, progress, next_turns(spec, records))

    def stop(signum: int, frame: FrameType | None) -> None:
        client.interrupt()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client.connect_ahead(spec.connect_ahead, monotonic_ns() + 2_000_000_000)
    say({"ready": True})
    select.select([sys.stdin], [], [])
    start_line = sys.stdin.readline()
    if not start_line:
        return 1
    records.start_ns = json.loads(start_line)["start_at"]
    gc.collect()
    gc.freeze()
    gc.disable()
    failure: str | None = None
    collections = gc_runs()
    cpu_before, wall_before = time.process_time(), time.monotonic()
    try:
        client.run(planned(spec, ready), records.start_ns, think_times(spec))
        records.close()
    except NotWrittenError as error:
        failure = str(error)
    busy = (time.process_time() - cpu_before) / (time.monotonic() - wall_before)
    further = {"cpu_share": busy, "dns_ms": dns_ms, "not_written": failure}
    further["gc_pauses"] = gc_runs() - collections
    say({"result": _result(client, records) | further})
    return 0


def gc_runs() -> int:
    """How often garbage was collected so far, each a pause of everything."""
    return sum(generation["collections"] for generation in gc.get_stats())


def _result(client: Client, records: Records) -> dict[str, Any]:
    tally = client.tally
    lags = tally.lag.values
    return {
        "arrival_stamp": "kernel" if client.kernel_stamps and lags else "user_read",
        "read_lag_p99_ms": float(np.percentile(lags, 99)) / 1e6 if lags else None,
        "loop_stall_p99_ms": tally.turns.wait_p99_ns / 1e6,
        "loop_stalls": tally.turns.stalls,
        "clock_step_ns": client.wall.largest_step_ns,
        "connections": tally.connections,
        "reconnects": tally.reconnects,
        "stopped": tally.stopped,
        "token_split": "continuous_usage" if records.counted_chunks else "by_bytes",
    }


if __name__ == "__main__":
    sys.exit(main())

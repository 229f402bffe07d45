"""How far another machine's clock is ahead of ours, and records told in our clock.

Both clocks are CLOCK_MONOTONIC, which nothing steps; they differ by when the machines
were started, and drift apart by what their oscillators differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from runners.load.remote_orders import records
from runners.load.worker import CHUNK_COLUMNS

# Where runners.load.worker.Records puts the times of a request into its row.
_REQUEST_TIMES = range(4, 9)
_CHUNK_ARRIVAL = CHUNK_COLUMNS.index("arrival_ns")


@dataclass(frozen=True)
class Ping:
    """One exchange: sent and returned in our clock, received and replied in the other one."""

    sent_ns: int
    received_ns: int
    replied_ns: int
    returned_ns: int

    @property
    def rtt_ns(self) -> int:
        """Time on the way, both ways, without the other side's own."""
        return (self.returned_ns - self.sent_ns) - (self.replied_ns - self.received_ns)


@dataclass(frozen=True)
class Offset:
    """Their clock minus ours, at our time at_ns; the truth is within the uncertainty."""

    offset_ns: int
    uncertainty_ns: int
    rtt_ns: int
    at_ns: int


def estimate(pings: Iterable[Ping]) -> Offset:
    """The offset by the ping with the least round trip (Cristian, Mills: RFC 5905 §8).

    However the delay was shared between the two ways, the error is at most half of it.
    """
    best = min(pings, key=lambda ping: ping.rtt_ns)
    ahead = (best.received_ns - best.sent_ns) + (best.replied_ns - best.returned_ns)
    return Offset(
        offset_ns=ahead // 2,
        uncertainty_ns=-(-best.rtt_ns // 2) + 1,
        rtt_ns=best.rtt_ns,
        at_ns=(best.sent_ns + best.returned_ns) // 2,
    )


@dataclass(frozen=True)
class Clock:
    """A worker's clock by two measurements; end is None where the second could not be made."""

    start: Offset
    end: Offset | None = None

    @property
    def drift_ns(self) -> int | None:
        """By how much their clock gained on ours between the measurements."""
        return None if self.end is None else self.end.offset_ns - self.start.offset_ns

    @property
    def certain_drift_ns(self) -> int | None:
        """The part of the drift that the uncertainty of both measurements cannot explain."""
        if self.end is None or self.drift_ns is None:
            return None
        return max(0, abs(self.drift_ns) - self.start.uncertainty_ns - self.end.uncertainty_ns)

    def facts(self, worker: int) -> dict[str, Any]:
        """One entry of `load.clock_offsets` in environment.json."""
        return {
            "worker": worker,
            "offset_ns": self.start.offset_ns,
            "uncertainty_ns": self.start.uncertainty_ns,
            "rtt_ns": self.start.rtt_ns,
            "drift_ns": self.drift_ns,
        }

    def gained_ns(self, t0_ns: int, since_t0: Any) -> Any:
        """By how much a time since t0 is too late in their clock; linear in between."""
        assert self.end is not None and self.drift_ns is not None
        share = (t0_ns + since_t0 - self.start.at_ns) / (self.end.at_ns - self.start.at_ns)
        return np.rint(self.drift_ns * share).astype(np.int64)


def tell_in_our_clock(folder: Path, index: int, clock: Clock, t0_ns: int) -> None:
    """Translate the record files of worker `index`; t0_ns: the start of load, our clock.

    They count from the start of load as the worker's clock had it, so that the offset is
    in them already and only the drift is left. A drift within the uncertainty is noise,
    and nothing is changed.
    """
    files = records(folder, index)
    requests, path = files["requests"], files["chunks"]
    if not clock.certain_drift_ns or not (requests.exists() and path.exists()):
        return
    rows = [_translated(line, clock, t0_ns) for line in requests.read_bytes().splitlines()]
    requests.write_bytes(b"\n".join([*rows, b""]))
    width = len(CHUNK_COLUMNS)
    whole = path.stat().st_size // (8 * width)
    if whole:
        chunks = np.memmap(path, dtype=np.int64, mode="r+", shape=(whole, width))
        chunks[:, _CHUNK_ARRIVAL] -= clock.gained_ns(t0_ns, chunks[:, _CHUNK_ARRIVAL])
        chunks.flush()


def _translated(line: bytes, clock: Clock, t0_ns: int) -> bytes:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:  # cut short by a kill
        return line
    for column in _REQUEST_TIMES:
        if row[column] is not None:
            row[column] -= int(clock.gained_ns(t0_ns, row[column]))
    return orjson.dumps(row)

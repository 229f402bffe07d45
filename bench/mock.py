"""The benchmarks' own server as a process, and the log of what it truly did."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.build import mock_server

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_HEADER = 5


@dataclass(frozen=True)
class Timetable:
    """What the server does: delays in ms, `whole` for one send per response.

    owner: what /v1/models names as the model's owner; "vllm" makes our client ask for the
    usage in every event, as it does of that engine.
    """

    ttft_ms: float = 0.0
    itl_ms: float = 0.0
    whole: bool = False
    owner: str = "bench"


@dataclass(frozen=True)
class Truth:
    """Streamed requests by arrival; CLOCK_MONOTONIC ns.

    request_id: of the header x-request-id, -1 without one. arrival: the kernel's stamp of
    the segment that completed the request. read: when the server had it. sends: per request
    the instants right before each content chunk's send(); sent: right after. The kernel had
    the chunk in between, which is long when the server was interrupted there.
    """

    request_id: Ints
    arrival: Ints
    read: Ints
    sends: tuple[Ints, ...]
    sent: tuple[Ints, ...]

    @property
    def ttft_ms(self) -> Floats:
        """From the request's arrival at the server's kernel to the first content's send."""
        first = np.array([each[0] for each in self.sends], dtype=np.int64)
        return (first - self.arrival) / 1e6

    @property
    def tpot_ms(self) -> Floats:
        spans = [(each[-1] - each[0]) / max(len(each) - 1, 1) for each in self.sends]
        return np.array(spans) / 1e6

    @property
    def gap_ms(self) -> Floats:
        return np.concatenate([np.diff(each) for each in self.sends]) / 1e6

    @property
    def read_late_ms(self) -> Floats:
        """How long a request lay in the server's socket: the server's fault, nobody else's."""
        return (self.read - self.arrival) / 1e6


def read_log(path: Path) -> Truth:
    """Requests with at least one content chunk sent, earliest arrival first."""
    numbers = np.fromfile(path, dtype=np.int64)
    heads, pairs, at = [], [], 0
    while at < len(numbers):
        head = numbers[at : at + _HEADER]
        end = at + _HEADER + 2 * int(head[4])
        if head[4]:
            heads.append(head)
            pairs.append(numbers[at + _HEADER : end].reshape(-1, 2))
        at = end
    table = np.array(heads, dtype=np.int64).reshape(-1, _HEADER)
    order = np.argsort(table[:, 1], kind="stable")
    table = table[order]
    sends, sent = (tuple(pairs[i][:, side] for i in order) for side in (0, 1))
    return Truth(table[:, 0], table[:, 1], table[:, 2], sends, sent)


@contextmanager
def serving(
    timetable: Timetable, log: Path | None = None, core: int | None = None
) -> Iterator[str]:
    """Run the server; its URL. `log` is there once the block has been left."""
    command = [str(mock_server())]
    command += ["--ttft-us", str(round(timetable.ttft_ms * 1000))]
    command += ["--itl-us", str(round(timetable.itl_ms * 1000)), "--owner", timetable.owner]
    command += ["--whole"] if timetable.whole else []
    command += ["--log", str(log)] if log else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate()

"""chunks.parquet, a block at a time: a long run has more chunks than should be in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runners.measure.statistics import batch_firsts

Ids = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BLOCK = 1 << 17


@dataclass(frozen=True)
class Chunks:
    """Content chunks of all requests. Those of a request follow each other in the file.

    chunks, tokens, unknown: by request id: how many it has, the sum of those with a token
    count, how many are without.
    """

    path: Path
    count: int
    chunks: Ints
    tokens: Floats
    unknown: Ints

    def arrivals(self) -> Iterator[tuple[Ints, Tokens]]:
        """(arrivals in ns from the start of load, tokens), in blocks, of those with a count."""
        for arrival, tokens in _blocks(self.path, "arrival_ns", "tokens"):
            known = ~np.isnan(tokens)
            if known.all():
                yield arrival, tokens
            elif known.any():
                yield arrival[known], tokens[known]

    def gaps(self, wanted: Bools) -> Floats:
        """Gaps in ms between successive arrivals of each request that is wanted (by its id).

        In order of time as far as batches go: every gap of a sixteenth that ends earlier comes
        before those of the next. A whole order would take twice the memory, and no estimate
        looks closer.
        """
        ends = np.empty(self.count, np.int64)
        count = 0
        for end, _ in self._pairs(wanted):
            ends[count : count + len(end)] = end
            count += len(end)
        ends = ends[:count]
        firsts = batch_firsts(count)[1:] if count else np.empty(0, np.intp)
        ends.partition(firsts)
        edges = ends[firsts]
        places = [0, *(int(np.count_nonzero(ends < edge)) for edge in edges)]
        del ends
        gaps = np.empty(count, np.float64)
        for end, gap in self._pairs(wanted):
            batch = np.searchsorted(edges, end, side="right").astype(np.uint8)
            ordered = gap[np.argsort(batch, kind="stable")]
            sizes = np.bincount(batch, minlength=len(places))
            for number, part in enumerate(np.split(ordered, np.cumsum(sizes)[:-1])):
                gaps[places[number] : places[number] + len(part)] = part
                places[number] += len(part)
        return gaps

    def _pairs(self, wanted: Bools) -> Iterator[tuple[Ints, Floats]]:
        """(later arrival in ns, gap in ms) of successive chunks."""
        last: tuple[Ids, Ints] = (np.empty(0, np.int32), np.empty(0, np.int64))
        for some_owners, some_arrivals in _blocks(self.path, "request_id", "arrival_ns"):
            owner = np.concatenate([last[0], some_owners])
            arrival = np.concatenate([last[1], some_arrivals])
            last = owner[-1:], arrival[-1:]
            same = owner[1:] == owner[:-1]
            same &= owner[1:] < len(wanted)
            same[same] = wanted[owner[1:][same]]
            yield arrival[1:][same], np.diff(arrival)[same] / 1e6


def _blocks(path: Path, *names: str) -> Iterator[list[npt.NDArray[Any]]]:
    """Columns of a chunks.parquet; tokens NaN where unknown. Raises what pyarrow raises."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for part in file.iter_batches(batch_size=_BLOCK, columns=names):
            yield [part[name].to_numpy(zero_copy_only=False) for name in names]


def read_chunks(path: Path, requests: int) -> Chunks | None:
    """None where they were not kept; requests: one more than the highest id.

    Raises ValueError where the chunks of a request do not follow each other.
    """
    if not path.exists():
        return None
    chunks, unknown = np.zeros(requests, np.int64), np.zeros(requests, np.int64)
    tokens = np.zeros(requests)
    count = runs = 0
    last = -1
    for owners, each in _blocks(path, "request_id", "tokens"):
        count += len(owners)
        owner, known = owners[owners < requests], each[owners < requests]
        missing = np.isnan(known)
        chunks += np.bincount(owner, minlength=requests)
        unknown += np.bincount(owner[missing], minlength=requests)
        tokens += np.bincount(owner, np.where(missing, 0.0, known), minlength=requests)
        if len(owner):
            runs += int(np.count_nonzero(np.diff(owner))) + (int(owner[0]) != last)
            last = int(owner[-1])
    if runs > np.count_nonzero(chunks):
        raise ValueError("the chunks of a request do not follow each other")
    return Chunks(path, count, chunks, tokens, unknown)

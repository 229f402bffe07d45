"""Chunks read block by block are those of the file, wherever a block ends."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from runners.measure import chunks as chunks_of_a_run
from runners.measure.chunks import read_chunks
from runners.measure.statistics import batched, student


def write(path: Path, owners: list[int], arrivals: list[int], tokens: list[float | None]) -> None:
    columns = [pa.array(owners, pa.int32()), pa.array(arrivals, pa.int64())]
    columns.append(pa.array(tokens, pa.float32()))
    pq.write_table(pa.table(columns, names=["request_id", "arrival_ns", "tokens"]), path)


@settings(max_examples=60, deadline=None)
@given(
    answers=st.lists(st.lists(st.integers(0, 10**10), min_size=1, max_size=9), max_size=12),
    block=st.integers(1, 20),
    odd_ones=st.booleans(),
)
def test_gaps_and_tokens_are_those_of_each_request(
    tmp_path_factory: pytest.TempPathFactory, answers: list[list[int]], block: int, odd_ones: bool
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "chunks.parquet"
    rows = [(n, at) for n, answer in enumerate(answers) for at in sorted(answer)]
    counts = [None if at % 3 == 0 else 2.0 for _, at in rows]
    write(path, [n for n, _ in rows], [at for _, at in rows], counts)
    wanted = np.array([not odd_ones or n % 2 == 1 for n in range(len(answers))], np.bool_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks_of_a_run, "_BLOCK", block)
        found = read_chunks(path, len(answers))
        assert found is not None
        gaps = found.gaps(wanted)
    expected = [np.diff(np.sort(answers[n])) / 1e6 for n in np.flatnonzero(wanted)]
    assert sorted(gaps) == sorted(np.concatenate([np.empty(0), *expected]))
    assert found.chunks.tolist() == [len(answer) for answer in answers]
    known = [2.0 * sum(at % 3 > 0 for at in answer) for answer in answers]
    assert found.tokens.tolist() == known


def test_batches_of_gaps_are_in_order_of_time(tmp_path: Path) -> None:
    # 64 requests side by side; the gap before each arrival tells when that was.
    steps = np.cumsum(np.arange(1, 51)) * 1000
    owners = np.repeat(np.arange(64), len(steps))
    arrivals = np.tile(steps, 64) + owners
    write(tmp_path / "c.parquet", owners.tolist(), arrivals.tolist(), [1.0] * len(owners))
    found = read_chunks(tmp_path / "c.parquet", 64)
    assert found is not None
    gaps = found.gaps(np.ones(64, np.bool_))
    sums, counts = batched(gaps)
    exact, _ = batched(np.sort(gaps))
    assert sums / counts == pytest.approx(exact / counts, rel=1e-9)


def test_chunks_of_a_request_that_are_apart_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "c.parquet", [0, 1, 0], [1, 2, 3], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="do not follow each other"):
        read_chunks(tmp_path / "c.parquet", 2)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 15, 30, 100, 101, 3.5, 1e6])
def test_students_quantile_is_that_of_scipy(freedom: float) -> None:
    assert student(freedom) == pytest.approx(float(stdtrit(freedom, 0.975)), rel=1e-12)

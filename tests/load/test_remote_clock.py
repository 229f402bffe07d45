"""Clock offsets of machines that are not here: simulated exchanges with known truth."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from runners.load.exchange import Exchange
from runners.load.limits import Limits
from runners.load.records import write_records
from runners.load.remote_clock import Clock, Offset, Ping, estimate, tell_in_our_clock
from runners.load.worker import Records, Spec
from runners.rundir import RunDirectory

MS = 1_000_000
delays = st.integers(min_value=0, max_value=200 * MS)


def ping(sent: int, there: int, inside: int, back: int, offset: int) -> Ping:
    """A ping over ways of these lengths to a clock that is ahead by `offset`."""
    received = sent + there + offset
    replied = received + inside
    return Ping(sent, received, replied, replied - offset + back)


@given(
    offset=st.integers(min_value=-(10**18), max_value=10**18),
    ways=st.lists(st.tuples(delays, delays, delays), min_size=1, max_size=20),
)
def test_the_truth_is_within_the_uncertainty_however_the_delay_is_shared(
    offset: int, ways: list[tuple[int, int, int]]
) -> None:
    pings = [ping(k * MS, *way, offset) for k, way in enumerate(ways)]
    found = estimate(pings)
    assert abs(found.offset_ns - offset) <= found.uncertainty_ns
    assert found.rtt_ns == min(there + back for there, _, back in ways)


def test_one_quiet_exchange_among_congested_ones_decides() -> None:
    offset = 3_600_000 * MS
    congested = [ping(k * MS, 80 * MS, MS, 2 * MS, offset) for k in range(20)]
    quiet = ping(500 * MS, 120_000, 40 * MS, 100_000, offset)
    found = estimate([*congested[:10], quiet, *congested[10:]])
    assert abs(found.offset_ns - offset) == 10_000
    assert found.uncertainty_ns < 0.2 * MS


def clock(gained: int, uncertainty: int = 1000) -> Clock:
    """Measured 1 s before t0 = 10 s and 9 s after it."""
    start = Offset(5_000 * MS, uncertainty, 2 * uncertainty, 9_000 * MS)
    return Clock(start, Offset(5_000 * MS + gained, uncertainty, 2 * uncertainty, 19_000 * MS))


def written(folder: Path) -> tuple[list[list[int | None]], list[list[int]]]:
    rows = [json.loads(line) for line in (folder / "requests-1.jsonl").read_bytes().splitlines()]
    chunks = np.fromfile(folder / "chunks-1.i64", dtype=np.int64).reshape(-1, 5)
    return [row[4:9] for row in rows], chunks.tolist()


def write(folder: Path) -> None:
    row = [1, 1, 0, False, 0, 4_000 * MS, None, 4_000 * MS + 50, 9_000 * MS, "rest"]
    (folder / "requests-1.jsonl").write_text(json.dumps(row) + "\n" + '[3, 1, "cut sh')
    np.array([[1, 4_000 * MS + 50, 7, -1, 0]], dtype=np.int64).tofile(folder / "chunks-1.i64")


def test_times_are_told_in_our_clock_as_the_drift_grows(tmp_path: Path) -> None:
    write(tmp_path)
    requests = tmp_path / "requests-1.jsonl"
    requests.write_text(requests.read_text().splitlines()[0] + "\n")
    tell_in_our_clock(tmp_path, 1, clock(20 * MS), t0_ns=10_000 * MS)
    times, chunks = written(tmp_path)
    # 20 ms gained in 10 s: 2 ms at t0, 10 ms 4 s later, 20 ms at the second measurement.
    assert times == [[-2 * MS, 3_990 * MS, None, 3_990 * MS + 50, 8_980 * MS]]
    assert chunks == [[1, 3_990 * MS + 50, 7, -1, 0]]


def test_a_drift_within_the_uncertainty_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    noise = clock(20 * MS, uncertainty=11 * MS)
    assert noise.certain_drift_ns == 0
    tell_in_our_clock(tmp_path, 1, noise, t0_ns=10_000 * MS)
    tell_in_our_clock(tmp_path, 1, Clock(noise.start), t0_ns=10_000 * MS)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_row_that_a_kill_cut_short_is_carried_along(tmp_path: Path) -> None:
    write(tmp_path)
    tell_in_our_clock(tmp_path, 1, clock(20 * MS), t0_ns=10_000 * MS)
    assert (tmp_path / "requests-1.jsonl").read_bytes().splitlines()[1] == b'[3, 1, "cut sh'


def test_every_time_of_a_real_record_is_translated_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    before = merged(run, tmp_path / "a", None)
    after = merged(run, tmp_path / "b", clock(20 * MS))
    for name, (was,) in before.items():
        (now,) = after[name]
        if name in ("intended_ns", "sent_ns", "end_ns"):
            assert now == was - round(20 * MS * (1_000 * MS + was) / (10_000 * MS)), name
        else:
            assert now == was, name


def merged(run: RunDirectory, folder: Path, translated: Clock | None) -> dict[str, list[int]]:
    """A failed request as the worker writes it and as requests.parquet has it."""
    folder.mkdir()
    limits = Limits(1, 1, None, None, 1, 1)
    spec = Spec(
        base_url="http://a", api="chat", path="/", bodies="", schedule="", output=str(folder),
        index=1, count=2, limits=limits, connect_ahead=0, stream=True, keep_responses=False,
        api_key_env=None, ca_cert=None,
    )  # fmt: skip
    failed = Exchange(3, 2, 64, False, 1_000 * MS)
    failed.sent_ns = 2_000 * MS
    failed.fail("timeout", "no byte", 8_000 * MS)
    records = Records(spec)
    records.add(failed)
    records.close()
    if translated is not None:
        tell_in_our_clock(folder, 1, translated, t0_ns=10_000 * MS)
    write_records([folder], run, keep_responses=False)
    columns: dict[str, list[int]] = pq.read_table(run / "requests.parquet").to_pydict()
    return columns

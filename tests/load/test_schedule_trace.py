"""A trace is replayed as it was recorded, and a broken one is told with its line."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from runners.errors import UsageError
from runners.load.schedule import Schedule, make_schedule, write_schedule
from runners.profiles.load_section import Load
from runners.profiles.workload_section import SharedPrefix, Workload
from runners.workloads.prompts import make_prompts

AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224671,879,55
2023-11-17 00:00:00,91,16
"""
MOONCAKE = """\
{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 27482, "input_length": 6472, "output_length": 26, "hash_ids": [46, 48]}
{"timestamp": 30535.5, "input_length": 14, "output_length": 1}
"""


def write(folder: Path, text: str, name: str = "trace.txt") -> str:
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def replay(file: str, *, speed: float = 1.0, **load: Any) -> Schedule:
    trace = {"file": file, "speed": speed}
    return make_schedule(Load(trace=trace, **load), Workload())  # type: ignore[arg-type]


def test_an_azure_trace_is_reproduced_exactly(tmp_path: Path) -> None:
    schedule = replay(write(tmp_path, AZURE))
    assert schedule.intended_ns is not None and schedule.input_tokens is not None
    day = (5 * 3600 + 44 * 60 + 14) * 10**9 - 680_590_000
    assert schedule.intended_ns.tolist() == [0, 4_314_579_000, 4_541_877_100, day]
    assert schedule.input_tokens.tolist() == [374, 396, 879, 91]
    assert schedule.requested_tokens.tolist() == [44, 109, 55, 16]
    assert schedule.prompt_id.tolist() == [0, 1, 2, 3]
    assert not schedule.warmup.any()


def test_a_mooncake_trace_is_reproduced_exactly(tmp_path: Path) -> None:
    schedule = replay(write(tmp_path, MOONCAKE))
    assert schedule.intended_ns is not None and schedule.input_tokens is not None
    assert schedule.intended_ns.tolist() == [0, 0, 3_053_500_000]
    assert schedule.input_tokens.tolist() == [6955, 6472, 14]
    assert schedule.requested_tokens.tolist() == [52, 26, 1]


@pytest.mark.parametrize(
    "text",
    [
        AZURE.replace("\n", "\r\n"),
        "\ufeff" + AZURE,
        AZURE.replace("\n", "\n\n"),
        AZURE.replace(".6805900", ".6805900+00:00").replace(" 18:15:50", "T18:15:50"),
        AZURE.replace("16 18:15:50.9951690", "16 19:15:50.995169+01:00"),
        "\n".join(",".join([*line.split(",")[::-1], "x"]) for line in AZURE.splitlines()),
    ],
    ids=["crlf", "bom", "blank lines", "utc", "offset", "columns in another order"],
)
def test_the_same_azure_trace_written_otherwise(text: str, tmp_path: Path) -> None:
    found, wanted = replay(write(tmp_path, text)), replay(write(tmp_path, AZURE, "plain.csv"))
    for name, column in wanted.columns().items():
        assert np.array_equal(found.columns()[name], column), name


def test_speed_scales_time_and_nothing_else(tmp_path: Path) -> None:
    file = write(tmp_path, AZURE)
    plain, fast = replay(file), replay(file, speed=2.0)
    assert plain.intended_ns is not None and fast.intended_ns is not None
    assert (plain.intended_ns - 2 * fast.intended_ns).tolist() == [0, 0, 0, 0]
    assert np.array_equal(plain.requested_tokens, fast.requested_tokens)


def test_lines_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    lines = AZURE.splitlines()
    shuffled = "\n".join([lines[0], lines[3], lines[4], lines[1], lines[2]])
    found, wanted = replay(write(tmp_path, shuffled)), replay(write(tmp_path, AZURE, "a.csv"))
    assert np.array_equal(found.requested_tokens, wanted.requested_tokens)


def test_limits_and_warm_up_take_the_beginning_of_a_trace(tmp_path: Path) -> None:
    file = write(tmp_path, AZURE)
    schedule = replay(file, requests=2, warmup={"requests": 1})
    assert schedule.warmup.tolist() == [True, False, False]
    assert len(replay(file, duration_s=4.4)) == 2
    with pytest.raises(UsageError, match="no measured request"):
        replay(file, warmup={"requests": 4})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "trace.txt: the trace holds no request"),
        (AZURE.splitlines()[0], "trace.txt: the trace holds no request"),
        ("a,b,c\n1,2,3\n", "trace.txt:1: no header with TIMESTAMP"),
        (AZURE + "2023-11-17,1,1\n", "trace.txt:6: TIMESTAMP is not a time"),
        (AZURE + "2023-13-17 00:00:00,1,1\n", "trace.txt:6: TIMESTAMP is not a time: month"),
        (AZURE + "2023-11-17 00:00:00,1\n", "trace.txt:6: 2 columns"),
        (AZURE.replace("396", "many"), "trace.txt:3: ContextTokens is not a whole number: 'many'"),
        (AZURE.replace(",109", ",0"), "trace.txt:3: GeneratedTokens is 0; at least 1"),
        (AZURE.replace(",109", ",-3"), "trace.txt:3: GeneratedTokens is not a whole number"),
        (MOONCAKE + "{", "trace.txt:4: not JSON"),
        (MOONCAKE + "[1]", "trace.txt:4: not a JSON object"),
        (MOONCAKE.replace("30535.5", '"late"'), "trace.txt:3: timestamp is not a number"),
        (MOONCAKE.replace("30535.5", "1e300"), "trace.txt:3: the time is out of range"),
        (MOONCAKE.replace('"input_length": 14, ', ""), "trace.txt:3: input_length is missing"),
        (MOONCAKE.replace('"output_length": 1}', '"output_length": 1.5}'), "trace.txt:3: output_"),
    ],
)
def test_a_broken_line_is_told_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        replay(write(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_trace_at_all_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"TIMESTAMP,ContextTokens,GeneratedTokens\n\xff\xfe\n")
    with pytest.raises(UsageError, match=r"binary:2: not UTF-8 text"):
        replay(str(tmp_path / "binary"))
    with pytest.raises(
        UsageError, match=r"load\.trace\.file: .*missing cannot be read: No such file"
    ):
        replay(str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        replay(str(tmp_path))


def test_the_schedule_file_tells_the_lengths(tmp_path: Path) -> None:
    schedule = replay(write(tmp_path, AZURE))
    write_schedule(schedule, tmp_path / "schedule.parquet", workers=2)
    table = pq.read_table(tmp_path / "schedule.parquet").to_pydict()
    assert table["input_tokens"] == [374, 396, 879, 91]
    assert table["requested_tokens"] == [44, 109, 55, 16]
    assert table["worker"] == [0, 1, 0, 1]


@pytest.mark.parametrize("shared", [None, SharedPrefix(groups=2, tokens=100)])
def test_prompts_have_the_lengths_of_the_trace(shared: SharedPrefix | None, tmp_path: Path) -> None:
    schedule = replay(write(tmp_path, AZURE))
    assert schedule.input_tokens is not None
    workload = Workload(shared_prefix=shared)
    prompts = make_prompts(workload, len(schedule), 0, None, lengths=schedule.input_tokens)
    assert [len(text.split()) for text in prompts.texts] == [374, 396, 879, 91]


def test_prompts_of_ones_own_do_not_go_with_a_trace(tmp_path: Path) -> None:
    load = Load(trace={"file": write(tmp_path, AZURE)})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"workload\.prompts"):
        make_schedule(load, Workload(kind="prompts", prompts=["one"]))

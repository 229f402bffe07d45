"""From the command line to the wire: flags of the load, and a trace replayed by two workers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from runners.cli.main import main
from runners.simulator.process import Running

StartSimulator = Callable[..., Running]

STAGES = """\
name: stages
extends: cpu-smoke
load:
  pattern: stages
  duration_s: null
  stages:
    - {rate: 5, duration_s: 30}
    - {ramp_to: 20, duration_s: 60}
"""


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert main([*map(str, arguments), "--dry-run", "--json"]) == 0
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)
    return plan


@pytest.mark.parametrize(("given", "workers"), [("3", 3), ("auto", None)])
def test_workers_by_flag(
    given: str, workers: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = dry_run(capsys, "--workers", given, "--set", "load.seed=4")
    assert plan["profile"]["load"]["workers"] == workers


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_workers_that_cannot_be(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--workers", given, "--dry-run"]) == 2
    assert f"--workers {given}: give a number of at least 1, or auto" in capsys.readouterr().err


def test_a_rate_by_flag_replaces_a_profile_of_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(STAGES)
    steps = "\n".join(dry_run(capsys, "--profile", path)["steps"])
    assert "drive 90 s: 2 stages of poisson arrivals, 10 req/s on average" in steps
    plan = dry_run(capsys, "--profile", path, "--rate", "3", "--duration", "20")
    assert "drive 20 s: poisson arrivals at 3 req/s" in "\n".join(plan["steps"])
    assert plan["profile"]["load"]["stages"] is None
    assert main(["--profile", str(path), "--duration", "20", "--dry-run"]) == 2
    line = capsys.readouterr().err
    assert "load.duration_s: does not go with load.pattern stages" in line
    assert "given by --duration" in line


def test_a_broken_trace_shows_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "t.jsonl"
    trace.write_text('{"timestamp": 0}\n')
    load = f"load={{trace: {{file: {trace}}}}}"
    for more in (["--dry-run"], ["--out", str(tmp_path / "out"), "--quiet"]):
        assert main(["--url", "http://127.0.0.1:9", "--set", load, *more]) == 2
        assert f"error: {trace}:1: input_length is missing" in capsys.readouterr().err


def test_a_trace_reaches_the_server_as_it_was_recorded(
    tmp_path: Path, simulator: StartSimulator
) -> None:
    server = simulator(model="tiny", ttft_ms=5, itl_ms=1)
    asked = [3, 17, 5, 9, 2, 11]
    trace = tmp_path / "t.jsonl"
    rows = (
        {"timestamp": 50 * at, "input_length": 10 + at, "output_length": tokens}
        for at, tokens in enumerate(asked)
    )
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [
        "--profile", "cpu-smoke", "--url", server.base_url, "--workers", "2", "--out", tmp_path,
        "--set", f"load={{trace: {{file: {trace}}}, workers: 2}}",
        "--set", "workload.ignore_eos=true", "--quiet",
        # how punctual a busy machine is, is not the question here
        "--set", "validity.send_lag_invalid_share=1000",
    ]  # fmt: skip
    assert main([*map(str, arguments)]) == 0
    (run,) = tmp_path.glob("*Z-*")
    sent = pq.read_table(run / "requests.parquet").to_pydict()
    assert sent["intended_ns"] == [50_000_000 * at for at in range(6)]
    assert sent["requested_tokens"] == asked
    assert sent["output_tokens"] == asked
    assert sent["worker"] == [0, 1, 0, 1, 0, 1]
    assert all(
        sent_ns >= due for sent_ns, due in zip(sent["sent_ns"], sent["intended_ns"], strict=True)
    )

"""Sweeps and the search for the highest load: which cell comes next, and what a failure costs."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from runners.cli.main import main
from runners.errors import UsageError
from runners.experiments.find_max import FindMax, enough_requests
from runners.experiments.rounds import Finished
from runners.experiments.sweep import read_axis, sweep_again, sweep_of
from runners.profiles.model import Profile

SIMULATED = ["--profile", "cpu-smoke", "--target", "simulator", "--quiet", "--requests", "12"]


def test_servers_are_the_outer_loop_and_each_is_started_once() -> None:
    axes = [read_axis("load.concurrency=1,4"), read_axis("engine.args.max_num_seqs=2,8")]
    sweep, profiles = sweep_of("cpu-smoke", [], axes, repeats=2)
    assert list(profiles) == ["max_num_seqs=2", "max_num_seqs=8"]
    profile = profiles["max_num_seqs=2"].profile
    done: list[Finished] = []
    while (coming := sweep.next_round(profile, done)) is not None:
        done.append(Finished(coming, coming.name, {}))
    seen = [(each.round.side, each.round.varied["load.concurrency"]) for each in done]
    assert seen == [
        (server, load)
        for server in profiles
        for load in (1, 4)
        for _ in range(2)
    ]  # fmt: skip
    assert sweep_again(json.loads(json.dumps(sweep.settings()))) == sweep


def test_a_server_that_the_validator_refuses_is_recorded_not_started() -> None:
    axes = [read_axis("engine.args.gpu_memory_utilization=0.5,9.5")]
    sweep, profiles = sweep_of("standard", [], axes, repeats=1)
    assert list(profiles) == ["gpu_memory_utilization=0.5"]
    refused = [server for server in sweep.servers if server.refused]
    assert [server.values for server in refused] == [{"engine.args.gpu_memory_utilization": 9.5}]
    with pytest.raises(UsageError, match="no server of this sweep"):
        sweep_of("standard", [], [read_axis("engine.args.max_num_seqs=0")], repeats=1)


def test_a_bad_load_is_said_before_anything_starts() -> None:
    with pytest.raises(UsageError, match=r"load\.concurrency"):
        sweep_of("cpu-smoke", [], [read_axis("load.concurrency=1,0")], repeats=1)
    with pytest.raises(UsageError, match="KEY=A,B"):
        read_axis("load.concurrency")


def test_a_cell_that_fails_is_recorded_and_the_sweep_goes_on(tmp_path: Path) -> None:
    # The second server's behaviour cannot be read by the simulator: its start fails.
    axes = ["--vary", "engine.args.ttft_ms=5,soon,10", "--vary", "load.concurrency=1,2"]
    code = main([*SIMULATED, "--out", str(tmp_path), *axes])
    assert code in (0, 3)
    (group,) = tmp_path.iterdir()
    summary = json.loads((group / "group.json").read_text())
    failed = summary["failures"]
    assert [each["side"] for each in failed] == ["ttft_ms=soon"] * 2
    assert all("ttft_ms" in each["reason"] for each in failed)
    finished = [run for run in summary["runs"] if run["state"] == "finished"]
    assert len(finished) == 4 and summary["state"] == "done"
    rows = list(csv.DictReader((group / "results.csv").read_text().splitlines()))
    assert {row["engine.args.ttft_ms"] for row in rows} == {"5", "10"}
    assert {row["load.concurrency"] for row in rows} == {"1", "2"}


def step(load: float, goodput: float) -> dict[str, Any]:
    share = {"value": goodput, "low": goodput - 0.001, "high": min(1.0, goodput + 0.001)}
    return {
        "verdict": {"status": "valid", "reasons": []},
        "requests": {"ok": 1000, "failed": 0, "in_window": 1000},
        "metrics": {"goodput_fraction": share},
    }


@pytest.mark.parametrize("capacity", [0.7, 3.0, 47.0])
def test_the_highest_load_is_found_between_kept_and_broken(capacity: float) -> None:
    profile = Profile.model_validate(
        {
            "name": "p",
            "model": {"uri": "hf://a/b"},
            "load": {"rate": 4.0, "duration_s": 60.0},
            "slo": {"ttft_ms": 500.0},
        }
    )
    finished: list[Finished] = []
    while (coming := FindMax().next_round(profile, finished)) is not None:
        load = float(coming.varied["load.rate"])
        outcome = step(load, 1.0 if load <= capacity else 0.5)
        finished.append(Finished(coming, f"run-{coming.index}", outcome))
    facts = FindMax().conclusion(profile, finished).facts
    assert facts["found"]
    assert facts["highest_kept"] <= capacity < facts["lowest_not_kept"]
    assert facts["lowest_not_kept"] / facts["highest_kept"] < 1.06
    assert len(finished) < 14


def test_steps_are_long_enough_to_show_what_is_asked() -> None:
    assert enough_requests({"goodput_fraction": ">= 0.99"}) >= 381
    assert enough_requests({"ttft_ms.p99": 500}) >= 368
    profile = Profile.model_validate(
        {
            "name": "p",
            "model": {"uri": "hf://a/b"},
            "load": {"rate": 1.0, "duration_s": 10.0},
            "slo": {"ttft_ms": 500.0},
        }
    )
    first = FindMax().next_round(profile, [])
    assert first is not None and first.varied["load.requests"] >= 381


def test_without_an_objective_there_is_nothing_to_find() -> None:
    profile = Profile.model_validate(
        {"name": "p", "model": {"uri": "hf://a/b"}, "load": {"rate": 4.0, "duration_s": 60.0}}
    )
    with pytest.raises(UsageError, match="slo"):
        FindMax().next_round(profile, [])

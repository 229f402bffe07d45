"""Groups from the command line: repeats, precision, saturation, and finishing what was cut off."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runners.experiments.group import held, open_group

ROOT = Path(__file__).resolve().parents[2]
FAST = [
    "--profile", "cpu-smoke", "--target", "simulator", "--max-tokens", "8",
    "--concurrency", "4", "--requests", "24", "--set", "load.warmup={requests: 4}",
    "--set", "engine.args={ttft_ms: 40, itl_ms: 4}",
]  # fmt: skip
SLOW = [*FAST, "--requests", "120"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "runners.cli", *map(str, arguments)]


def bench(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


def only_group(out: Path) -> Path:
    (group,) = out.glob("*Z-*")
    return group


def read(group: Path) -> dict[str, Any]:
    value = json.loads((group / "group.json").read_text())
    assert isinstance(value, dict)
    return value


def test_repeats_give_means_over_whole_runs(tmp_path: Path) -> None:
    done = bench(*FAST, "--seed", "7", "--repeats", "3", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    group = only_group(tmp_path)
    summary = json.loads(done.stdout)
    assert summary["paths"]["group"] == str(group)
    assert [run["seed"] for run in summary["runs"]] == [7, 8, 9]
    stat = summary["metrics"]["ttft_ms.p50"]
    values = []
    for run in summary["runs"]:
        folder = group / "runs" / run["run"]
        for name in ("profile.yaml", "environment.json", "lifecycle.json", "requests.parquet",
                     "results.json", "results.csv", "report.html", "findings.json"):  # fmt: skip
            assert (folder / name).exists(), name
        values.append(
            json.loads((folder / "results.json").read_text())["metrics"]["ttft_ms"]["p50"]["value"]
        )
    assert stat["runs"] == 3
    assert stat["mean"] == pytest.approx(sum(values) / 3)
    assert (stat["min"], stat["max"]) == (min(values), max(values))
    assert stat["low"] < stat["mean"] < stat["high"]
    assert len(list((group / "starts").iterdir())) == 1
    with (group / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["1", "2", "3"]
    assert [float(row["ttft_ms.p50"]) for row in rows] == pytest.approx(values)
    # A report of its own that can be written again.
    (group / "report.html").unlink()
    assert bench("report", group).returncode == 0
    assert (group / "report.html").stat().st_size > 100_000


def test_no_round_finds_the_prompts_of_another_in_the_cache(tmp_path: Path) -> None:
    bench(*FAST, "--set", "load.concurrency=2", "--repeats", "2", "--out", tmp_path, "--quiet")
    group = only_group(tmp_path)
    hits = []
    for run in read(group)["runs"]:
        results = json.loads((group / "runs" / run["run"] / "results.json").read_text())
        hits.append(results["server"]["cached_prompt_tokens"])
    assert hits == [0, 0]


def test_it_repeats_until_the_figure_is_precise(tmp_path: Path) -> None:
    done = bench(*FAST, "--until", "ttft_ms.p50:40", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    conclusion = json.loads(done.stdout)["conclusion"]
    assert conclusion["reached"] is True
    assert conclusion["rounds"] == 3
    assert conclusion["half_width_percent"] <= 40


def test_a_precision_that_cannot_be_had_ends_at_the_limit_and_says_so(tmp_path: Path) -> None:
    done = bench(
        *FAST, "--until", "ttft_ms.p50:0.000001", "--repeats", "4", "--out", tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "precision not reached" in done.stdout
    summary = read(only_group(tmp_path))
    assert summary["conclusion"]["reached"] is False
    assert len(summary["runs"]) == 4


def test_saturation_finds_the_knee_of_a_server_with_four_places(tmp_path: Path) -> None:
    done = bench(
        *FAST, "--concurrency", "1", "--requests", "8", "--saturate", "--out", tmp_path,
        "--set", "engine.args={ttft_ms: 40, itl_ms: 20, max_running: 4}",
        "--set", "load.warmup={requests: 2}", "--set", "load.window=fixed",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = read(only_group(tmp_path))
    loads = [step["value"] for step in summary["curve"]]
    assert loads == [2**step for step in range(len(loads))]
    assert summary["conclusion"]["knee"]["value"] in (4, 8)
    assert loads[-1] == 2 * summary["conclusion"]["knee"]["value"]
    assert "knee at concurrency" in done.stdout
    throughput = [step["output_throughput_tok_s"]["value"] for step in summary["curve"]]
    assert throughput[2] > 3 * throughput[0]
    ttft = [step["ttft_ms.p50"]["value"] for step in summary["curve"]]
    assert ttft[3] > 2 * ttft[0]


def begin(out: Path, *more: str) -> "tuple[subprocess.Popen[str], Path]":
    """A group of three rounds that has just begun to drive its second one."""
    process = subprocess.Popen(
        command(*SLOW, "--repeats", "3", "--out", out, *more),
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    driving = 0
    for line in process.stderr:
        driving += "… Driving load" in line
        if driving == 2:
            break
    return process, only_group(out)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_killed_group_is_finished_by_resuming_it(tmp_path: Path) -> None:
    process, group = begin(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    with held(open_group(str(group), tmp_path)):
        meanwhile = bench("--resume", group)
    assert meanwhile.returncode == 2
    assert "another command" in errors(meanwhile.stderr)[0]
    first, half = (run["run"] for run in read(group)["runs"])
    before = times(group / "runs" / first)
    for flags, said in (
        (["--repeats", "5"], "--repeats 3"),
        (["--requests", "7"], "load.requests is 120"),
        (["--saturate"], "--repeats 3"),
    ):
        refused = bench("--resume", group, *flags)
        assert refused.returncode == 2
        (line,) = errors(refused.stderr)
        assert said in line
    # By its name below --out, and with flags that say what the group says anyway.
    done = bench("--resume", group.name, "--out", tmp_path, "--repeats", "3", "--concurrency", "4")
    assert done.returncode == 0, done.stderr
    assert half in done.stderr
    summary = read(group)
    assert summary["state"] == "done"
    assert [run["state"] for run in summary["runs"]] == ["finished"] * 3
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]
    assert [run["start"] for run in summary["runs"]] == ["1", "2", "2"]
    assert summary["runs"][0]["run"] == first
    assert times(group / "runs" / first) == before
    assert summary["unfinished"] == [half]
    assert (group / "unfinished" / half / "profile.yaml").exists()
    # Nothing is left to do: said, and nothing is done.
    again = bench("--resume", group)
    assert again.returncode == 0
    assert "nothing is left" in again.stderr
    assert times(group / "runs" / first) == before


def test_an_interrupted_group_keeps_its_runs_and_says_how_to_go_on(tmp_path: Path) -> None:
    process, group = begin(tmp_path)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in rest
    (line,) = errors(rest)
    assert f"./bench.sh --resume {group}" in line
    summary = read(group)
    assert summary["state"] == "interrupted"
    assert summary["runs"][0]["state"] == "finished"
    assert summary["metrics"]["ttft_ms.p50"]["runs"] == 1
    assert (group / "report.html").exists()
    with (group / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    assert bench("--resume", group, "--quiet").returncode == 0
    assert read(group)["metrics"]["ttft_ms.p50"]["runs"] == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--repeats", "0"], "--repeats 0"),
        (["--until", "ttft_ms.p95"], "METRIC:PERCENT"),
        (["--until", "ttft_ms.p95:0"], "METRIC:PERCENT"),
        (["--until", "ttft_ms:5"], "ttft_ms.p95"),
        (["--until", "ttft_ms.p59:5"], "ttft_ms.p95"),
        (["--until", "ttft_ms.p95:5", "--repeats", "2"], "--repeats 2"),
        (["--saturate", "--repeats", "3"], "--repeats"),
        (["--saturate", "--set", "load.stages=[{rate: 1, duration_s: 2}]",
          "--set", "load.pattern=null", "--set", "load.duration_s=null"], "stages"),
        (["--resume", "no-such-group"], "no-such-group"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line(flags: list[str], said: str, tmp_path: Path) -> None:
    done = bench("--profile", "cpu-smoke", *flags, "--out", tmp_path)
    assert done.returncode == 2
    (line,) = errors(done.stderr)
    assert said in line
    assert not list(tmp_path.iterdir())


def test_a_server_that_dies_stops_the_group(tmp_path: Path) -> None:
    done = bench(
        *FAST, "--repeats", "3", "--out", tmp_path, "--quiet", "--json",
        "--set", "engine.args={ttft_ms: 1, itl_ms: 1, fault: status}",
    )  # fmt: skip
    assert done.returncode == 3
    summary = json.loads(done.stdout)
    assert summary["state"] == "stopped"
    assert len(summary["runs"]) == 1
    assert summary["verdict"]["status"] == "invalid"
    assert summary["metrics"]["ttft_ms.p50"] is None

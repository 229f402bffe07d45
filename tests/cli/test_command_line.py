"""What a user types and what comes back: one line, the right exit code, no traceback."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runners.simulator.process import Running

StartSimulator = Callable[..., Running]

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--requests", "12", "--concurrency", "4", "--max-tokens", "8"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "runners.cli", *map(str, arguments)]


def after(shell: str, *arguments: str | Path) -> list[str]:
    """The command, run by a shell that has done something first."""
    return ["bash", "-c", f'{shell}; exec "$@"', "bash", *command(*arguments)]


def bench(
    *arguments: str | Path, env: dict[str, str] | None = None, first: str = ":"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        after(first, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


def errors(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The lines that say what went wrong."""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def only_run(out: Path) -> Path:
    (run,) = out.glob("*Z-*")
    return run


def profile(folder: Path, text: str, name: str = "p.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "no-such-profile"], "no-such-profile"),
        (["--concurrency", "0"], "--concurrency"),
        (["--rate", "-1"], "--rate"),
        (["--requests", "many"], "--requests"),
        (["--nonsense"], "--nonsense"),
        (["--set", "load.concurency=4"], "concurrency"),
        (["--backend", "llama.cpp"], "vllm"),
        (["--resume", "group"], "--resume"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    (line,) = errors(done)
    assert said in line
    assert done.stdout == ""


def test_a_misspelt_key_is_placed_and_corrected(tmp_path: Path) -> None:
    path = profile(tmp_path, "name: x\nmodel: {uri: hf://a/b}\nload:\n  concurency: 4\n")
    done = bench("--profile", path)
    assert done.returncode == 2
    (line,) = errors(done)
    assert f"{path}:4:3" in line
    assert "concurrency" in line


def test_every_fault_of_a_profile_is_told_at_once(tmp_path: Path) -> None:
    text = "name: x\nmodel: {uri: hf://a/b}\nload: {rate: fast, requests: 0, sed: 1}\n"
    done = bench("--profile", profile(tmp_path, text))
    assert done.returncode == 2
    assert [key for line in errors(done) for key in ("rate", "requests", "sed") if key in line] == [
        "rate", "requests", "sed",
    ]  # fmt: skip


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    profile(tmp_path, "name: a\nextends: b.yaml\nmodel: {uri: hf://a/b}\n", "a.yaml")
    profile(tmp_path, "name: b\nextends: a.yaml\n", "b.yaml")
    done = bench("--profile", tmp_path / "a.yaml")
    assert done.returncode == 2
    assert len(errors(done)) == 1


def test_a_dry_run_touches_nothing_and_prints_yaml(tmp_path: Path) -> None:
    done = bench("--profile", "standard", "--dry-run", "--out", tmp_path / "out", "--requests", "7")
    assert done.returncode == 0
    assert "kind: InferenceService" in done.stdout
    assert "7 requests" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_flag_beats_the_profile() -> None:
    done = bench("--profile", "cpu-smoke", "--dry-run", "--json", "--rate", "3", "--seed", "5")
    load = json.loads(done.stdout)["profile"]["load"]
    assert (load["rate"], load["seed"], load["concurrency"]) == (3.0, 5, None)


@pytest.mark.parametrize(
    ("more", "duration"), [([], 5.0), (["--duration", "90"], 90.0), (["--requests", "9"], None)]
)
def test_the_simulator_shows_in_seconds_what_a_run_looks_like(
    more: list[str], duration: float | None
) -> None:
    done = bench("--profile", "standard", "--target", "simulator", "--dry-run", "--json", *more)
    assert json.loads(done.stdout)["profile"]["load"]["duration_s"] == duration


def test_no_cluster_names_the_ways_on(tmp_path: Path) -> None:
    done = bench("--profile", "standard", "--out", tmp_path)
    assert done.returncode == 4
    (line,) = errors(done)
    assert "--target local" in line and "--url" in line and "--dry-run" in line


def test_a_run_against_a_url_measures_and_reports(
    tmp_path: Path, simulator: StartSimulator
) -> None:
    server = simulator(model="tiny", ttft_ms=20, itl_ms=2)
    done = bench("--profile", "cpu-smoke", "--url", server.base_url, *FAST, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    results = json.loads((run / "results.json").read_text())
    assert results["requests"]["ok"] == 12
    assert results["metrics"]["ttft_ms"]["p50"]["value"] >= 20
    for name in ("profile.yaml", "findings.json", "environment.json", "schedule.parquet",
                 "requests.parquet", "chunks.parquet", "server.parquet", "results.csv",
                 "report.html"):  # fmt: skip
        assert (run / name).exists(), name
    assert not (run / "work").exists()


def test_json_prints_one_object_and_nothing_else(tmp_path: Path, simulator: StartSimulator) -> None:
    server = simulator(model="tiny", ttft_ms=5, itl_ms=1)
    done = bench(
        "--profile", "cpu-smoke", "--url", server.base_url, *FAST, "--out", tmp_path, "--json"
    )
    summary = json.loads(done.stdout)
    assert summary["exit_code"] == 0
    assert summary["verdict"] in ("valid", "degraded")
    assert summary["requests"]["ok"] == 12


def test_json_tells_an_error_too() -> None:
    done = bench("--profile", "nope", "--json")
    assert json.loads(done.stdout)["exit_code"] == 2


def test_an_unreachable_url(tmp_path: Path) -> None:
    done = bench("--profile", "cpu-smoke", "--url", "http://127.0.0.1:9", "--out", tmp_path)
    assert done.returncode == 4
    (line,) = errors(done)
    assert "127.0.0.1:9" in line


def test_a_wrong_model_name_lists_those_served(tmp_path: Path, simulator: StartSimulator) -> None:
    server = simulator(model="llama")
    done = bench(
        "--profile", "cpu-smoke", "--url", server.base_url, "--set", "model.name=mistral",
        "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 4
    (line,) = errors(done)
    assert "mistral" in line and "llama" in line


def test_a_missing_api_key_names_the_variable_and_a_key_is_never_kept(
    tmp_path: Path, simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-very-secret"
    monkeypatch.setenv("SIMULATOR_KEY", secret)
    server = simulator(model="tiny", api_key_env="SIMULATOR_KEY")
    refused = bench("--profile", "cpu-smoke", "--url", server.base_url, "--out", tmp_path / "a")
    assert refused.returncode == 4
    (line,) = errors(refused)
    assert "401" in line and "OPENAI_API_KEY" in line
    done = bench(
        "--profile", "cpu-smoke", "--url", server.base_url, *FAST, "--out", tmp_path / "b",
        env={"OPENAI_API_KEY": secret},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept = [path for path in (tmp_path / "b").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if secret.encode() in path.read_bytes()]
    assert secret not in done.stdout + done.stderr


def no_constants(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize(
    ("fault", "error"),
    [("drop:3", "broken_stream"), ("status:503", "http_503"), ("stall", "timeout")],
)
def test_when_every_request_fails_the_run_is_invalid(
    tmp_path: Path, fault: str, error: str
) -> None:
    # the simulator's own first look is spared the fault, so that load begins
    args = f"engine.args={{ttft_ms: 1, itl_ms: 1, fault: '{fault}'}}"
    done = bench(
        "--profile", "cpu-smoke", "--target", "simulator", "--set", args, *FAST,
        "--set", "load.timeout_s=0.5", "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    text = (only_run(tmp_path) / "results.json").read_text()
    results = json.loads(text, parse_constant=no_constants)
    assert results["verdict"]["status"] == "invalid"
    assert set(results["requests"]["by_error"]) == {error}
    assert results["metrics"]["ttft_ms"] is None


@pytest.mark.parametrize("fault", ["stall", "status:503"])
def test_a_server_that_does_not_answer_once_is_not_measured(
    tmp_path: Path, simulator: StartSimulator, fault: str
) -> None:
    server = simulator(model="tiny", fault=fault, ttft_ms=1, itl_ms=1)
    done = bench(
        "--profile", "cpu-smoke", "--url", server.base_url, *FAST, "--out", tmp_path,
        "--set", "load.timeout_s=0.5",
    )  # fmt: skip
    assert done.returncode == 4
    assert len(errors(done)) == 1


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/out"])
def test_an_unwritable_place_is_exit_5_before_anything_starts(place: str) -> None:
    done = bench("--profile", "cpu-smoke", "--url", "http://127.0.0.1:9", "--out", place)
    assert done.returncode == 5
    (line,) = errors(done)
    assert place in line and "--out" in line


def test_a_disk_that_fills_up_during_load_is_exit_5(
    tmp_path: Path, simulator: StartSimulator
) -> None:
    server = simulator(model="tiny", ttft_ms=1, itl_ms=0)

    done = bench(
        "--profile", "cpu-smoke", "--url", server.base_url, "--requests", "400",
        "--max-tokens", "64", "--set", "workload.input_tokens=4", "--out", tmp_path,
        first="ulimit -f 60",
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    (line,) = errors(done)
    assert "--out" in line


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_measured_and_stops_the_server(
    tmp_path: Path, sent: signal.Signals
) -> None:
    process = subprocess.Popen(
        after(
            "trap '' INT",  # as a shell's & leaves it
            "--profile", "cpu-smoke", "--target", "simulator", "--duration", "60",
            "--set", "engine.args={ttft_ms: 10, itl_ms: 2}", "--set", "load.warmup={requests: 0}",
            "--out", tmp_path,
        ),
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Driving load" in line:
            break
    run = only_run(tmp_path)
    wait_for_records(run)
    process.send_signal(sent)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in rest
    results = json.loads((run / "results.json").read_text())
    assert results["verdict"]["status"] == "invalid"
    assert any("interrupted" in reason for reason in results["verdict"]["reasons"])
    assert results["requests"]["ok"] > 0
    assert not [line for line in processes() if str(run) in line]


def wait_for_records(run: Path) -> None:
    """Until the load worker has written its first finished requests."""
    pause = threading.Event()
    for _ in range(600):
        if any(path.stat().st_size for path in run.glob("work/requests-*.jsonl")):
            return
        pause.wait(0.05)
    raise AssertionError("no request was recorded in 30 s")


def processes() -> Sequence[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_stages_can_be_run_again_from_the_run_directory(
    tmp_path: Path, simulator: StartSimulator
) -> None:
    server = simulator(model="tiny", ttft_ms=5, itl_ms=1)
    bench("--profile", "cpu-smoke", "--url", server.base_url, *FAST, "--out", tmp_path)
    run = only_run(tmp_path)
    before = json.loads((run / "results.json").read_text())
    (run / "results.json").unlink()
    assert bench("measure", run).returncode == 0
    assert json.loads((run / "results.json").read_text()) == before
    (run / "report.html").unlink()
    assert bench("report", run).returncode == 0
    assert (run / "report.html").exists()
    assert bench("report", tmp_path).returncode == 2


def test_a_native_triton_server_is_asked_for_its_model_by_name(
    tmp_path: Path, simulator: StartSimulator
) -> None:
    server = simulator(model="ensemble", ttft_ms=5, itl_ms=1)
    where = ["--profile", "cpu-smoke", "--url", server.base_url, *FAST, "--out", str(tmp_path)]
    api = ["--set", "workload.api=triton", "--set"]
    done = bench(*where, *api, "model.name=ensemble")
    assert done.returncode == 0, done.stderr
    refused = bench(*where, *api, "model.name=other")
    assert refused.returncode == 4
    (line,) = errors(refused)
    assert "/v2/models/other/ready" in line and "model.name" in line

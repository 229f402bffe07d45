"""The main job on a real engine: a profile goes in, numbers that agree with its own come out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.engine
def test_speculative_decoding_end_to_end(tmp_path: Path, engine_python: Path) -> None:
    """One run shows it all: load, counters, acceptance, start-up facts, clean-up."""
    done = subprocess.run(
        [sys.executable, "-m", "runners.cli", "--profile", "cpu-speculative", "--duration", "8",
         "--engine-python", str(engine_python), "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.iterdir()
    results = json.loads((run / "results.json").read_text())
    metrics, server = results["metrics"], results["server"]

    assert results["requests"]["failed"] == 0
    assert results["simulated"] is False
    assert server["token_check"]["difference"] == 0, "client and engine count the same tokens"
    # the window holds not quite the same requests on both sides; ours adds HTTP and network
    assert metrics["ttft_ms"]["mean"]["value"] >= 0.8 * server["ttft_mean_ms"]

    drafts, accepted = server["drafts"], server["accepted_tokens"]
    by_position = server["acceptance_per_position"]
    assert sum(by_position) * drafts == pytest.approx(accepted)
    assert by_position == sorted(by_position, reverse=True)
    assert server["draft_tokens"] == 3 * drafts
    assert metrics["acceptance_rate"]["value"] == pytest.approx(accepted / (3 * drafts))
    assert metrics["mean_acceptance_length"]["value"] == pytest.approx(1 + accepted / drafts)
    assert 0.5 < metrics["acceptance_rate"]["value"] < 0.9, "dialled to 0.7"

    for name in ("startup_s", "model_weights_gib", "kv_cache_gib", "kv_cache_tokens"):
        assert metrics[name]["value"] > 0, name
    lifecycle = json.loads((run / "lifecycle.json").read_text())
    assert lifecycle["failure"] is None
    assert {"load weights", "first token"} <= {phase["name"] for phase in lifecycle["phases"]}
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(run) not in listed.stdout
    port = json.loads((run / "environment.json").read_text())["base_url"].rpartition(":")[2]
    assert f"--port {port}" not in listed.stdout

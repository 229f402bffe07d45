"""A whole run beside an exporter: idle before the load, energy over it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.load.schedule import make_schedule
from runners.measure import measure
from runners.profiles.load import load_profile
from runners.progress import Progress
from runners.run import drive_round, write_plan
from runners.rundir import RunDirectory
from runners.targets import TargetOptions, open_endpoint
from tests.telemetry.gpu_servers import answering, exporter


def measured(folder: Path, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(results, environment) of a few seconds at the simulator."""
    document = {
        "name": "gpus",
        "target": "simulator",
        "model": {"uri": "tiny://target"},
        "resources": {"gpu": {"count": 2}},
        "load": {"duration_s": 4.0, "concurrency": 2, "warmup": {"seconds": 0.5}},
        "workload": {"input_tokens": 16, "max_tokens": 16},
        **more,
    }
    (folder / "p.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    profile, progress = load_profile(folder / "p.yaml").profile, Progress(quiet=True)
    run = RunDirectory.create(folder / "runs", profile.name)
    write_plan(run, profile, [])
    schedule = make_schedule(profile.load, profile.workload)
    with open_endpoint(profile, run, progress, TargetOptions()) as endpoint:
        drive_round(profile, schedule, endpoint, run, progress)
    return measure(run), json.loads((run / "environment.json").read_text())


def test_energy_of_a_run_beside_an_exporter(tmp_path: Path) -> None:
    with answering(exporter({"GPU-a": 350.0, "GPU-b": 150.0})) as url:
        telemetry = {"dcgm_url": f"{url}/metrics", "idle_s": 1.5}
        results, environment = measured(tmp_path, telemetry=telemetry)
    energy = results["energy"]
    assert energy["average_w"]["value"] == pytest.approx(500, rel=0.05)
    assert energy["idle_w"] == pytest.approx(500, rel=0.05)
    rate = results["metrics"]["output_throughput_tok_s"]["value"]
    each = results["metrics"]["energy_j_per_output_token"]["value"]
    assert each == pytest.approx(500 / rate, rel=0.1)
    assert environment["load"]["gpu_telemetry"]["missing"] is None
    # What GPUs tell is not taken for what the server tells.
    assert results["server"]["names_of"] == "vllm"


def test_a_run_whose_exporter_is_away_says_so(tmp_path: Path) -> None:
    results, _ = measured(tmp_path, telemetry={"dcgm_url": "http://127.0.0.1:9/metrics"})
    assert results["energy"] is None
    assert "127.0.0.1:9" in results["not_measured"]["energy_j_per_output_token"]

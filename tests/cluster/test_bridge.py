"""From a profile through manifests, readiness, load and cost to tear-down, on a real engine."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from runners.cli.main import main
from runners.engines import home
from runners.models.tiny import resolve_tiny
from runners.progress import Progress
from tests.cluster.conftest import MakeCluster
from tests.cluster.engine_pod import EnginePod
from tests.kube import stories
from tests.kube.timeline import Step

PROFILE = """
name: bridge
target: kserve
model: {uri: "hf://example/tiny", name: tiny, tokenizer: "%s"}
engine:
  image: vllm/vllm-openai-cpu:v0.32.0
  version: "0.32.0"
  args:
    dtype: bfloat16
    max_model_len: 2048
    enforce_eager: true
    max_num_seqs: 16
    max_num_batched_tokens: 2048
  env: {VLLM_CPU_KVCACHE_SPACE: "1"}
resources: {gpu: {count: 0}, cpu: "2", memory: 4Gi, shm: 1Gi}
serving: {service: bridge, startup_timeout_s: 300, connect: node-port}
cost: {price_per_node_hour: 3.6, currency: USD, source: "a price list", date: "2026-11-01"}
load: {concurrency: 4, duration_s: 8, warmup: {seconds: 2}}
workload: {input_tokens: 64, max_tokens: 32}
"""


@pytest.mark.engine
def test_one_profile_all_the_way(
    make_cluster: MakeCluster,
    engine_python: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = resolve_tiny("tiny://target", home() / "models", Progress(quiet=True))
    profile = tmp_path / "bridge.yaml"
    profile.write_text(PROFILE % model)
    # the pod's container starts; from there on the engine itself says how far it is
    begun = (*stories.scheduled(0.2), *stories.initialised(0.3, 0.5), Step(1.0, "started"))
    playground = make_cluster(replace(stories.FAST, pods=(begun,)), speed=1.0)

    with EnginePod(playground, "bridge", engine_python, model, tmp_path / "engine.log") as pod:
        code = main(["--profile", str(profile), "--out", str(tmp_path / "runs"), "--json"])
    said = capsys.readouterr().out
    assert code == 0, said
    (run,) = (tmp_path / "runs").iterdir()

    # what ran is what was rendered
    rendered = yaml.safe_load((run / "manifests" / "servingruntime.yaml").read_text())
    container = rendered["spec"]["containers"][0]
    whole = [*container["command"], *container["args"]]
    differ = {(asked, ran) for asked, ran in zip(whole, pod.command, strict=True) if asked != ran}
    assert differ == {
        ("python3", str(engine_python)),
        ("/mnt/models", str(model)),
        ("8080", str(pod.port)),
    }
    assert {"startupProbe", "readinessProbe"} <= set(pod.probed)
    assert pod.container["startupProbe"] == container["startupProbe"]

    results = json.loads((run / "results.json").read_text())
    assert results["requests"]["failed"] == 0
    assert results["server"]["token_check"]["difference"] == 0
    metrics = results["metrics"]
    assert metrics["output_throughput_tok_s"]["value"] > 0
    assert metrics["startup_s"]["value"] > 0
    assert metrics["model_weights_gib"]["value"] > 0
    per_second = 3.6 / 3600
    dollars = metrics["cost_per_million_output_tokens"]["value"]
    rate = metrics["output_throughput_tok_s"]["value"]
    assert dollars == pytest.approx(per_second / rate * 1e6, rel=0.02)
    names = [phase["name"] for phase in json.loads((run / "lifecycle.json").read_text())["phases"]]
    assert names[-1] == "first token" and "weights loaded" in names
    environment = json.loads((run / "environment.json").read_text())
    assert environment["engine"]["version"] == "0.32.0"
    assert environment["engine"]["facts"]["route"] == "node-port"
    assert environment["engine"]["facts"]["disturbances"] == []
    assert "vLLM" in next(run.glob("logs/*kserve-container.log")).read_text()
    assert playground.left() == []
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"--port {pod.port}" not in listed.stdout

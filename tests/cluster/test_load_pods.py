"""Load workers as pods: real workers behind scripted pods, orders through a port-forward."""

import base64
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runners.cluster import load_pods
from runners.errors import Exit
from runners.profiles.load import Loaded
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.run import run
from runners.simulator.process import Running
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster, Playground
from tests.cluster.test_run_on_cluster import QUICK
from tests.load.remote_crew import listening


def play_jobs(playground: Playground, folder: Path, stack: ExitStack) -> None:
    """Make the pods of each Job, as its controller and a kubelet would: a worker behind each."""

    def start(job: dict[str, Any]) -> None:
        name, template = job["metadata"]["name"], job["spec"]["template"]
        secret = playground.server.find("secrets", name)
        assert secret is not None
        data, plain = secret.get("data") or {}, secret.get("stringData") or {}
        token = plain.get("token") or base64.b64decode(data["token"]).decode()
        for index in range(job["spec"]["completions"]):
            count, given = job["spec"]["completions"], [f"--index={index}", "--once"]
            worker = stack.enter_context(
                listening(folder / f"pod-{index}", *given, f"--count={count}", token=token)
            )
            host, _, port = worker.address.rpartition(":")
            mark = {"batch.kubernetes.io/job-completion-index": str(index)}
            pod = f"{name}-{index}-abcde"
            playground.server.forwards["bench", pod, 8790] = (host, int(port))
            playground.server.add(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": pod,
                        "namespace": "bench",
                        "labels": {**template["metadata"]["labels"], **mark},
                        "ownerReferences": [
                            {
                                "apiVersion": "batch/v1",
                                "kind": "Job",
                                "name": name,
                                "uid": job["metadata"]["uid"],
                                "controller": True,
                                "blockOwnerDeletion": True,
                            }
                        ],
                    },
                    "spec": template["spec"],
                    "status": {
                        "phase": "Running",
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                }
            )

    def saw(change: str, kind: str, item: dict[str, Any]) -> None:
        if kind == "jobs.batch" and change == "ADDED":
            playground.cluster.at(0.2, lambda: start(item))
        ending = kind == "pods" and item["metadata"].get("deletionTimestamp")
        if ending and change == "MODIFIED" and "load-worker" in str(item["metadata"]["labels"]):
            playground.cluster.at(0.2, lambda: playground.cluster.plane.delete("pods", item, 0))

    playground.cluster.plane.listen(saw)


def test_the_load_comes_from_pods(
    make_cluster: MakeCluster,
    kserve_profile: Callable[..., Profile],
    simulator: Callable[..., Running],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    playground = make_cluster(QUICK, speed=1.0)
    model = simulator(model="tiny", ttft_ms=5, itl_ms=2)
    playground.cluster.bind("llama", model.base_url)
    # names of the cluster mean nothing on this machine, where its workers really run
    monkeypatch.setattr(load_pods, "inside_address", lambda service: model.base_url)
    profile = kserve_profile(
        load={
            "concurrency": 8,
            "duration_s": 2,
            "workers": {"pods": 2, "image": "registry.example/kserve-bench:1"},
        },
        workload={"input_tokens": 16, "max_tokens": 8},
    )
    loaded = Loaded(profile, profile.model_dump(mode="json"), (), tmp_path / "profile.yaml")
    with ExitStack() as stack:
        play_jobs(playground, tmp_path, stack)
        outcome = run(loaded, tmp_path / "out", TargetOptions(), Progress(quiet=True))
    assert outcome.error is None
    assert outcome.exit_code == Exit.DONE, outcome.results and outcome.results["verdict"]
    load = outcome.run.read_json("environment.json")["load"]
    assert load["workers"] == 2 and load["workers_lost"] == []
    assert playground.left() == []
    for kind in ("jobs.batch", "secrets"):
        assert playground.names(kind) == []
    kept = "".join(path.read_text() for path in (outcome.run / "manifests").iterdir())
    assert "kind: Job" in kept
    assert "kind: Secret" not in kept and "token:" not in kept

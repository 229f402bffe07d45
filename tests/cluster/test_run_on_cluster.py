"""Whole runs on a scripted cluster: load on a simulator behind the pods, and what can go wrong."""

import _thread
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runners.errors import Exit
from runners.profiles.load import Loaded
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.run import Outcome, run
from runners.simulator.process import Running
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster, Playground
from tests.kube import stories
from tests.kube.timeline import Step

Simulator = Callable[..., Running]
# on the pod's own time, the model is ready after a second
READY = (Step(0.1, "scheduled"), *stories.initialised(0.2, 0.2), Step(0.5, "present"),
         Step(0.5, "started"), Step(1.0, "ready"))  # fmt: skip
QUICK = replace(stories.FAST, pods=(READY,))


def outcome_of(
    playground: Playground,
    simulator: Simulator,
    tmp_path: Path,
    profile: Profile,
    then: Callable[[], None] = lambda: None,
    after_s: float = 3.0,
) -> Outcome:
    """One run; `then` happens some seconds after the service was made."""
    running = simulator(model="tiny", ttft_ms=5, itl_ms=2)
    playground.cluster.bind("llama", running.base_url)

    def watch(change: str, kind: str, item: dict[str, Any]) -> None:
        if change == "ADDED" and kind == "inferenceservices.serving.kserve.io":
            playground.cluster.at(after_s, then)

    playground.cluster.plane.listen(watch)
    loaded = Loaded(profile, profile.model_dump(mode="json"), (), tmp_path / "profile.yaml")
    return run(loaded, tmp_path / "out", TargetOptions(), Progress(quiet=True))


@pytest.fixture
def brief(kserve_profile: Callable[..., Profile]) -> Callable[..., Profile]:
    def make(duration_s: float = 2.0, **serving: Any) -> Profile:
        return kserve_profile(
            load={"concurrency": 2, "duration_s": duration_s},
            workload={"input_tokens": 16, "max_tokens": 8},
            serving=serving,
        )

    return make


def test_a_run_from_profile_to_results(
    make_cluster: MakeCluster,
    simulator: Simulator,
    brief: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    playground = make_cluster(QUICK, speed=1.0)
    outcome = outcome_of(playground, simulator, tmp_path, brief())
    assert outcome.error is None and outcome.results is not None
    assert outcome.exit_code == Exit.DONE, outcome.results["verdict"]
    assert outcome.results["requests"]["failed"] == 0
    environment = outcome.run.read_json("environment.json")
    assert environment["engine"]["facts"]["route"] == "node-port"
    assert environment["target"] == "kserve"
    assert playground.left() == []


def test_a_port_forward_is_for_smoke_loads_and_says_so(
    make_cluster: MakeCluster,
    simulator: Simulator,
    brief: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    playground = make_cluster(QUICK, speed=1.0)
    profile = brief(connect="port-forward")
    outcome = outcome_of(playground, simulator, tmp_path, profile)
    assert outcome.results is not None and outcome.results["requests"]["failed"] == 0
    facts = outcome.run.read_json("environment.json")["engine"]["facts"]
    assert "port-forward to pod llama-predictor" in facts["degraded"][0]

    busy = profile.model_copy(update={"load": profile.load.model_copy(update={"concurrency": 8})})
    refused = outcome_of(playground, simulator, tmp_path, busy)
    assert refused.exit_code == Exit.TARGET
    assert "--allow-port-forward" in (refused.error or "")
    assert playground.left() == []


def test_deleted_by_someone_else_while_load_runs(
    make_cluster: MakeCluster,
    simulator: Simulator,
    brief: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    playground = make_cluster(QUICK, speed=1.0)
    outcome = outcome_of(
        playground,
        simulator,
        tmp_path,
        brief(duration_s=60.0),
        lambda: playground.cluster.do(Step(0, "deleted"), "llama"),
        after_s=6.0,
    )
    assert outcome.exit_code == Exit.TARGET
    assert "InferenceService llama was deleted by someone else" in (outcome.error or "")
    assert outcome.results is not None, "what was measured is kept"
    assert outcome.results["requests"]["ok"] > 0
    assert playground.left() == []


def test_interrupted_while_load_runs(
    make_cluster: MakeCluster,
    simulator: Simulator,
    brief: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    playground = make_cluster(QUICK, speed=1.0)
    outcome = outcome_of(
        playground, simulator, tmp_path, brief(duration_s=60.0), _thread.interrupt_main, 6.0
    )
    assert outcome.exit_code == Exit.INTERRUPTED
    assert outcome.results is not None and outcome.results["requests"]["ok"] > 0
    assert playground.left() == []


def test_the_api_server_goes_away_while_load_runs(
    make_cluster: MakeCluster,
    simulator: Simulator,
    brief: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    """Requests do not pass through it; it is back for the tear-down."""
    playground = make_cluster(QUICK, speed=1.0)
    outcome = outcome_of(
        playground,
        simulator,
        tmp_path,
        brief(duration_s=4.0),
        lambda: playground.server.go_away(7.0),
        after_s=5.0,
    )
    assert outcome.error is None
    assert outcome.exit_code == Exit.DONE, outcome.results and outcome.results["verdict"]
    told = json.loads((outcome.run / "cluster.json").read_text())["disturbances"]
    assert {each["kind"] for each in told} <= {"api outage"}
    assert playground.left() == []


def test_the_credentials_expire_while_load_runs(
    make_cluster: MakeCluster,
    simulator: Simulator,
    brief: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    playground = make_cluster(QUICK, speed=1.0)
    outcome = outcome_of(
        playground, simulator, tmp_path, brief(), playground.server.revoke_token, after_s=5.0
    )
    assert outcome.exit_code == Exit.TARGET
    assert "could not be removed" in (outcome.error or "")
    assert f"gc --namespace bench --run {outcome.run.run_id}" in (outcome.error or "")
    assert outcome.results is not None and outcome.results["requests"]["ok"] > 0

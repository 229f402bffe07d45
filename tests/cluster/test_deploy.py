"""From a profile to an endpoint in a scripted cluster, and back to nothing."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runners.cluster.deploy import deployed, fitted
from runners.cluster.wait import DeployError
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from runners.targets.endpoint import Endpoint
from tests.cluster.conftest import MakeCluster, Playground
from tests.kube import stories
from tests.kube.timeline import Scenario, Step
from tests.targets.openai_server import Behaviour, serving

MakeProfile = Callable[..., Profile]


@contextmanager
def opened(
    playground: Playground,
    profile: Profile,
    run: RunDirectory,
    options: TargetOptions | None = None,
    behaviour: Behaviour | None = None,
) -> Iterator[Endpoint]:
    """Deployed, with a small server behind its pods."""
    connection = playground.connection()
    with serving(behaviour or Behaviour()) as port:
        playground.cluster.bind(profile.serving.service or "", f"http://127.0.0.1:{port}")
        with deployed(
            connection, profile, run, Progress(quiet=True), options or TargetOptions()
        ) as endpoint:
            yield endpoint


def phases(run: RunDirectory) -> dict[str, float]:
    lifecycle = json.loads((run / "lifecycle.json").read_text())
    assert lifecycle["failure"] is None
    return {phase["name"]: phase["duration_s"] for phase in lifecycle["phases"]}


def test_a_cold_start_shows_where_its_time_went(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.COLD, speed=40.0)
    with opened(playground, kserve_profile(), run) as endpoint:
        assert endpoint.model == "tiny"
        assert endpoint.metrics_url == f"{endpoint.base_url}/metrics"
        assert endpoint.facts["cluster"]["nodes"]["gpu-node-1"]["nvidia.com/gpu.count"] == "4"
        assert endpoint.facts["model_weights_gib"] == pytest.approx(14.25, abs=0.01)
        digest = endpoint.facts["cluster"]["pods"][0]["image_digest"]
        assert "@sha256:" in digest
        assert playground.names("pods")
    assert playground.left() == []
    took = phases(run)
    # of 40 fake seconds per real one, an observation is late by some
    assert took["model downloaded"] == pytest.approx(60, abs=15)
    assert took["image pulled"] == pytest.approx(46, abs=15)
    assert took["weights loaded"] == pytest.approx(70, abs=15)
    assert list(took)[-1] == "first token"
    assert {path.name for path in (run / "manifests").iterdir()} == {
        "servingruntime.yaml",
        "inferenceservice.yaml",
    }
    assert any("kserve-container" in path.name for path in run.logs.iterdir())


@pytest.mark.parametrize(
    ("scenario", "speed"),
    [
        (stories.SLOW, 300.0),
        (stories.SCALED_UP, 80.0),
        (stories.FLAKY_PULL, 40.0),
        (stories.CRASHED_ONCE, 40.0),
    ],
    ids=["slow", "scaled-up", "flaky-pull", "crashed-once"],
)
def test_what_heals_is_waited_for(
    scenario: Scenario,
    speed: float,
    make_cluster: MakeCluster,
    kserve_profile: MakeProfile,
    run: RunDirectory,
) -> None:
    """ProgressDeadlineExceeded, a failed pull, a first crash, a pod without a node."""
    playground = make_cluster(scenario, speed=speed)
    with opened(playground, kserve_profile(), run):
        pass
    assert phases(run)["weights loaded"] > 0
    assert playground.left() == []


def test_our_own_deadline_ends_the_wait(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.SLOW, speed=120.0)
    profile = kserve_profile(serving={"startup_timeout_s": 300})
    with (
        pytest.raises(DeployError, match="downloads the model") as failed,
        opened(playground, profile, run),
    ):
        pass
    assert "not ready within 300 s (serving.startup_timeout_s)" in str(failed.value)
    assert "its log ends: " in str(failed.value)
    assert "Copying contents of hf://" in str(failed.value)
    assert playground.left() == []


def test_two_runs_of_one_profile_share_a_namespace(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, tmp_path: Path
) -> None:
    playground = make_cluster(stories.FAST)
    runs = [RunDirectory.create(tmp_path / "runs", "standard") for _ in range(2)]
    profiles = [kserve_profile(serving={"service": None}) for _ in runs]
    with serving(Behaviour()) as port:
        opened_: list[AbstractContextManager[Endpoint]] = []
        names = []
        for run, profile in zip(runs, profiles, strict=True):
            own = fitted(playground.connection(), profile, run.run_id).serving.service
            assert own is not None
            names.append(own)
            playground.cluster.bind(names[-1], f"http://127.0.0.1:{port}")
            opened_.append(
                deployed(
                    playground.connection(), profile, run, Progress(quiet=True), TargetOptions()
                )
            )
        with opened_[0]:
            with opened_[1]:
                services = playground.names("inferenceservices.serving.kserve.io")
                assert sorted(services) == sorted(names)
            assert playground.names("inferenceservices.serving.kserve.io") == names[:1]
            assert playground.names("servingruntimes.serving.kserve.io") == [f"{names[0]}-runtime"]
    assert playground.left() == []


def test_what_others_made_is_not_touched(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    playground.server.add(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "llama", "namespace": "bench"},
            "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}}}},
        }
    )
    before = playground.server.find("inferenceservices.serving.kserve.io", "llama")
    with (
        pytest.raises(TargetError, match=r"was not made by this toolkit.*--existing llama"),
        opened(playground, kserve_profile(), run),
    ):
        pass
    after = playground.server.find("inferenceservices.serving.kserve.io", "llama")
    assert before is not None and after is not None
    assert after["spec"] == before["spec"] and after["metadata"]["uid"] == before["metadata"]["uid"]
    assert playground.names("servingruntimes.serving.kserve.io") == []


@pytest.mark.parametrize("fault", ["throttle", "fail", "reset", "lost"])
def test_an_api_server_that_stumbles_is_asked_again(
    fault: str, make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    faults = playground.server.faults
    if fault == "lost":
        faults.reset(2, handled=True, verb="patch")
    elif fault == "throttle":
        faults.throttle(3, retry_after_s=2)
    else:
        getattr(faults, fault)(4)
    with opened(playground, kserve_profile(), run):
        pass
    assert playground.left() == []


def test_watches_that_end_or_expire_are_resumed(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.COLD, speed=40.0)
    server, cluster = playground.server, playground.cluster
    cluster.at(20, server.cut_watches)
    cluster.at(60, server.expire_watches)
    cluster.at(90, lambda: server.expire_watches(refuse=True))
    cluster.at(120, lambda: server.go_away(1.0))
    with opened(playground, kserve_profile(), run):
        pass
    assert phases(run)["model downloaded"] == pytest.approx(60, abs=20)
    assert playground.left() == []


def test_expired_credentials_are_named(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.COLD, speed=40.0)
    playground.cluster.at(30, playground.server.revoke_token)
    with (
        pytest.raises(TargetError, match=r"401 Unauthorized.*log in to the cluster again"),
        opened(playground, kserve_profile(), run),
    ):
        pass


def test_interrupted_while_it_starts(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    import _thread

    playground = make_cluster(stories.COLD, speed=40.0)
    playground.cluster.at(60, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt), opened(playground, kserve_profile(), run):
        pass
    assert playground.left() == []


def test_kept_on_demand(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    with opened(playground, kserve_profile(), run, TargetOptions(keep=True)):
        pass
    assert playground.names("inferenceservices.serving.kserve.io") == ["llama"]


def test_a_model_that_does_not_answer(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    with (
        pytest.raises(DeployError, match=r"all pods are ready, but no token came.*max_tokens"),
        opened(playground, kserve_profile(), run, behaviour=Behaviour(answer_status=400)),
    ):
        pass
    assert playground.left() == []


def test_objects_that_stay_are_told_with_the_command(
    make_cluster: MakeCluster,
    kserve_profile: MakeProfile,
    run: RunDirectory,
) -> None:
    playground = make_cluster(stories.STUCK_DELETION, speed=100.0)
    with (
        pytest.raises(TargetError, match=r"inferenceservice/llama \(held by finalizer") as failed,
        opened(playground, kserve_profile(), run),
    ):
        playground.clock.sleep(60)
    assert f"-l kserve-bench/run={run.run_id}" in str(failed.value)


def test_cold_starts_are_timed(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST, speed=20.0)
    with opened(playground, kserve_profile(), run, TargetOptions(cold_starts=2)) as endpoint:
        assert endpoint.facts["startup_s"] > 0
        assert len(playground.names("pods")) == 1
    told = json.loads((run / "coldstarts.json").read_text())
    assert len(told["starts"]) == 2
    summary = told["summary"]
    assert summary["first token from zero"]["p50_s"] >= 29
    assert summary["first token from zero"]["max_s"] >= summary["first token from zero"]["p50_s"]
    assert summary["model downloaded"]["p50_s"] == pytest.approx(5, abs=4)
    assert playground.left() == []


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        (stories.RESTARTED_UNDER_LOAD, {"restarted"}),
        (stories.SCALED_UNDER_LOAD, {"pod added"}),
        (stories.ROLLED_UNDER_LOAD, {"pod added", "pod lost"}),
        (stories.DRAINED_UNDER_LOAD, {"pod lost", "pod added"}),
    ],
    ids=lambda each: each.name if isinstance(each, Scenario) else "",
)
def test_what_happens_under_load_is_recorded(
    scenario: Scenario,
    kinds: set[str],
    make_cluster: MakeCluster,
    kserve_profile: MakeProfile,
    run: RunDirectory,
) -> None:
    playground = make_cluster(scenario, speed=60.0)
    with opened(playground, kserve_profile(), run) as endpoint:
        playground.clock.sleep(300)
        found = endpoint.facts["disturbances"]
        assert kinds <= {each["kind"] for each in found}, found
    told = json.loads((run / "cluster.json").read_text())
    assert told["disturbances"] == found
    assert playground.left() == []


def test_deleted_by_someone_else_under_load(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST, speed=20.0)
    scenario = replace(stories.FAST, service=(Step(60.0, "deleted", ""),))
    playground.cluster.scripts["llama"] = scenario
    with (
        pytest.raises(DeployError, match="InferenceService llama was deleted by someone else"),
        opened(playground, kserve_profile(), run),
    ):
        for _ in range(100):
            playground.clock.sleep(5)
        pytest.fail("nobody stopped the load")
    assert playground.left() == []


def test_every_replica_is_scraped(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    with opened(playground, kserve_profile(serving={"replicas": 3}), run) as endpoint:
        assert endpoint.metrics_url is not None
        assert len({endpoint.metrics_url, *endpoint.more_metrics_urls}) == 3
        assert len(playground.names("pods")) == 3
    assert playground.left() == []


def test_cold_starts_from_zero_wait_for_the_first_request(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    """An autoscaler takes the pod away when nobody asks, and brings one when somebody does."""
    course = ((1.0, 1), (60.0, 0), (120.0, 1))
    scaled = tuple(Step(at_s, "scaled", "", number=count) for at_s, count in course)
    playground = make_cluster(replace(stories.FAST, service=scaled), speed=20.0)
    profile = kserve_profile(
        serving={
            "connect": "node-port",
            "autoscaling": {
                "autoscaler": "keda",
                "min_replicas": 0,
                "metric": "prometheus",
                "target": 1,
                "query": "up",
                "prometheus": "http://prometheus:9090",
            },
        }
    )
    with opened(playground, profile, run, TargetOptions(cold_starts=1)):
        pass
    told = json.loads((run / "coldstarts.json").read_text())
    assert told["by"] == "request"
    (start,) = told["starts"]
    names = [phase["name"] for phase in start["phases"]]
    assert names[0] == "created" and names[-1] == "first token"
    # it was asked from the moment the pod was gone, a minute before its successor came
    assert start["first_token_s"] > 60
    assert playground.left() == []

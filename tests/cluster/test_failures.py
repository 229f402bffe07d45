"""Every scripted start-up that fails ends with the cause named, proved, and nothing left."""

import json
from collections.abc import Callable

import pytest

from runners.cluster.deploy import deployed
from runners.cluster.wait import DeployError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster
from tests.kube.scenarios import FAILED
from tests.kube.timeline import Scenario


@pytest.mark.parametrize("scenario", FAILED, ids=lambda each: each.name)
def test_the_cause_is_named_and_nothing_is_left(
    scenario: Scenario,
    make_cluster: MakeCluster,
    kserve_profile: Callable[..., Profile],
    run: RunDirectory,
    progress: Progress,
) -> None:
    playground = make_cluster(scenario, speed=120.0)
    profile = kserve_profile(serving={"startup_timeout_s": 900})
    started = playground.clock.now()

    with (
        pytest.raises(DeployError) as failed,
        deployed(playground.connection(), profile, run, progress, TargetOptions()),
    ):
        pass

    paragraph = str(failed.value)
    for word in scenario.expected.cause:
        assert word in paragraph, paragraph
    evidence = "\n".join(failed.value.failure.evidence)
    assert evidence or not scenario.expected.evidence
    # What is plain at once is told before the kubelet writes that it backs off.
    for reason in {*scenario.expected.evidence} - {"BackOff"}:
        assert reason in evidence, evidence
    assert "startup_timeout_s);" not in paragraph, "told before the deadline"
    assert playground.clock.now() - started < 900
    assert json.loads((run / "lifecycle.json").read_text())["failure"] == paragraph
    assert playground.left() == []

"""From a profile to an endpoint in a scripted cluster, and back to nothing."""

import json
from collections.abc import Callable

from runners.cluster.deploy import deployed
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster
from tests.kube.timeline import INITIALIZER, Expected, Scenario, Step
from tests.targets.openai_server import Behaviour, serving

FAST = Scenario(
    "fast",
    "everything works",
    pods=(
        (
            Step(0.5, "scheduled"),
            Step(1, "pulling", INITIALIZER),
            Step(2, "pulled", INITIALIZER),
            Step(3, "started", INITIALIZER),
            Step(10, "finished", INITIALIZER),
            Step(11, "pulling"),
            Step(20, "pulled"),
            Step(21, "started"),
            Step(40, "ready"),
        ),
    ),
    expected=Expected(ready_s=40),
)


def test_fast_start_and_nothing_left(
    make_cluster: MakeCluster,
    kserve_profile: Callable[..., Profile],
    run: RunDirectory,
    progress: Progress,
) -> None:
    playground = make_cluster(FAST)
    with serving(Behaviour()) as port:
        playground.cluster.bind("llama", f"http://127.0.0.1:{port}")
        with deployed(
            playground.connection(), kserve_profile(), run, progress, TargetOptions()
        ) as endpoint:
            assert endpoint.model == "tiny"
            print(endpoint)
            assert playground.names("pods")
    for kind in ("inferenceservices.serving.kserve.io", "servingruntimes.serving.kserve.io",
                 "deployments.apps", "pods", "services"):
        assert playground.names(kind) == [], kind
    print(json.loads((run / "lifecycle.json").read_text()))

"""An InferenceService of someone else is measured as it is."""

from collections.abc import Callable

import pytest

from runners.cluster.existing import found
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.render import render
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster, Playground
from tests.kube import stories
from tests.targets.openai_server import Behaviour, serving


def somebody_deploys(playground: Playground, profile: Profile) -> None:
    """The same objects, without anything that says they are ours."""
    for manifest in render(profile).values():
        metadata = {"name": manifest["metadata"]["name"], "namespace": "bench"}
        if manifest["kind"] == "InferenceService":
            metadata["annotations"] = manifest["metadata"]["annotations"]
        playground.server.add({**manifest, "metadata": metadata})


def test_it_is_found_and_left_as_it_was(
    make_cluster: MakeCluster, kserve_profile: Callable[..., Profile], run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    somebody_deploys(playground, kserve_profile())
    playground.clock.sleep(35)
    writes_before = [each for each in playground.server.requests if each[0] != "GET"]
    existing = kserve_profile(serving={"existing": "llama", "connect": "port-forward"})
    with serving(Behaviour()) as port:
        playground.cluster.bind("llama", f"http://127.0.0.1:{port}")
        with found(
            playground.connection(), existing, run, Progress(quiet=True), TargetOptions()
        ) as endpoint:
            assert endpoint.model == "tiny"
            assert endpoint.metrics_url is not None
            assert endpoint.facts["cluster"]["pods"][0]["name"].startswith("llama-predictor")
            assert "startup_s" not in endpoint.facts
            playground.cluster.do(stories.SCALED_UNDER_LOAD.service[0], "llama")
            playground.clock.sleep(40)
            assert [each["kind"] for each in endpoint.facts["disturbances"]] == ["pod added"]
    assert playground.names("inferenceservices.serving.kserve.io") == ["llama"]
    assert len(playground.names("pods")) == 2
    written = [each for each in playground.server.requests if each[0] != "GET"]
    asked = [path for _, path in written[len(writes_before) :]]
    assert all("selfsubjectaccessreviews" in path for path in asked), asked


def test_a_name_that_is_not_there(
    make_cluster: MakeCluster, kserve_profile: Callable[..., Profile], run: RunDirectory
) -> None:
    playground = make_cluster(stories.FAST)
    profile = kserve_profile(serving={"existing": "lama"})
    with (
        pytest.raises(TargetError, match="has no InferenceService of that name in namespace bench"),
        found(playground.connection(), profile, run, Progress(quiet=True), TargetOptions()),
    ):
        pass

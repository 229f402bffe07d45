"""What a killed run leaves is found by label and age, and only that is removed."""

from collections.abc import Callable

from click.testing import CliRunner

from runners.cli.cluster import gc
from runners.cluster.apply import apply
from runners.cluster.gc import orphans
from runners.profiles.model import Profile
from runners.render import render
from tests.cluster.conftest import MakeCluster
from tests.kube import stories

SERVICES = "inferenceservices.serving.kserve.io"


def test_orphans_go_and_others_stay(
    make_cluster: MakeCluster, kserve_profile: Callable[..., Profile]
) -> None:
    playground = make_cluster(stories.FAST)
    connection = playground.connection()
    for name, run in (("old", "run-1"), ("young", "run-2")):
        for each in render(kserve_profile(serving={"service": name}), run).values():
            apply(connection, each)
        playground.clock.sleep(5)
        if name == "old":
            playground.clock.advance(10_000)
    playground.server.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "theirs",
                "namespace": "bench",
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
            },
        }
    )
    found = orphans(connection)
    assert [(each.run, each.expired) for each in found] == [("run-1", True), ("run-2", False)]
    assert found[0].objects == ("inferenceservice/old", "servingruntime/old-runtime")

    # the command asks the real clock, by which all of this is long ago
    listed = CliRunner().invoke(gc, [], standalone_mode=False)
    assert "not removed: run-1, run-2; add --yes" in listed.output
    assert sorted(playground.names(SERVICES)) == ["old", "young"]
    one = CliRunner().invoke(gc, ["--run", "run-1", "--yes"], standalone_mode=False)
    assert "removed run-1" in one.output
    assert playground.names(SERVICES) == ["young"]
    CliRunner().invoke(gc, ["--yes"], standalone_mode=False)
    assert playground.left() == ["configmaps/theirs"]

"""What would go wrong is named before anything is created."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from runners.cli.cluster import preflight
from runners.cluster.deploy import deployed
from runners.cluster.preflight import Check, PreflightError, check_cluster
from runners.errors import Exit, TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.render import render
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster, Playground
from tests.kube import stories
from tests.kube.auth import Rule

MakeProfile = Callable[..., Profile]


def failed(playground: Playground, profile: Profile) -> list[str]:
    return texts(playground, profile, "failed")


def texts(playground: Playground, profile: Profile, status: str) -> list[str]:
    checks: list[Check] = check_cluster(playground.connection(), render(profile, "run"))
    return [check.text for check in checks if check.status == status]


def test_a_good_cluster_passes(make_cluster: MakeCluster, kserve_profile: MakeProfile) -> None:
    playground = make_cluster(stories.FAST)
    checks = check_cluster(playground.connection(), render(kserve_profile(), "run"))
    assert {check.status for check in checks} == {"ok"}
    assert "3 of 3 nodes can hold a predictor" in [check.text for check in checks]


def test_without_kserve(make_cluster: MakeCluster, kserve_profile: MakeProfile) -> None:
    playground = make_cluster(stories.FAST, kserve=None)
    (text, *_) = failed(playground, kserve_profile())
    assert "does not serve" in text and "install KServe" in text


def test_missing_rights_are_listed_verb_by_verb(
    make_cluster: MakeCluster, kserve_profile: MakeProfile
) -> None:
    playground = make_cluster(stories.FAST)
    playground.server.access.deny("pods/log")
    playground.server.access.deny("inferenceservices", "patch", "delete")
    told = failed(playground, kserve_profile())
    assert len(told) == 2
    assert told[0].startswith("may not patch, delete inferenceservices.serving.kserve.io in names")
    assert told[1].startswith("may not get pods/log in namespace bench, needed to say why")


@pytest.mark.parametrize(
    ("objects", "changes", "says"),
    [
        (
            {
                "kind": "ResourceQuota",
                "metadata": {"name": "gpus"},
                "spec": {"hard": {"requests.nvidia.com/gpu": "4", "limits.memory": "100Gi"}},
                "status": {
                    "hard": {"requests.nvidia.com/gpu": "4", "limits.memory": "100Gi"},
                    "used": {"requests.nvidia.com/gpu": "3", "limits.memory": "50Gi"},
                },
            },
            {"serving": {"replicas": 2}},
            "ResourceQuota gpus in namespace bench is too small: requests.nvidia.com/gpu: 2 "
            "needed, 1 of 4 left; limits.memory: 64Gi needed, 50Gi of 100Gi left",
        ),
        (None, {"model": {"uri": "pvc://models/llama"}}, "PersistentVolumeClaim models, which"),
        (
            {
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "models"},
                "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"],
                         "resources": {"requests": {"storage": "10Gi"}}},
                "status": {"phase": "Pending"},
            },
            {"model": {"uri": "pvc://models/llama"}},
            "PersistentVolumeClaim models asks for StorageClass fast, which does not exist",
        ),
        (None, {"serving": {"service_account": "s3-reader"}}, "ServiceAccount s3-reader, which"),
        (None, {"serving": {"runtime_class": "nvidia"}}, "names RuntimeClass nvidia, which"),
        (None, {"serving": {"image_pull_secrets": ["quay"]}}, "names Secret quay, which"),
        (None, {"serving": {"namespace": "nowhere"}}, "namespace nowhere does not exist"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(
    objects: Mapping[str, Any] | None,
    changes: dict[str, Any],
    says: str,
    make_cluster: MakeCluster,
    kserve_profile: MakeProfile,
    run: RunDirectory,
) -> None:
    playground = make_cluster(stories.FAST)
    if objects is not None:
        metadata = {**objects["metadata"], "namespace": "bench"}
        playground.server.add({"apiVersion": "v1", **objects, "metadata": metadata})
    profile = kserve_profile(**changes)
    connection = playground.connection(profile.serving.namespace)
    with (
        pytest.raises(PreflightError) as refused,
        deployed(connection, profile, run, Progress(quiet=True), TargetOptions()),
    ):
        pass
    assert says in str(refused.value)
    assert playground.left() == []


def test_a_gpu_that_no_node_has_is_a_warning(
    make_cluster: MakeCluster, kserve_profile: MakeProfile
) -> None:
    """A cluster may add nodes; the kinds that are there help to choose."""
    playground = make_cluster(stories.FAST)
    profile = kserve_profile(resources={"gpu": {"type": "L4"}})
    (text,) = texts(playground, profile, "warning")
    assert "NVIDIA-L4" in text and "there are NVIDIA-H100-80GB-HBM3" in text


def test_rights_that_cannot_be_had_make_checks_unknown(
    make_cluster: MakeCluster, kserve_profile: MakeProfile
) -> None:
    playground = make_cluster(stories.FAST)
    playground.server.access.deny("nodes")
    playground.server.access.deny("namespaces")
    playground.server.access.deny("resourcequotas")
    assert failed(playground, kserve_profile()) == []
    assert len(texts(playground, kserve_profile(), "unknown")) == 3


def test_the_printed_role_is_enough(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    """What the command prints is granted, nothing else; then a whole run works."""
    from tests.targets.openai_server import Behaviour, serving

    playground = make_cluster(stories.FAST)
    asked = CliRunner().invoke(preflight, ["--profile", "standard"], standalone_mode=False)
    assert asked.return_value == Exit.DONE, asked.output
    roles = list(yaml.safe_load_all(asked.output[asked.output.index("apiVersion:") :]))
    assert [role["kind"] for role in roles] == ["Role", "ClusterRole"]
    playground.server.access.allow_only(
        Rule(("get",), ("*",), ("*",), ""),
        Rule(("create",), ("selfsubjectaccessreviews",), ("*",), None),
        *(
            Rule(
                tuple(rule["verbs"]),
                tuple(rule["resources"]),
                tuple(rule["apiGroups"]),
                role["metadata"].get("namespace"),
            )
            for role in roles
            for rule in role["rules"]
        ),
    )
    with serving(Behaviour()) as port:
        playground.cluster.bind("llama", f"http://127.0.0.1:{port}")
        with deployed(
            playground.connection(), kserve_profile(), run, Progress(quiet=True), TargetOptions()
        ):
            pass
    assert playground.left() == []


def test_what_the_server_would_reject_is_told_beforehand(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    """A field that this KServe does not know; strict validation by a dry run finds it."""
    playground = make_cluster(stories.FAST, kserve="0.15.2")
    playground.server.faults.fail(None, code=403, verb="patch")
    with (
        pytest.raises(TargetError, match="may not apply ServingRuntime"),
        deployed(
            playground.connection(), kserve_profile(), run, Progress(quiet=True), TargetOptions()
        ),
    ):
        pass
    assert playground.left() == []

"""Every profile on every backend for every KServe, against the schemas and beyond them."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.engines.arguments import backend_of
from runners.errors import UsageError
from runners.profiles.load import list_profiles, load_profile
from runners.profiles.model import Profile
from runners.render import render, to_yaml
from tests.render import pods
from tests.render.cases import CASES, FOLDER, RUN, profile_of
from tests.render.schemas import VERSIONS, complaints

MakeProfile = Callable[..., Profile]
BACKENDS = {
    "vllm": "vllm",
    "vllm-huggingface": "vllm",
    "tgi": "tgi",
    "tensorrt-llm": "tensorrt-llm",
    "triton": "tensorrt-llm",
}
# Triton names its images by month, and holds every setting in its model repository.
_TRITON = [
    ("engine.image", "nvcr.io/nvidia/tritonserver:26.09-trtllm-python-py3"),
    ("engine.args", {}),
]


def minor(version: str) -> str:
    return version.rpartition(".")[0]


@cache
def shipped(version: str) -> tuple[tuple[str, Profile], ...]:
    """(name, profile) of each shipped profile for KServe on each backend."""
    found = []
    for listed in list_profiles():
        assert listed.problem is None, listed
        if listed.target != "kserve":
            continue
        for backend, engine in BACKENDS.items():
            sets: list[tuple[str, Any]] = [("engine.name", engine), ("engine.backend", backend)]
            sets += [("serving.kserve_version", minor(version))]
            sets += _TRITON if backend == "triton" else []
            found.append((f"{listed.name} on {backend}", load_profile(listed.path, sets).profile))
    return tuple(found)


@cache
def rendered(version: str) -> dict[str, tuple[Profile, dict[str, Any]]]:
    """Name → profile and objects, of all that can be rendered for that KServe."""
    cases = ((case, profile_of(case, kserve_version=minor(version))) for case in CASES)
    found = {}
    for name, profile in chain(shipped(version), cases):
        try:
            found[name] = (profile, render(profile, RUN, FOLDER))
        except UsageError:
            continue
    return found


def test_every_shipped_profile_is_rendered_where_its_engine_can_do_it() -> None:
    """By the newest KServe on its own backend; on others, a refusal names the key."""
    names = rendered(VERSIONS[-1])
    for name, profile in shipped(VERSIONS[-1]):
        if name.endswith(" on vllm"):
            assert name in names
        elif name not in names:
            with pytest.raises(UsageError, match=r"^(engine|model|serving|resources)\.[\w.-]+: .+"):
                render(profile, RUN)
    assert {"standard on tgi", "standard on tensorrt-llm", "standard on triton"} <= set(names)


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid_for_kserve(version: str, shared_dir: Path) -> None:
    for name, (_, objects) in rendered(version).items():
        for file, manifest in objects.items():
            if manifest["apiVersion"].startswith("serving.kserve.io/"):
                assert complaints(shared_dir, version, manifest) == [], (name, file)


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_pods_and_core_objects_are_valid_for_kubernetes(version: str) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed (requirements-dev.lock)"
    )
    seen: set[str] = set()
    for name, (_, objects) in rendered(VERSIONS[-1]).items():
        for manifest in core_objects(objects):
            text = to_yaml({**manifest, "metadata": {}})
            if text in seen:
                continue
            seen.add(text)
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{name}: {manifest['kind']}: {error}")
    assert len(seen) > len(CASES)


def core_objects(objects: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of Kubernetes itself, and the pods that KServe will make."""
    yield from (each for each in objects.values() if each["apiVersion"] == "v1")
    if pods.service(objects)["kind"] == "InferenceService":
        yield from map(pods.as_object, pods.pods(objects).values())


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_hold_what_no_schema_sees(version: str) -> None:
    for name, (profile, objects) in rendered(version).items():
        assert list(pods.faults(objects)) == [], name
        for file, manifest in objects.items():
            text = to_yaml(manifest)
            assert yaml.safe_load(text) == manifest, (name, file)
            assert "{{" not in text or manifest["kind"] == "ConfigMap", (name, file)
        if pods.service(objects)["kind"] == "InferenceService":
            head = pods.pods(objects)["head"]["containers"][0]
            probe = head["startupProbe"]
            budget = probe["periodSeconds"] * probe["failureThreshold"]
            assert budget >= profile.serving.startup_timeout_s, name
            assert {"readinessProbe", "livenessProbe"} <= set(head), name


def test_shipped_profiles_use_every_gpu_they_ask_for() -> None:
    for name, (profile, objects) in rendered(VERSIONS[-1]).items():
        head = pods.pods(objects).get("head")
        if backend_of(profile) != "vllm" or head is None or not pods.gpus(head):
            continue
        total = sum(map(pods.gpus, pods.pods(objects).values()))
        assert total == pods.gpus(head) * min(profile.serving.nodes, 2), name
        if " on " in name:
            arguments = head["containers"][0]["args"]
            assert pods.ranks(arguments) == pods.gpus(head) * profile.serving.nodes, name


def test_the_comparison_notices_a_wrong_manifest(
    shared_dir: Path, make_profile: MakeProfile
) -> None:
    manifest = render(make_profile())["inferenceservice.yaml"]
    manifest["spec"]["predictor"]["minReplica"] = 1
    manifest["spec"]["predictor"]["model"]["resources"]["limits"]["memory"] = "64GB"
    quantity, unknown = sorted(complaints(shared_dir, VERSIONS[-1], manifest))
    assert "minReplica" in unknown
    assert "64GB" in quantity


def test_the_checks_beyond_the_schemas_notice_faults(make_profile: MakeProfile) -> None:
    objects = render(make_profile(serving={"hf_token": {"name": "token"}}))
    (container,) = objects["servingruntime.yaml"]["spec"]["containers"]
    container["env"].append({"name": "HF_HOME", "value": "/again"})
    container["args"] += ["--port", "8080"]
    container["volumeMounts"].append({"name": "nowhere", "mountPath": "/nowhere"})
    predictor = objects["inferenceservice.yaml"]["spec"]["predictor"]
    predictor["model"]["resources"]["limits"]["nvidia.com/gpu"] = "0.5"
    del predictor["serviceAccountName"]
    found = "\n".join(pods.faults(objects))
    for fault in (
        "variable HF_HOME twice",
        "flag --port twice",
        "volume nowhere without mount",
        "nvidia.com/gpu is 0.5",
        "nvidia.com/gpu requested and limited differently",
        "a ServiceAccount that no pod uses",
    ):
        assert fault in found

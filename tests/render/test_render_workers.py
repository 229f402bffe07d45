"""Load workers as pods: valid for Kubernetes, placed apart, and nothing that is secret in them."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from runners.load.remote_wire import FEWEST_TOKEN_CHARACTERS, TOKEN_ENV, split_address
from runners.profiles.model import Profile
from runners.render.load_workers import PORT, pod_addresses, render_load_workers
from runners.render.templates import Object, to_yaml

MakeProfile = Callable[..., Profile]
RUN = "20260101T000000Z-standard-0a1b2c"
PODS = {"workers": {"pods": 3, "image": "registry.example/kserve-bench:1", "cpu": "4"}}


def by_kind(objects: dict[str, Object]) -> dict[str, Any]:
    return {each["kind"]: each for each in objects.values()}


def pod(objects: dict[str, Object]) -> Any:
    return by_kind(objects)["Job"]["spec"]["template"]


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_objects_are_valid_for_kubernetes(version: str, make_profile: MakeProfile) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed (requirements-dev.lock)"
    )
    plain = make_profile(target="url", url="https://example.org", load=PODS)
    everything = make_profile(
        load=PODS, serving={"namespace": "bench", "service": "llama"}, api_key_env="MODEL_KEY"
    )
    for profile in (plain, everything):
        for manifest in render_load_workers(profile, RUN, api_key="k").values():
            kubernetes_validate.validate(manifest, version, strict=True)
    broken = by_kind(render_load_workers(plain))["Job"]
    broken["spec"]["completion"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_each_worker_is_one_pod_that_is_never_replaced(make_profile: MakeProfile) -> None:
    objects = render_load_workers(make_profile(load=PODS), RUN)
    job = by_kind(objects)["Job"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 3, 3)
    assert (job["backoffLimit"], job["podReplacementPolicy"]) == (0, "Failed")
    assert job["activeDeadlineSeconds"] > 1800  # start-up alone may take as long
    assert pod(objects)["spec"]["restartPolicy"] == "Never"


def test_names_lead_to_every_pod(make_profile: MakeProfile) -> None:
    profile = make_profile(load=PODS, serving={"service": "llama"})
    objects = render_load_workers(profile, RUN)
    service, job = by_kind(objects)["Service"], by_kind(objects)["Job"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert pod(objects)["spec"]["subdomain"] == service["metadata"]["name"]
    labels = pod(objects)["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert pod_addresses(profile, "bench") == [
        f"{job['metadata']['name']}-{index}.{service['metadata']['name']}.bench.svc:{PORT}"
        for index in range(3)
    ]
    (container,) = pod(objects)["spec"]["containers"]
    assert "--count=3" in container["args"] and "--once" in container["args"]
    listens = next(each for each in container["args"] if each.startswith("--listen="))
    assert split_address(listens.removeprefix("--listen=")) == ("", PORT)


def test_long_names_stay_dns_labels(make_profile: MakeProfile) -> None:
    profile = make_profile(name="a-profile-whose-name-goes-on-and-on/and-on-and-on", load=PODS)
    first = pod_addresses(profile, "bench")[0].split(".", 1)[0]
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", first)
    assert len(first) <= 63


def test_nobody_shares_a_workers_clock(make_profile: MakeProfile) -> None:
    objects = render_load_workers(make_profile(load=PODS, serving={"service": "llama"}), RUN)
    spec = pod(objects)["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "4Gi"}
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "DoesNotExist"}]}
    ]
    preferred = spec["affinity"]["podAntiAffinity"]
    apart = [
        each["podAffinityTerm"]["labelSelector"]["matchLabels"]
        for each in preferred["preferredDuringSchedulingIgnoredDuringExecution"]
    ]
    assert {"serving.kserve.io/inferenceservice": "llama"} in apart
    assert any(each.items() <= pod(objects)["metadata"]["labels"].items() for each in apart)


def test_it_runs_where_pod_security_is_restricted(make_profile: MakeProfile) -> None:
    spec = pod(render_load_workers(make_profile(load=PODS), RUN))["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == "/tmp"
    assert {volume["name"]: volume["emptyDir"] for volume in spec["volumes"]} == {mount["name"]: {}}


def test_secrets_stand_in_the_secret_only(make_profile: MakeProfile) -> None:
    profile = make_profile(load=PODS, api_key_env="MODEL_KEY")
    objects = render_load_workers(profile, RUN, token="the shared token", api_key="sk-1")
    found = by_kind(objects)
    assert sorted(found["Secret"]["stringData"].values()) == ["sk-1", "the shared token"]
    for kind in ("Job", "Service"):
        assert not re.search("the shared token|sk-1", to_yaml(found[kind]))
    (container,) = pod(objects)["spec"]["containers"]
    from_secret = {
        each["name"]: found["Secret"]["stringData"][each["valueFrom"]["secretKeyRef"]["key"]]
        for each in container["env"]
        if "valueFrom" in each
    }
    assert from_secret == {TOKEN_ENV: "the shared token", "MODEL_KEY": "sk-1"}


def test_each_run_has_its_own_token(make_profile: MakeProfile) -> None:
    tokens = [
        by_kind(render_load_workers(make_profile(load=PODS)))["Secret"]["stringData"]["token"]
        for _ in range(2)
    ]
    assert tokens[0] != tokens[1]
    assert all(len(token) >= FEWEST_TOKEN_CHARACTERS for token in tokens)


def test_everything_carries_the_labels_by_which_it_is_cleaned_up(make_profile: MakeProfile) -> None:
    objects = render_load_workers(make_profile(load=PODS), RUN)
    metadata = [*(each["metadata"] for each in objects.values()), pod(objects)["metadata"]]
    for each in metadata:
        assert each["labels"]["app.kubernetes.io/managed-by"] == "kserve-bench"
        assert each["labels"]["kserve-bench/run"] == RUN
        assert each["labels"]["kserve-bench/profile"] == "standard"


def test_processes_and_machines_need_no_objects(make_profile: MakeProfile) -> None:
    for workers in (None, 2, {"addresses": ["10.0.0.7:8790"]}):
        assert render_load_workers(make_profile(load={"workers": workers})) == {}


def test_a_dry_run_prints_them_and_a_run_says_that_it_cannot(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    from runners.cli.main import main

    pods = ["--profile", "cpu-smoke", "--url", "http://127.0.0.1:9"]
    pods += ["--set", "load.workers={pods: 2, image: 'bench:1'}"]
    assert main([*pods, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "kind: Job" in printed and "completions: 2" in printed
    assert main([*pods, "--out", str(tmp_path), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[:1]
    assert "load.workers.pods" in line and "load.workers.addresses" in line

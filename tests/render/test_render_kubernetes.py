"""What a profile becomes on KServe, and what is refused before it gets there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render import render, to_yaml
from runners.render.names import label_value, service_name

MakeProfile = Callable[..., Profile]
GOLDEN = Path(__file__).with_name("golden-standard.yaml")


def container(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = render(profile)["servingruntime.yaml"]["spec"]["containers"][0]
    return found


def predictor(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = render(profile)["inferenceservice.yaml"]["spec"]["predictor"]
    return found


def test_golden(make_profile: MakeProfile) -> None:
    profile = make_profile(
        engine={
            "args": {"max_model_len": 8192, "enable_prefix_caching": True},
            "env": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        },
        resources={"gpu": {"count": 2, "type": "H100"}, "cpu": "8", "memory": "64Gi"},
        serving={"namespace": "bench", "replicas": 2},
    )
    objects = render(profile, run_id="20260101T000000Z-standard-0a1b2c")
    text = "".join(f"---\n{to_yaml(manifest)}" for manifest in objects.values())
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        '"}}\nkind: Secret\n',
        "x'\n  - y: &a *a\n",
        "\u2028 # {% raw %} ${HOME}",
        "- !!python/name:os",
    ],
)
def test_a_value_never_becomes_structure(make_profile: MakeProfile, text: str) -> None:
    profile = make_profile(engine={"env": {"NOTE": text}, "image": text})
    runtime = render(profile)["servingruntime.yaml"]
    assert runtime["kind"] == "ServingRuntime"
    assert runtime["spec"]["containers"][0]["image"] == text
    assert {"name": "NOTE", "value": text} in runtime["spec"]["containers"][0]["env"]
    assert yaml.safe_load(to_yaml(runtime)) == runtime


def test_text_that_yaml_readers_disagree_on_is_quoted() -> None:
    ambiguous = ["y", "on", "1e3", "0o17", "12:30:45", "~", "", "2026-01-01", "null", "=", "true"]
    written = to_yaml({"env": ambiguous})
    assert all(f'- "{text}"\n' in written for text in ambiguous), written


def test_go_template_is_refused(make_profile: MakeProfile) -> None:
    with pytest.raises(UsageError, match=r"ServingRuntime\.spec\.containers\[0\]\.args.*\{\{"):
        render(make_profile(engine={"args": {"chat_template": "{{ messages }}"}}))


def test_every_flag_stands_in_the_runtime_only(make_profile: MakeProfile) -> None:
    profile = make_profile(engine={"args": {"max_model_len": 4096}})
    assert container(profile)["args"][:2] == [
        "--port=8080",
        "--served-model-name=Qwen2.5-7B-Instruct",
    ]
    assert "4096" in " ".join(container(profile)["args"])
    assert "args" not in predictor(profile)["model"]


def test_startup_probe_waits_as_long_as_the_profile_says(make_profile: MakeProfile) -> None:
    probe = container(make_profile(serving={"startup_timeout_s": 1234.5}))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 1240


def test_mig_slice(make_profile: MakeProfile) -> None:
    profile = make_profile(resources={"gpu": {"type": "NVIDIA-H100-PCIe", "mig": "1g.10gb+me"}})
    limits = predictor(profile)["model"]["resources"]["limits"]
    assert limits["nvidia.com/mig-1g.10gb.me"] == "1"
    assert "nvidia.com/gpu" not in limits
    assert "NVIDIA-H100-PCIe" in to_yaml(predictor(profile)["affinity"])


def test_cpu_serving_asks_for_no_gpu(make_profile: MakeProfile) -> None:
    profile = make_profile(
        resources={"gpu": {"count": 0}}, engine={"image": "registry.example/vllm-cpu:1"}
    )
    assert "nvidia" not in to_yaml(render(profile)["inferenceservice.yaml"])


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"engine": {"backend": "triton"}}, "engine.backend"),
        ({"engine": {"name": "tgi"}}, "engine.backend"),
        ({"engine": {"args": {"served_model_name": "x"}}}, "engine.args"),
        ({"serving": {"mode": "Knative"}}, "serving.mode"),
        ({"serving": {"autoscaling": {"autoscaler": "hpa"}}}, "serving.autoscaling.autoscaler"),
        ({"serving": {"autoscaling": {"max_replicas": 4}}}, "serving.autoscaling"),
        ({"resources": {"gpu": {"count": 0}}}, "resources.gpu.count"),
        ({"resources": {"gpu": {"type": "H1000"}}}, "resources.gpu.type"),
        ({"model": {"uri": "tiny://llama"}}, "model.uri"),
    ],
)
def test_what_is_not_rendered_is_one_line(
    make_profile: MakeProfile, changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(UsageError) as refused:
        render(make_profile(**changes))
    assert str(refused.value).startswith(f"{key}: ")
    assert "\n" not in str(refused.value)


def test_names_stay_valid_and_different() -> None:
    long = "a-name-that-goes-on/and-on-and-on-and-on-until-it-is-far-too-long-for-kubernetes"
    assert service_name("7B chat/Fast!") == "bench-7b-chat-fast"
    assert service_name("---") == "bench"
    assert len(service_name(long + "-1")) <= 40
    assert service_name(long + "-1") != service_name(long + "-2")
    assert label_value("chat/fast") == "chat-fast"
    assert len(label_value(long)) <= 63

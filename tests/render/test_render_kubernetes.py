"""What a profile becomes on KServe, and what is refused before it gets there."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render import render, to_yaml
from runners.render.backends import served_name, served_version
from runners.render.names import label_value, service_name

MakeProfile = Callable[..., Profile]
HOSTILE = [
    '"}}\nkind: Secret\n',
    "x'\n  - y: &a *a\n",
    "\u2028 # {% raw %} ${HOME}",
    "- !!python/name:os",
    "a\tb\x00c\x85",
    "{% for x in y %}",
]


def runtime(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = render(profile)["servingruntime.yaml"]
    return found


def container(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = runtime(profile)["spec"]["containers"][0]
    return found


def predictor(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = render(profile)["inferenceservice.yaml"]["spec"]["predictor"]
    return found


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["InferenceService", "LLMInferenceService"])
def test_a_value_never_becomes_structure(make_profile: MakeProfile, text: str, kind: str) -> None:
    profile = make_profile(
        model={"uri": f"s3://{text}", "name": f"n{text}"},
        engine={"env": {"NOTE": text}, "image": text, "args": {f"x{text}": f"x{text}"}},
        serving={"kind": kind, "annotations": {"note": text}, "runtime_class": text},
    )
    plain = render(
        make_profile(
            model={"uri": "s3://x", "name": "x"},
            engine={"env": {"NOTE": "x"}, "image": "x", "args": {"x": "x"}},
            serving={"kind": kind, "annotations": {"note": "x"}, "runtime_class": "x"},
        )
    )
    objects = render(profile)
    assert shape(objects) == shape(plain)
    found = json.dumps(objects)
    assert found.count(json.dumps(text)) >= 4, "where it is the whole value"
    for manifest in objects.values():
        written = to_yaml(manifest)
        assert yaml.safe_load(written) == manifest
        assert YAML(typ="safe", pure=True).load(written) == manifest


def shape(value: Any) -> Any:
    """The structure without the texts in it."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value)


def test_kubernetes_puts_no_variable_into_a_value(make_profile: MakeProfile) -> None:
    """`$$` is one dollar and `$(X)` a variable, for Kubernetes."""
    text = "$(HF_TOKEN) $$(X) $x $"
    profile = make_profile(engine={"env": {"A": text}, "args": {"seed": text}})
    (env,) = (each for each in container(profile)["env"] if each["name"] == "A")
    for written in (env["value"], container(profile)["args"][-1]):
        assert written == "$$(HF_TOKEN) $$$$(X) $x $"


def test_the_shell_of_llm_d_reads_arguments_as_they_were(make_profile: MakeProfile) -> None:
    given = {"speculative_config": {"method": "ngram", "x": "it's $HOME `id` $(id)"}}
    profile = make_profile(engine={"args": given}, serving={"kind": "LLMInferenceService"})
    (main,) = render(profile)["llminferenceservice.yaml"]["spec"]["template"]["containers"]
    (env,) = main["env"]
    value = env["value"].replace("$$(", "$(")
    assert shlex.split(value) == ["--speculative-config", json.dumps(given["speculative_config"])]
    script = 'eval "printf %s ${VLLM_ADDITIONAL_ARGS}"'
    command = ["bash", "-c", script]
    shown = subprocess.run(command, env={env["name"]: value}, capture_output=True, check=True)
    assert shown.stdout.decode() == "".join(shlex.split(value))


def test_text_that_yaml_readers_disagree_on_is_quoted() -> None:
    ambiguous = ["y", "on", "1e3", "0o17", "12:30:45", "~", "", "2026-01-01", "null", "=", "true"]
    written = to_yaml({"env": ambiguous})
    assert all(f'- "{text}"\n' in written for text in ambiguous), written


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": {"args": {"chat_template": "{{ messages }}"}}},
        {"engine": {"env": {"TEMPLATE": "{{ messages }}"}}},
        {"engine": {"image": "{{ .Name }}"}},
        {"model": {"uri": "s3://{{x}}"}},
        {"serving": {"annotations": {"note": "{{"}}},
        {"serving": {"kind": "LLMInferenceService"}, "engine": {"args": {"x": "{{ y }}"}}},
    ],
)
def test_go_templates_are_refused(make_profile: MakeProfile, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"Service\S*\.\S+: KServe would execute .*\{\{|Runtime"):
        render(make_profile(**changes))


def test_every_flag_stands_in_the_runtime_only(make_profile: MakeProfile) -> None:
    profile = make_profile(engine={"args": {"max_model_len": 4096}})
    assert container(profile)["command"] == [
        "python3",
        "-m",
        "vllm.entrypoints.openai.api_server",
    ]
    assert container(profile)["args"] == [
        *("--model", "/mnt/models", "--served-model-name", "Qwen2.5-7B-Instruct"),
        *("--port", "8080", "--max-model-len", "4096"),
    ]
    assert "args" not in predictor(profile)["model"]
    assert "env" not in predictor(profile)["model"]


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
        resources={"gpu": {"count": 0, "type": "H100"}}, engine={"version": "0.32.0+cpu"}
    )
    assert container(profile)["image"] == "vllm/vllm-openai-cpu:v0.32.0"
    assert "nvidia" not in to_yaml(render(profile)["inferenceservice.yaml"])


def test_the_chat_template_is_found_beside_the_profile(
    make_profile: MakeProfile, tmp_path: Path
) -> None:
    text = "{{ bos_token }}{% for m in messages %}\u2603{{ m }}{% endfor %}\n"
    (tmp_path / "chat.jinja").write_text(text, encoding="utf-8")
    profile = make_profile(model={"uri": "hf://o/m", "chat_template": "chat.jinja"})
    objects = render(profile, folder=tmp_path)
    config = objects["configmap-chat-template.yaml"]
    (file,) = config["data"]
    assert config["data"][file] == text
    spec = objects["servingruntime.yaml"]["spec"]
    (volume,) = (each for each in spec["volumes"] if "configMap" in each)
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    args = spec["containers"][0]["args"]
    assert args[args.index("--chat-template") + 1] == f"{mount['mountPath']}/{file}"
    with pytest.raises(UsageError, match=r"^model\.chat_template: .* cannot be read: "):
        render(profile, folder=tmp_path / "elsewhere")


def test_a_gated_model_is_downloaded_with_the_token(make_profile: MakeProfile) -> None:
    """KServe reads it from the account's secret; the engine from its environment."""
    profile = make_profile(serving={"hf_token": {"name": "hf"}})
    objects = render(profile)
    account = objects["serviceaccount.yaml"]
    assert list(objects).index("serviceaccount.yaml") == 0
    assert account["secrets"] == [{"name": "hf"}]
    assert predictor(profile)["serviceAccountName"] == account["metadata"]["name"]
    own = make_profile(serving={"hf_token": {"name": "hf"}, "service_account": "reader"})
    assert "serviceaccount.yaml" not in render(own)
    assert predictor(own)["serviceAccountName"] == "reader"
    for each in (profile, own):
        assert [e for e in container(each)["env"] if e["name"] == "HF_TOKEN"] == [
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "HF_TOKEN"}}}
        ]


def test_a_profile_cannot_take_our_labels_away(make_profile: MakeProfile) -> None:
    profile = make_profile(serving={"labels": {"queue": "bench"}})
    for manifest in render(profile, "run-1").values():
        labels = manifest["metadata"]["labels"]
        assert labels["queue"] == "bench"
        assert labels["kserve-bench/run"] == "run-1"
    for labels in ({"kserve-bench/run": "x"}, {"app.kubernetes.io/managed-by": "x"}):
        with pytest.raises(UsageError, match="is set by the toolkit"):
            render(make_profile(serving={"labels": labels}), "run-1")
    with pytest.raises(UsageError, match="is set by the toolkit"):
        annotations = {"serving.kserve.io/autoscalerClass": "hpa"}
        render(make_profile(serving={"annotations": annotations}))


def test_nothing_is_made_for_a_service_that_is_there(make_profile: MakeProfile) -> None:
    assert render(make_profile(serving={"existing": "theirs"})) == {}


def test_an_own_route_only_where_requests_take_it(make_profile: MakeProfile) -> None:
    key = "networking.kserve.io/visibility"
    for connect, wanted in (("auto", "cluster-local"), ("gateway", None)):
        service = render(make_profile(serving={"connect": connect}))["inferenceservice.yaml"]
        assert service["metadata"]["labels"].get(key) == wanted


def test_names_and_versions_that_the_backend_brings(make_profile: MakeProfile) -> None:
    gpt = {"uri": "hf://org/GPT:main", "name": "gpt"}
    assert served_name(make_profile(model={"uri": "hf://org/GPT:main"})) == "GPT"
    assert served_name(make_profile(model={"uri": "oci://r.example:5000/o/m:8b"})) == "m"
    assert served_name(make_profile(model={"uri": "s3://b/a:b/"})) == "a:b"
    assert served_name(make_profile(model=gpt)) == "gpt"
    assert served_name(make_profile(model=gpt, engine={"name": "tgi"})) == "tgi"
    trt = make_profile(model=gpt, engine={"name": "tensorrt-llm"})
    assert served_name(trt) == container(trt)["args"][0].rpartition("/")[2]
    own = {"backend": "vllm-huggingface", "version": "0.32.0"}
    assert served_version(make_profile(engine=own, serving={"kserve_version": "0.18"})) == "0.19.0"


@pytest.mark.parametrize("own", ["10.0.0.2", "10.0.0.9", "10.0.0.10"])
def test_a_worker_finds_its_rank_among_the_workers(
    own: str, make_profile: MakeProfile, tmp_path: Path
) -> None:
    """The rendered command, with an address book and a vllm that shows how it is started."""
    profile = make_profile(
        model={"uri": "pvc://m/m"},
        engine={"args": {"tensor_parallel_size": 4}},
        serving={"nodes": 4},
    )
    (worker,) = runtime(profile)["spec"]["workerSpec"]["containers"]
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\n"
        "time.sleep = lambda seconds: None\n"
        "calls = []\n"
        "def look(host, port):\n"
        "    assert host == 'workers'\n"
        "    calls.append(host)\n"
        "    if len(calls) == 1: raise OSError\n"
        "    known = ['10.0.0.10', '10.0.0.2', '10.0.0.9'][:len(calls) - 1]\n"
        "    return [(2, 1, 6, '', (each, 0)) for each in known]\n"
        "socket.getaddrinfo = look\n"
    )
    vllm = tmp_path / "vllm"
    vllm.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    vllm.chmod(0o755)
    python, *further = worker["command"]
    assert python == "python3"
    shown = subprocess.run(
        [sys.executable, *further, *worker["args"]],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PYTHONPATH": str(tmp_path),
            "WORKER_SVC": "workers",
            "VLLM_HOST_IP": own,
        },
        capture_output=True,
        check=True,
        timeout=60,
    )
    arguments = shown.stdout.decode().split()
    assert arguments[:3] == ["serve", "/mnt/models", "--headless"]
    ranks = {"10.0.0.10": "1", "10.0.0.2": "2", "10.0.0.9": "3"}
    assert arguments[-2:] == ["--node-rank", ranks[own]]


def test_names_stay_valid_and_different() -> None:
    long = "a-name-that-goes-on/and-on-and-on-and-on-until-it-is-far-too-long-for-kubernetes"
    assert service_name("7B chat/Fast!") == "bench-7b-chat-fast"
    assert service_name("---") == "bench"
    assert len(service_name(long + "-1")) <= 40
    assert service_name(long + "-1") != service_name(long + "-2")
    assert label_value("chat/fast") == "chat-fast"
    assert len(label_value(long)) <= 63

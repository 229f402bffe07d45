"""What no KServe, backend or engine can do is refused in one line that names the key."""

from collections.abc import Callable
from typing import Any

import pytest

from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render import render

MakeProfile = Callable[..., Profile]
TRITON = {"name": "tensorrt-llm", "backend": "triton", "image": "i"}
DRAFT = {"speculative_config": {"method": "draft_model", "model": "s3://b/d"}}
LLM_D = {"kind": "LLMInferenceService"}
ADAPTER = {"uri": "hf://o/m", "adapters": [{"name": "a", "uri": "hf://o/a"}]}
KEDA = {"autoscaler": "keda", "prometheus": "http://p", "query": "q", "target": 1.0}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"engine": {"backend": "tgi"}}, "engine.backend"),
        ({"engine": {"args": {"served_model_name": "x"}}}, "engine.args.served_model_name"),
        ({"engine": {"name": "tgi", "args": {"swap_space": 1}}}, "engine.args.swap_space"),
        ({"engine": TRITON | {"args": {"max_model_len": 1}}}, "engine.args.max_model_len"),
        ({"engine": {"name": "tensorrt-llm", "backend": "triton"}}, "engine.image"),
        ({"engine": {"env": {"A B": "x"}}}, "engine.env"),
        ({"engine": {"backend": "vllm-huggingface"}, "model": ADAPTER}, "model.adapters"),
        (
            {"engine": {"backend": "vllm-huggingface", "args": {"swap_space": 4}}},
            "engine.args.swap_space",
        ),
        ({"engine": {"name": "tensorrt-llm"}, "model": ADAPTER}, "model.adapters"),
        (
            {"engine": {"name": "tgi"}, "model": {"uri": "hf://o/m", "chat_template": "x"}},
            "model.chat_template",
        ),
        ({"engine": {"name": "tgi"}, "resources": {"gpu": {"count": 0}}}, "resources.gpu.count"),
        (
            {"engine": {"version": "0.11.0"}, "resources": {"gpu": {"count": 0}}},
            "engine.image",
        ),
        ({"resources": {"gpu": {"type": "H1000"}}}, "resources.gpu.type"),
        ({"resources": {"gpu": {"type": "MI300X"}}}, "resources.gpu.type"),
        ({"model": {"uri": "tiny://llama"}}, "model.uri"),
        ({"model": {"uri": "hf://"}}, "model.uri"),
        ({"model": {"uri": "s3://b/m", "revision": "main"}}, "model.revision"),
        ({"model": {"uri": "hf://o/m:a", "revision": "b"}}, "model.revision"),
        (
            {"engine": {"args": DRAFT}, "serving": {"kserve_version": "0.15"}},
            "engine.args.speculative_config.model",
        ),
        ({"engine": {"args": DRAFT}, "model": {"uri": "oci://r/m"}}, "model.uri"),
        (
            {"model": ADAPTER, "engine": {"args": {"lora_modules": "a=b"}}},
            "engine.args.lora_modules",
        ),
        ({"serving": {"nodes": 2, "replicas": 2}}, "serving.nodes"),
        ({"serving": {"nodes": 2}, "resources": {"gpu": {"count": 8}}}, "model.uri"),
        (
            {
                "serving": {"nodes": 2},
                "resources": {"gpu": {"count": 8}},
                "model": {"uri": "pvc://m/m"},
            },
            "engine.args.tensor_parallel_size",
        ),
        ({"serving": {"prefill": {}}}, "serving.prefill"),
        ({"serving": {**LLM_D, "prefill": {}}}, "serving.prefill"),
        ({"serving": {**LLM_D, "kserve_version": "0.15"}}, "serving.kind"),
        ({"serving": LLM_D, "engine": {"name": "tgi"}}, "serving.kind"),
        (
            {"serving": LLM_D, "engine": {"args": DRAFT}},
            "engine.args.speculative_config.model",
        ),
        ({"serving": {**LLM_D, "kserve_version": "0.19"}, "model": ADAPTER}, "model.adapters"),
        ({"serving": {"hf_token": {"name": "s", "key": "token"}}}, "serving.hf_token.key"),
        ({"serving": {"labels": {"a b": "c"}}}, "serving.labels"),
        ({"serving": {"labels": {"a": "b c"}}}, "serving.labels.a"),
        ({"serving": {"tolerations": [{"operator": "Equal"}]}}, "serving.tolerations"),
        ({"serving": {"tolerations": [{"value": "x"}]}}, "serving.tolerations"),
        ({"serving": {"autoscaling": {"max_replicas": 4}}}, "serving.autoscaling"),
        ({"serving": {"autoscaling": {"query": "q"}}}, "serving.autoscaling.query"),
        (
            {"serving": {"autoscaling": {"autoscaler": "kpa"}}},
            "serving.autoscaling.autoscaler",
        ),
        (
            {"serving": {"mode": "Knative", "autoscaling": KEDA}},
            "serving.autoscaling.autoscaler",
        ),
        (
            {"serving": {"autoscaling": {"autoscaler": "hpa", "min_replicas": 0}}},
            "serving.autoscaling.min_replicas",
        ),
        (
            {"serving": {"autoscaling": {**KEDA, "metric": "cpu", "min_replicas": 0}}},
            "serving.autoscaling.min_replicas",
        ),
        (
            {"serving": {"autoscaling": {"autoscaler": "hpa", "metric": "rps"}}},
            "serving.autoscaling.metric",
        ),
        (
            {"serving": {"autoscaling": {"autoscaler": "hpa", "target": 150.0}}},
            "serving.autoscaling.target",
        ),
        (
            {"serving": {"autoscaling": {"autoscaler": "keda", "query": "q"}}},
            "serving.autoscaling.prometheus",
        ),
        (
            {"serving": {"replicas": 2, "autoscaling": {"autoscaler": "hpa"}}},
            "serving.replicas",
        ),
    ],
)
def test_what_cannot_be_rendered_is_one_line(
    make_profile: MakeProfile, changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(UsageError) as refused:
        render(make_profile(**changes))
    assert str(refused.value).startswith(f"{key}: ")
    assert "\n" not in str(refused.value)

"""One profile for each thing that can be rendered; each has a file in golden/."""

from pathlib import Path
from typing import Any

from runners.profiles.model import Profile

RUN = "20260101T000000Z-case-0a1b2c"
FOLDER = Path(__file__).parent
_LLAMA = "hf://NousResearch/Meta-Llama-3.1-8B-Instruct"
_EIGHT = {"gpu": {"count": 8, "type": "H100"}, "cpu": "64", "memory": "512Gi", "shm": "32Gi"}


def _gpu(count: int = 1, **more: Any) -> dict[str, Any]:
    return {"resources": {"gpu": {"count": count, **more}}}


def _scaled(mode: str, **scaling: Any) -> dict[str, Any]:
    return {"serving": {"mode": mode, "autoscaling": scaling}}


def _engine(name: str, **more: Any) -> dict[str, Any]:
    return {"engine": {"name": name, **more}}


_TRITON = {
    "name": "tensorrt-llm",
    "backend": "triton",
    "image": "nvcr.io/nvidia/tritonserver:26.09-trtllm-python-py3",
}
_NEUTRAL = {
    "max_model_len": 8192,
    "max_num_seqs": 64,
    "max_num_batched_tokens": 4096,
    "gpu_memory_utilization": 0.9,
    "kv_cache_dtype": "fp8",
    "enable_prefix_caching": True,
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 4},
}
_PROMETHEUS = {
    "metric": "prometheus",
    "prometheus": "http://prometheus.monitoring:9090",
    "query": 'sum(vllm:num_requests_waiting{namespace="bench"})',
    "target": 8.0,
}
_DRAFT = {"method": "draft_model", "num_speculative_tokens": 4}

CASES: dict[str, dict[str, Any]] = {
    "single-gpu": {
        "engine": {"args": {"max_model_len": 8192, "enable_prefix_caching": True}},
        "serving": {"namespace": "bench", "replicas": 2},
    },
    "multi-gpu": {
        "engine": {"args": {"tensor_parallel_size": 8}},
        "resources": _EIGHT,
    },
    "mig": _gpu(type="A100-80", mig="3g.40gb"),
    "cpu": {
        "engine": {"args": {"dtype": "bfloat16"}, "env": {"VLLM_CPU_KVCACHE_SPACE": "8"}},
        **_gpu(0),
    },
    "two-nodes": {
        "model": {"uri": "pvc://models/llama-405b"},
        "engine": {"args": {"tensor_parallel_size": 8, "pipeline_parallel_size": 2}},
        "resources": _EIGHT,
        "serving": {"nodes": 2, "kserve_version": "0.16"},
    },
    "four-nodes": {
        "model": {"uri": "oci://registry.example/models/big:1"},
        "engine": {"args": {"tensor_parallel_size": 8, "pipeline_parallel_size": 4}},
        "resources": _EIGHT,
        "serving": {"nodes": 4},
    },
    "before-0.16": {"serving": {"kserve_version": "0.15"}},
    "knative": {"serving": {"mode": "Knative", "replicas": 2}},
    "knative-before-0.16": {"serving": {"mode": "Knative", "kserve_version": "0.15.2"}},
    "hpa": _scaled("Standard", autoscaler="hpa", max_replicas=4, target=70.0),
    "hpa-knative": _scaled("Knative", autoscaler="hpa", max_replicas=4),
    "keda": _scaled("Standard", autoscaler="keda", max_replicas=4, **_PROMETHEUS),
    "keda-from-zero": _scaled("Standard", autoscaler="keda", min_replicas=0, **_PROMETHEUS),
    "kpa-from-zero": _scaled(
        "Knative", autoscaler="kpa", min_replicas=0, max_replicas=3, metric="rps", target=5.0
    ),
    "draft-by-the-engine": {
        "engine": {"args": {"speculative_config": {**_DRAFT, "model": "org/draft"}}}
    },
    "draft-from-a-second-uri": {
        "engine": {"args": {"speculative_config": {**_DRAFT, "model": "s3://models/draft"}}},
        "serving": {"service_account": "s3-reader"},
    },
    "draft-on-a-claim": {
        "engine": {"args": {"speculative_config": {**_DRAFT, "model": "pvc://drafts/llama/1b"}}},
        "serving": {"kserve_version": "0.15"},
    },
    "model-on-a-claim-draft-from-s3": {
        "model": {"uri": "pvc://models/llama/8b"},
        "engine": {"args": {"speculative_config": {**_DRAFT, "model": "s3://models/draft"}}},
    },
    "quantization-flag": {"engine": {"args": {"quantization": "fp8_per_tensor"}}},
    "lora": {
        "model": {
            "uri": _LLAMA,
            "adapters": [
                {"name": "sql", "uri": "hf://org/sql-lora"},
                {"name": "Support v2", "uri": "pvc://adapters/support"},
                {"name": "local", "uri": "/opt/adapters/local"},
            ],
        },
        "engine": {"args": {"max_lora_rank": 32}},
    },
    "chat-template": {"model": {"uri": _LLAMA, "chat_template": "chat.jinja"}},
    "gated-model": {
        "model": {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct", "revision": "0e9e39f"},
        "serving": {"hf_token": {"name": "hf-secret"}, "image_pull_secrets": ["registry"]},
    },
    "placement": {
        **_gpu(type="H100"),
        "serving": {
            "node_selector": {"pool": "gpu"},
            "tolerations": [{"key": "team", "operator": "Equal", "value": "ml"}, {}],
            "runtime_class": "nvidia",
            "service_account": "reader",
            "image_pull_secrets": ["registry"],
            "labels": {"kueue.x-k8s.io/queue-name": "bench"},
            "annotations": {"example.com/owner": "ml team"},
            "connect": "gateway",
            "request_timeout_s": 120,
        },
    },
    "storage-s3": {"model": {"uri": "s3://bucket/llama"}},
    "storage-pvc": {"model": {"uri": "pvc://models/llama/8b", "name": "llama"}},
    "storage-oci": {"model": {"uri": "oci://registry.example/llama:8b", "name": "llama"}},
    "vllm-huggingface": {
        "engine": {"backend": "vllm-huggingface", "args": {"max_model_len": 8192}}
    },
    "vllm-huggingface-cpu": {"engine": {"backend": "vllm-huggingface"}, **_gpu(0)},
    "tgi": {**_engine("tgi", args=_NEUTRAL), **_gpu(type="L40S")},
    "tgi-lora": {
        "model": {"uri": _LLAMA, "adapters": [{"name": "sql", "uri": "hf://org/sql-lora"}]},
        **_engine("tgi"),
    },
    "tensorrt-llm": {
        **_engine("tensorrt-llm", args={**_NEUTRAL, "tensor_parallel_size": 2}),
        **_gpu(2, type="H100"),
    },
    "tensorrt-llm-draft": _engine(
        "tensorrt-llm",
        args={"speculative_config": {**_DRAFT, "model": "hf://org/draft"}},
    ),
    "triton": {"model": {"uri": "s3://bucket/model-repository"}, "engine": _TRITON},
    "triton-knative": {
        "model": {"uri": "s3://bucket/model-repository"},
        "engine": _TRITON,
        "serving": {"mode": "Knative"},
    },
    "llm-inference-service": {
        "model": {"uri": _LLAMA, "chat_template": "chat.jinja"},
        "engine": {"args": {"max_model_len": 8192}},
        "serving": {"kind": "LLMInferenceService", "replicas": 3},
    },
    "llm-inference-service-0.16": {
        "serving": {"kind": "LLMInferenceService", "kserve_version": "0.16"}
    },
    "llm-inference-service-lora": {
        "model": {"uri": _LLAMA, "adapters": [{"name": "sql", "uri": "hf://org/sql-lora"}]},
        "engine": {"args": {"max_lora_rank": 32, "max_loras": 2}},
        "serving": {"kind": "LLMInferenceService"},
    },
    "disaggregated": {
        "engine": {
            "args": {
                "max_num_seqs": 64,
                "kv_transfer_config": {"kv_connector": "NixlConnector", "kv_role": "kv_both"},
            }
        },
        **_gpu(2, type="H100"),
        "serving": {
            "kind": "LLMInferenceService",
            "hf_token": {"name": "hf-secret", "key": "token"},
            "prefill": {"replicas": 2, "gpu": {"count": 1}, "args": {"max_num_seqs": 16}},
        },
    },
}


def profile_of(case: str, **changes: Any) -> Profile:
    """The case as a profile; changes: further keys of `serving`."""
    data = {"name": case, "model": {"uri": _LLAMA}, **CASES[case]}
    data["serving"] = {**data.get("serving", {}), **changes}
    return Profile.model_validate(data)

"""The validator refuses what the renderer refuses, and nothing that it renders."""

import random
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runners.checks.check import check
from runners.errors import UsageError
from runners.profiles.document import node_of
from runners.profiles.load import Loaded
from runners.profiles.model import Profile
from runners.render import render

MODEL = "hf://NousResearch/Meta-Llama-3.1-8B-Instruct"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "vllm": {"max_model_len": 4096, "max_num_seqs": 64, "max_num_batched_tokens": 4096},
    "tgi": {"max_total_tokens": 4096},
    "tensorrt-llm": {"max_seq_len": 4096},
}
VERSIONS = {"vllm": "0.32.0", "tgi": "3.3.7", "tensorrt-llm": "1.2.0"}


def drawn(rng: random.Random) -> dict[str, Any]:
    """A profile in which most things are usual and a few are not."""

    def one(*choices: Any, often: float = 0.12) -> Any:
        return rng.choice(choices) if rng.random() < often else choices[0]

    engine, nodes, gpus = one("vllm", "tgi", "tensorrt-llm", often=0.4), one(1, 2, 3), one(1, 2, 0)
    args = dict(ARGUMENTS[engine])
    if nodes * gpus > 1:
        args["tensor_parallel_size"] = nodes * gpus
    if one(False, True):
        args["kv_transfer_config"] = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
    if engine == "vllm" and one(False, True):
        draft = one("hf://a/draft", "a/draft", "pvc://claim/draft", often=0.8)
        args["speculative_config"] = {"method": "eagle3", "model": draft}
        args["speculative_config"]["num_speculative_tokens"] = 3
    return {
        "name": "case",
        "model": {
            "uri": one(MODEL, "pvc://c/m", "oci://r/m:1", MODEL[5:], "ftp://x"),
            "revision": one(None, "main"),
            "adapters": one([], [{"name": "sql", "uri": "hf://a/sql"}]),
        },
        "engine": {
            "name": engine,
            "version": VERSIONS[engine],
            "args": args,
            "backend": one(None, "vllm-huggingface", "triton", "tgi"),
            "image": one(None, "x/y:v1.2.3"),
        },
        "resources": {"gpu": {"count": gpus, "mig": one(None, "1g.10gb") if gpus else None}},
        "serving": {
            "kserve_version": one("0.20", "0.15", "0.16", "0.17", "0.18", often=0.4),
            "mode": one("Standard", "Knative"),
            "kind": one("InferenceService", "LLMInferenceService"),
            "nodes": nodes,
            "replicas": one(1, 2),
            "prefill": one(None, {"replicas": 1}),
            "autoscaling": {
                "autoscaler": one("none", "hpa", "keda", "kpa", often=0.4),
                "min_replicas": one(1, 0, 2),
                "max_replicas": one(1, 2, 4),
                "metric": one(None, "cpu", "rps", "prometheus"),
                "target": one(None, 70, 150, 0.5),
                "query": one(None, "up"),
                "prometheus": one(None, "http://prometheus:9090"),
            },
            "labels": one({}, {"a": "b c"}, {"kserve-bench/run": "x"}),
            "annotations": one({}, {"serving.kserve.io/deploymentMode": "x"}, {"a b": "c"}),
        },
    }


def test_renderer_and_rules_refuse_the_same_profiles() -> None:
    rng, refused, rendered = random.Random(5), 0, 0
    for _ in range(400):
        data = drawn(rng)
        try:
            profile = Profile.model_validate(data)
        except ValidationError:
            continue
        loaded = Loaded(profile, data, (), Path("case.yaml"), (), node_of(data, ""))
        errors = [finding for finding in check(loaded) if finding.severity == "error"]
        try:
            render(profile)
        except UsageError as error:
            refused += 1
            assert errors, f"no rule says what the renderer does: {error}\n{data}"
        else:
            rendered += 1
            ours = [f.line() for f in errors if f.rule.startswith(("kserve.", "engine."))]
            assert not ours, data
    assert refused > 50 and rendered > 50

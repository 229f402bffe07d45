"""Converted settings are accepted by a real vLLM's own argument and configuration layer."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.checkpoints import LLAMA, make_checkpoint
from runners.checks.ask import Question, ask
from runners.convert import convert
from runners.convert.settings import Target, settings_of
from runners.engines import vllm
from runners.engines.environment import CPU_VERSION

# name → (settings; a draft's path is the name of a stand-in, the model's stand-in)
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "batching": (
        {
            "max_batch_size": 64,
            "max_num_tokens": 4096,
            "max_seq_len": 4096,
            "dtype": "bfloat16",
            "enable_chunked_prefill": True,
            "stream_interval": 2,
            "guided_decoding_backend": "llguidance",
            "attn_backend": "TRTLLM",
            "disable_overlap_scheduler": True,
            "trust_remote_code": False,
        },
        "llama",
    ),
    "cache": (
        {
            "kv_cache_config": {
                "enable_block_reuse": True,
                "tokens_per_block": 32,
                "max_tokens": 65536,
                "dtype": "auto",
                "event_buffer_max_size": 1024,
            },
        },
        "llama",
    ),
    "offloading": ({"kv_cache_config": {"host_cache_size": 2**30}}, "llama"),
    "graphs": ({"cuda_graph_config": {"batch_sizes": [1, 2, 4], "enable_padding": True}}, "llama"),
    "largest graph": ({"cuda_graph_config": {"max_batch_size": 32}}, "llama"),
    "no graphs": ({"cuda_graph_config": None}, "llama"),
    "parallel": ({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, "llama"),
    "experts": ({"tensor_parallel_size": 2, "moe_expert_parallel_size": 2}, "mixtral"),
    "attention data-parallel": (
        {"tensor_parallel_size": 2, "moe_expert_parallel_size": 2, "enable_attention_dp": True},
        "mixtral",
    ),
    "Helix": (
        {"context_parallel_size": 2, "cp_config": {"cp_type": "HELIX"}},
        "deepseek-mtp",
    ),
    "cache in 8 bits": ({"kv_cache_config": {"dtype": "fp8"}}, "llama"),
    "lora": (
        {"lora_config": {"max_lora_rank": 48, "max_loras": 2, "max_cpu_loras": 4}},
        "llama",
    ),
    "adapters": ({"lora_config": {"lora_dir": ["/adapters/one"]}}, "llama"),
    "guided": ({"guided_decoding_backend": "xgrammar"}, "llama"),
    "decode side": ({"cache_transceiver_config": {"backend": "UCX"}}, "llama"),
    "mooncake": ({"cache_transceiver_config": {"backend": "MOONCAKE"}}, "llama"),
    "Eagle3": (
        {"decoding_type": "Eagle3", "max_draft_len": 3, "speculative_model": "eagle3-draft"},
        "llama",
    ),
    "Eagle, by its checkpoint": (
        {"decoding_type": "Eagle", "max_draft_len": 3, "pytorch_weights_path": "eagle3-draft"},
        "llama",
    ),
    "Eagle": (
        {"decoding_type": "Eagle", "max_draft_len": 3, "speculative_model_dir": "llama-draft"},
        "llama",
    ),
    "MTP": ({"decoding_type": "MTP", "num_nextn_predict_layers": 1}, "deepseek-mtp"),
    "NGram": (
        {"decoding_type": "NGram", "max_draft_len": 3, "max_matching_ngram_size": 4},
        "llama",
    ),
    "DraftTarget": (
        {"decoding_type": "Draft_Target", "max_draft_len": 3, "speculative_model": "llama-draft"},
        "llama",
    ),
    "PARD": (
        {"decoding_type": "PARD", "max_draft_len": 4, "speculative_model": "llama-draft"},
        "llama",
    ),
    "DFlash": (
        {"decoding_type": "DFlash", "max_draft_len": 4, "speculative_model": "dflash-draft"},
        "llama",
    ),
    "SA": ({"decoding_type": "SA", "max_draft_len": 4}, "llama"),
    "Medusa": (
        {
            "decoding_type": "Medusa",
            "num_medusa_heads": 3,
            "max_draft_len": 63,
            "speculative_model": "medusa",
        },
        "llama",
    ),
    "schedule": (
        {
            "decoding_type": "Eagle3",
            "max_draft_len": 4,
            "draft_len_schedule": {"4": 4, "8": 2, "32": 1},
            "speculative_model": "eagle3-draft",
        },
        "llama",
    ),
    "cut-off": (
        {
            "decoding_type": "Eagle3",
            "max_draft_len": 3,
            "max_concurrency": 16,
            "use_rejection_sampling": True,
            "speculative_model": "eagle3-draft",
        },
        "llama",
    ),
}

DFLASH = LLAMA | {
    "architectures": ["DFlashDraftModel"],
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "block_size": 8,
    "dflash_config": {"mask_token_id": 5, "target_layer_ids": [1, 2]},
}


def stand_in(name: str, folder: Path) -> str:
    """A checkpoint's directory; that of a DFlash draft is made here."""
    if name != "dflash-draft":
        return str(make_checkpoint(name, folder))
    directory = folder / name
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(DFLASH), encoding="utf-8")
    return str(directory)


def question(name: str, folder: Path) -> Question:
    """The form's arguments, with stand-ins for its models."""
    given, checkpoint = FORMS[name]
    settings = given
    if "decoding_type" in given:
        made = {
            key: stand_in(value, folder)
            for key, value in given.items()
            if key in ("speculative_model", "speculative_model_dir", "pytorch_weights_path")
        }
        settings = {"speculative_config": {**given, **made}, "max_seq_len": 2048}
    target = Target(version=CPU_VERSION, role="decode")
    args = convert(settings_of(settings, target)).args
    model = str(make_checkpoint(checkpoint, folder))
    return Question(name, ("--model", model, *vllm.flags(args)), {"VLLM_CPU_KVCACHE_SPACE": "1"})


@pytest.mark.engine
def test_every_form_is_accepted(engine_python: Path, tmp_path: Path) -> None:
    # An argument that is none is refused: the layer was really asked.
    wrong = question("NGram", tmp_path)
    asked = [question(name, tmp_path) for name in FORMS]
    asked.append(Question("wrong", (*wrong.args, "--speculative-model", "x"), wrong.env))
    refused = {a.id: a.error for a in ask(engine_python, asked) if a.verdict != "accepts"}
    assert "unrecognized arguments" in str(refused.pop("wrong"))
    # A package of its own, of which the conversion tells.
    assert "Arctic Inference" in str(refused.pop("SA"))
    assert not refused

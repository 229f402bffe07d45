"""The settings that are not in a section: one entry each."""

from typing import Any

from runners.convert.lora import ENABLE
from runners.convert.outcome import (
    Convert,
    Outcome,
    approximate,
    exact,
    none,
    nothing,
    number,
    switch,
    text,
)
from runners.convert.parallel import PARALLEL
from runners.convert.settings import Settings

_DRAFTS_ALONE = ("ngram", "sa", "medusa")  # vLLM cannot schedule ahead with these


def _guided(value: Any, settings: Settings) -> Outcome:
    names = {"xgrammar": "xgrammar", "llguidance": "guidance"}
    word = settings.text(value)
    if word not in names:
        raise settings.error(f"takes xgrammar or llguidance, not {word!r}")
    if "structured_outputs_config" in settings.target.release.flags:
        return exact({"structured_outputs_config": {"backend": names[word]}})
    return exact({"guided_decoding_backend": names[word]})


def _overlap(value: Any, settings: Settings) -> Outcome:
    """vLLM schedules ahead by default from 0.14 on, and could be asked to from 0.10 on."""
    target, off = settings.target, settings.truth(value)
    if off and target.at_least(0, 14):
        return approximate({"async_scheduling": False}, "vLLM's scheduler overlaps other work")
    if off or target.at_least(0, 14):
        return exact(note="vLLM does so anyway")
    kind = str(settings.get("speculative_config", "decoding_type")).lower()
    if kind in _DRAFTS_ALONE:
        return exact(note="vLLM cannot with this method of speculation")
    return approximate({"async_scheduling": True}, "vLLM's scheduler overlaps other work")


def _attention(value: Any, settings: Settings) -> Outcome:
    word, target = settings.text(value).upper(), settings.target
    if word not in ("TRTLLM", "FLASHINFER"):
        return nothing("vLLM has no such kernels; it chooses its own")
    if "attention_backend" not in target.release.flags:
        return nothing(f"vLLM {target.version} takes it as the variable VLLM_ATTENTION_BACKEND")
    args = {"attention_backend": "FLASHINFER"}
    if word == "FLASHINFER":
        return exact(args)
    return approximate(args, "FlashInfer carries TensorRT-LLM's kernels and more")


def _reasoning(value: Any, settings: Settings) -> Outcome:
    word, release = settings.text(value), settings.target.release
    known = release.reasoning_parsers
    name = word if word in known else word.replace("-", "_")
    if name not in known:
        return nothing(f"vLLM {release.version} has {', '.join(sorted(known))}")
    args: dict[str, Any] = {"reasoning_parser": name}
    if "enable_reasoning" in release.flags:
        args["enable_reasoning"] = True
    return exact(args)


def _load_format(value: Any, settings: Settings) -> Outcome:
    word = settings.text(value)
    if word in ("auto", "dummy"):
        return exact({"load_format": word})
    return nothing("vLLM's loaders bear other names")


def _experts_backend(value: Any, settings: Settings) -> Outcome:
    return nothing("the kernels bear other names; vLLM chooses, or set its own --moe-backend")


def _beams(value: Any, settings: Settings) -> Outcome:
    if settings.whole(value, 1) == 1:
        return exact(note="vLLM does so anyway")
    return nothing("not a server's setting: each request asks for beam search")


def _compile(value: Any, settings: Settings) -> Outcome:
    if value is None:
        return exact(note="each engine's own default")
    return nothing("vLLM compiles by default; its compilation_config has other keys")


_STATISTICS = "vLLM has its own statistics in its log and at /metrics"
ENGINE: dict[str, Convert] = {
    **PARALLEL,
    "max_batch_size": number("max_num_seqs"),
    "max_num_tokens": number("max_num_batched_tokens"),
    "max_seq_len": number("max_model_len"),
    "max_input_len": none("vLLM limits prompt and answer together (max_model_len)"),
    "max_beam_width": _beams,
    "dtype": text("dtype"),
    "enable_chunked_prefill": switch("enable_chunked_prefill"),
    "disable_overlap_scheduler": _overlap,
    "guided_decoding_backend": _guided,
    "attn_backend": _attention,
    "reasoning_parser": _reasoning,
    "stream_interval": number("stream_interval"),
    "enable_lora": ENABLE,
    "torch_compile_config": _compile,
    "tokenizer": text("tokenizer"),
    "tokenizer_mode": text("tokenizer_mode"),
    "skip_tokenizer_init": switch("skip_tokenizer_init"),
    "trust_remote_code": switch("trust_remote_code"),
    "revision": text("revision"),
    "tokenizer_revision": text("tokenizer_revision"),
    "load_format": _load_format,
    "model": lambda value, settings: exact(note="taken by --to profile"),
    "backend": none("vLLM has one backend", ("pytorch",)),
    "sampler_type": none("vLLM has one sampler", ("auto", "TorchSampler")),
    "decoding_config": none("deprecated there too; write speculative_config"),
    "sparse_attention_config": none("vLLM takes it from the model's own configuration"),
    "print_iter_log": none(_STATISTICS, (False,)),
    "enable_iter_perf_stats": none(_STATISTICS, (False,)),
    "enable_iter_req_stats": none(_STATISTICS, (False,)),
    "iter_stats_max_iterations": none(_STATISTICS),
    "request_stats_max_iterations": none(_STATISTICS),
    "return_perf_metrics": none(_STATISTICS, (False,)),
    "perf_metrics_max_requests": none(_STATISTICS),
    "enable_autotuner": none("vLLM tunes the kernels that it chooses by itself"),
    "allreduce_strategy": none("vLLM chooses; see disable_custom_all_reduce"),
    "quant_config": none("vLLM reads quantization from the checkpoint"),
    "force_dynamic_quantization": none("vLLM has quantization: fp8 for it", (False,)),
    "num_postprocess_workers": none("vLLM's front end is one process", (0,)),
    "postprocess_tokenizer_dir": none("vLLM's front end is one process"),
    "gather_generation_logits": none("requests ask for log probabilities", (False,)),
    "batched_logits_processor": none("vLLM's logits processors are another interface"),
    "batch_wait_timeout_ms": none("vLLM does not wait for a fuller batch", (0,)),
    "batch_wait_timeout_iters": none("vLLM does not wait for a fuller batch", (0,)),
    "batch_wait_max_tokens_ratio": none("vLLM does not wait for a fuller batch", (0,)),
    "enable_min_latency": none("vLLM chooses by the batch", (False,)),
    "enable_layerwise_nvtx_marker": none("see enable_layerwise_nvtx_tracing", (False,)),
    "garbage_collection_gen0_threshold": none("vLLM freezes its heap instead"),
    "disable_flashinfer_sampling": none("see the variable VLLM_USE_FLASHINFER_SAMPLER"),
    "checkpoint_format": none("vLLM reads Hugging Face checkpoints", ("HF",)),
    "orchestrator_type": none("see distributed_executor_backend"),
    "mm_encoder_only": none("vLLM has encoder disaggregation of another form", (False,)),
    "kv_connector_config": none("vLLM's connectors are named in kv_transfer_config"),
}
SCHEDULER: dict[str, Convert] = {
    "capacity_scheduler_policy": none("vLLM admits what fits and preempts when it no longer does"),
    "context_chunking_policy": none("vLLM serves first come, first served"),
    "dynamic_batch_config": none("vLLM forms a batch anew in each step"),
}
PEFT_CACHE_NOTE = "vLLM counts adapters (max_loras, max_cpu_loras), not memory"
EXPERTS: dict[str, Convert] = {
    "backend": _experts_backend,
    "max_num_tokens": none("vLLM splits by its own limits"),
    "load_balancer": none("see enable_eplb and eplb_config"),
}
# trtllm-serve's flags, which some write into the file.
ALIASES = {
    "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "cp_size": "context_parallel_size",
    "ep_size": "moe_expert_parallel_size",
    "cluster_size": "moe_cluster_parallel_size",
    "kv_cache_free_gpu_memory_fraction": "kv_cache_config.free_gpu_memory_fraction",
    "free_gpu_memory_fraction": "kv_cache_config.free_gpu_memory_fraction",
}

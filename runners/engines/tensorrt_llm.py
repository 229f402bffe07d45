"""TensorRT-LLM: what trtllm-serve makes of arguments that bear vLLM's names.

Its settings go into one YAML file (LlmArgs, tensorrt_llm/llmapi/llm_args.py); the few that
exist on the command line only stay there (tensorrt_llm/commands/serve.py). In Triton the
model repository holds all of them.
"""

from collections.abc import Mapping
from typing import Any

from runners.engines.counterpart import (
    NOTHING,
    Counterpart,
    Outcome,
    Said,
    Unsaid,
    choice,
    flag,
    ignored,
    number,
    setting,
    unless,
)

OWNED = {
    "model": "the model is model.uri",
    "host": "the toolkit chooses where it listens",
    "port": "the toolkit chooses the port",
    "served_model_name": "the name is model.name",
    "config": "the toolkit writes this file; put its keys into engine.args",
    "extra_llm_api_options": "the toolkit writes this file; put its keys into engine.args",
    "revision": "the revision is model.revision",
}
# Keys of LlmArgs, as they stand in the YAML file.
_KEYS = """
    tokenizer tokenizer_mode trust_remote_code dtype tensor_parallel_size pipeline_parallel_size
    context_parallel_size gpus_per_node moe_expert_parallel_size moe_tensor_parallel_size
    moe_cluster_parallel_size enable_attention_dp cp_config load_format enable_lora lora_config
    kv_cache_config enable_chunked_prefill guided_decoding_backend batched_logits_processor
    iter_stats_max_iterations request_stats_max_iterations peft_cache_config scheduler_config
    cache_transceiver_config sparse_attention_config speculative_config max_batch_size max_input_len
    max_seq_len max_beam_width max_num_tokens gather_generation_logits num_postprocess_workers
    postprocess_tokenizer_dir reasoning_parser return_perf_metrics orchestrator_type
    cuda_graph_config attention_dp_config disable_overlap_scheduler moe_config attn_backend
    sampler_type enable_iter_perf_stats enable_iter_req_stats print_iter_log
    batch_wait_timeout_ms batch_wait_timeout_iters batch_wait_max_tokens_ratio torch_compile_config
    enable_autotuner enable_layerwise_nvtx_marker enable_min_latency stream_interval
    force_dynamic_quantization allreduce_strategy checkpoint_format mm_encoder_only
    perf_metrics_max_requests garbage_collection_gen0_threshold disable_flashinfer_sampling
"""
_FLAGS = """
    tool_parser log_level custom_tokenizer custom_module_dirs media_io_kwargs
    otlp_traces_endpoint metadata_server_config_file server_role disagg_cluster_uri
"""
NATIVE, NATIVE_FLAGS = frozenset(_KEYS.split()), frozenset(_FLAGS.split())
# Prometheus text at /prometheus/metrics needs it; `return_perf_metrics: false` turns it off.
ALWAYS: dict[str, Any] = {"return_perf_metrics": True}

_KV_DTYPES = {"auto": "auto", "fp8": "fp8", "fp8_e4m3": "fp8", "nvfp4": "nvfp4"}
_LEFT = (
    "TensorRT-LLM takes this share of the memory that is left after the weights, vLLM of all of "
    "it: its cache is smaller by that share of the weights"
)
_CHECKPOINT = "TensorRT-LLM reads quantization from the checkpoint, this flag sets nothing"
_PATH = "speculative_model_dir"


def _speculation(value: Any, args: Mapping[str, Any]) -> Outcome:
    """speculative_config of LlmArgs; the names chosen are read by every release since 1.0."""
    config = dict(value) if isinstance(value, Mapping) else {}
    method = str(config.pop("method", "draft_model")).strip("[]")
    tokens, model = config.pop("num_speculative_tokens", None), config.pop("model", None)
    if not isinstance(tokens, int):
        return Unsaid("num_speculative_tokens is missing", "give it")
    note = ""
    if method in ("ngram", "ngram_gpu"):
        said: dict[str, Any] = {"decoding_type": "NGram", "max_draft_len": tokens}
        if (longest := config.pop("prompt_lookup_max", None)) is not None:
            said["max_matching_ngram_size"] = longest
        if config.pop("prompt_lookup_min", 1) != 1:
            note = "TensorRT-LLM tries n-grams of every length down to 1, prompt_lookup_min is left"
    elif method == "eagle3":
        said = {"decoding_type": "Eagle", "max_draft_len": tokens, _PATH: model}
    elif method == "mtp":
        said = {"decoding_type": "MTP", "num_nextn_predict_layers": tokens}
    elif method == "draft_model":
        said = {"decoding_type": "DraftTarget", "max_draft_len": tokens, _PATH: model}
    else:
        return Unsaid(
            f"TensorRT-LLM has no method {method}",
            "use eagle3, mtp, ngram or draft_model, or put its own speculative_config under "
            "engine.specific.tensorrt-llm.args",
        )
    if _PATH in said and not model:
        return Unsaid(f"method {method} needs a model", "give speculative_config.model")
    if config:
        return Unsaid(f"TensorRT-LLM has no counterpart of {', '.join(sorted(config))}")
    return Said(config={"speculative_config": said}, note=note)


def _own_speculation(value: Any, args: Mapping[str, Any]) -> Outcome:
    """In TensorRT-LLM's own words it passes as it is."""
    if isinstance(value, Mapping) and "decoding_type" in value:
        return Said(config={"speculative_config": value})
    return _speculation(value, args)


def _guided(value: Any, args: Mapping[str, Any]) -> Outcome:
    words = {"xgrammar": "xgrammar", "guidance": "llguidance", "auto": "xgrammar"}
    config = dict(value) if isinstance(value, Mapping) else {}
    backend = config.pop("backend", None)
    if backend not in words or config:
        return Unsaid(
            "TensorRT-LLM decodes by xgrammar or llguidance, without further settings",
            "leave only backend: xgrammar (or guidance)",
        )
    note = "auto is read as xgrammar, which TensorRT-LLM must be told" if backend == "auto" else ""
    return Said(config={"guided_decoding_backend": words[backend]}, note=note)


def _experts(value: Any, args: Mapping[str, Any]) -> Outcome:
    """vLLM spreads experts over all ranks."""
    size = number(args.get("tensor_parallel_size", 1))
    if size is None:
        return Unsaid("tensor_parallel_size is no number", "mend it")
    return Said(config={"moe_expert_parallel_size": int(size)}) if value else NOTHING


def _eager(value: Any, args: Mapping[str, Any]) -> Outcome:
    return Said(config={"cuda_graph_config": None}) if value else NOTHING


def _blocks(value: Any, args: Mapping[str, Any]) -> Outcome:
    blocks, size = number(value), number(args.get("block_size", 16))
    if blocks is None or size is None:
        return Unsaid("it and block_size must be numbers", "mend them")
    tokens = int(blocks * size)
    return Said(config={"kv_cache_config": {"max_tokens": tokens}}, note="an upper bound only")


def _offloading(value: Any, args: Mapping[str, Any]) -> Outcome:
    if (size := number(value)) is None:
        return Unsaid("it must be a number of GiB", "mend it")
    ranks = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        ranks *= int(number(args.get(name)) or 1)
    return Said(
        config={"kv_cache_config": {"host_cache_size": int(size * 2**30 / ranks)}},
        note="bytes of each rank there, GiB of all ranks here",
    )


def _asynchronous(value: Any, args: Mapping[str, Any]) -> Outcome:
    return NOTHING if value else Said(config={"disable_overlap_scheduler": True})


def _lora(value: Any, args: Mapping[str, Any]) -> Outcome:
    return Said(config={"enable_lora": True}) if value else NOTHING


def _reasoning(value: Any, args: Mapping[str, Any]) -> Outcome:
    """The two names that are known on both sides; every other passes as it is."""
    names = {"deepseek_r1": "deepseek-r1", "deepseek-r1": "deepseek-r1", "qwen3": "qwen3"}
    if not isinstance(value, str):
        return Unsaid("it must be a name", "mend it")
    note = "" if value in names else "passed on as it is; its parsers bear names of their own"
    return Said(config={"reasoning_parser": names.get(value, value)}, note=note)


ARGUMENTS: dict[str, Counterpart] = {
    "max_model_len": setting("max_seq_len"),
    "max_num_seqs": setting("max_batch_size"),
    "max_num_batched_tokens": setting("max_num_tokens"),
    "tensor_parallel_size": setting("tensor_parallel_size"),
    "pipeline_parallel_size": setting("pipeline_parallel_size"),
    "data_parallel_size": unless(
        (1,),
        "TensorRT-LLM has attention data parallelism only",
        "use serving.replicas, or its own enable_attention_dp",
    ),
    "enable_expert_parallel": _experts,
    "dtype": setting("dtype"),
    "gpu_memory_utilization": setting("kv_cache_config", "free_gpu_memory_fraction", note=_LEFT),
    "kv_cache_dtype": choice(
        _KV_DTYPES, setting("kv_cache_config", "dtype"), "TensorRT-LLM has no such cache"
    ),
    "enable_prefix_caching": setting("kv_cache_config", "enable_block_reuse"),
    "block_size": setting("kv_cache_config", "tokens_per_block"),
    "num_gpu_blocks_override": _blocks,
    "kv_offloading_size": _offloading,
    "enable_chunked_prefill": setting("enable_chunked_prefill"),
    "enforce_eager": _eager,
    "cudagraph_capture_sizes": setting("cuda_graph_config", "batch_sizes"),
    "max_cudagraph_capture_size": setting("cuda_graph_config", "max_batch_size"),
    "async_scheduling": _asynchronous,
    "stream_interval": setting("stream_interval"),
    "attention_backend": choice(
        {"FLASHINFER": "FLASHINFER"},
        setting("attn_backend"),
        "TensorRT-LLM has its own attention kernels",
        "use FLASHINFER, or its own attn_backend",
    ),
    "quantization": unless(
        ("modelopt", "modelopt_fp4", "modelopt_mixed", "fp8", "compressed-tensors"),
        "TensorRT-LLM cannot read such a checkpoint",
        "use a ModelOpt or FP8 checkpoint",
        note=_CHECKPOINT,
    ),
    "speculative_config": _own_speculation,
    "structured_outputs_config": _guided,
    "enable_lora": _lora,
    "max_lora_rank": setting("lora_config", "max_lora_rank"),
    "max_loras": setting("lora_config", "max_loras"),
    "max_cpu_loras": setting("lora_config", "max_cpu_loras"),
    "lora_modules": unless(
        (), "trtllm-serve takes an adapter's path with each request, not at its start"
    ),
    "reasoning_parser": _reasoning,
    "tool_call_parser": unless(
        (),
        "TensorRT-LLM's parsers bear other names",
        "give engine.specific.tensorrt-llm.args.tool_parser",
    ),
    "enable_auto_tool_choice": ignored("tool_parser turns tools on"),
    "trust_remote_code": setting("trust_remote_code"),
    "load_format": choice(
        {"auto": "auto", "dummy": "dummy"},
        setting("load_format"),
        "TensorRT-LLM reads checkpoints in one way",
    ),
    "tokenizer": setting("tokenizer"),
    "chat_template": flag("--chat_template"),
    "kv_transfer_config": unless(
        (), "TensorRT-LLM hands its cache over by cache_transceiver_config"
    ),
    "seed": unless((0,), "TensorRT-LLM takes a seed with each request"),
}

# Of tritonserver itself; what the model does is written in its model repository.
_TRITON_FLAGS = """
    log_verbose log_info log_warning log_error log_format exit_timeout_secs exit_on_error
    http_thread_count buffer_manager_thread_count model_load_thread_count model_load_retry_count
    pinned_memory_pool_byte_size cuda_memory_pool_byte_size rate_limit response_cache_byte_size
    backend_config metrics_interval_ms
"""
TRITON_NATIVE = frozenset(_TRITON_FLAGS.split())
TRITON_OWNED = {
    "model_repository": "the repository is model.uri",
    "http_port": "the toolkit chooses the ports",
    "grpc_port": "the toolkit chooses the ports",
    "metrics_port": "the toolkit chooses the ports",
}
TRITON_REFUSAL = Unsaid(
    "Triton reads it from the model repository",
    "set it in the config.pbtxt or model.yaml at model.uri, and set engine.args to {}",
)

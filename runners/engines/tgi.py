"""TGI's launcher: its own arguments, and what it makes of those that bear vLLM's names.

Sources: launcher/src/main.rs and the launcher page of its documentation, version 3.3.
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
    unless,
)

# Arguments that decide where and as what it answers.
OWNED = {
    "model_id": "the model is model.uri",
    "port": "the toolkit chooses the port",
    "hostname": "the toolkit chooses where it listens",
    "api_key": "the toolkit's own engine needs no key",
    "revision": "the revision is model.revision",
}
_FLAGS = """
    validation_workers sharded num_shard quantize speculate dtype kv_cache_dtype trust_remote_code
    max_concurrent_requests max_best_of max_stop_sequences max_top_n_tokens max_input_tokens
    max_input_length max_total_tokens waiting_served_ratio max_batch_prefill_tokens
    max_batch_total_tokens max_waiting_tokens max_batch_size cuda_graphs shard_uds_path master_addr
    master_port huggingface_hub_cache weights_cache_override disable_custom_kernels
    cuda_memory_fraction rope_scaling rope_factor json_output otlp_endpoint otlp_service_name
    cors_allow_origin watermark_gamma watermark_delta tokenizer_config_path
    disable_grammar_support env max_client_batch_size lora_adapters usage_stats payload_limit
    enable_prefill_logprobs graceful_termination_timeout
"""
NATIVE = frozenset(_FLAGS.split())
# Without it, request 129 is answered with 429 where vLLM would let it wait.
ALWAYS = {"--max-concurrent-requests": ("4096",)}

_QUANTIZE = {
    "awq": "awq",
    "auto_awq": "awq",
    "awq_marlin": "awq",
    "gptq": "gptq",
    "auto_gptq": "gptq",
    "gptq_marlin": "gptq",
    "compressed-tensors": "compressed-tensors",
    "fp8": "fp8",
}
_DTYPES = {
    "auto": None,
    "half": "float16",
    "float16": "float16",
    "bfloat16": "bfloat16",
}
_KV_DTYPES = {
    "auto": None,
    "fp8": "fp8_e4m3fn",
    "fp8_e4m3": "fp8_e4m3fn",
    "fp8_e4m3fn": "fp8_e4m3fn",
    "fp8_e5m2": "fp8_e5m2",
}


def _speculation(value: Any, args: Mapping[str, Any]) -> Outcome:
    """--speculate N: n-grams of the prompt, or the heads of a Medusa checkpoint."""
    config = value if isinstance(value, Mapping) else {}
    method = str(config.get("method", "draft_model")).strip("[]")
    tokens = config.get("num_speculative_tokens")
    if method not in ("ngram", "ngram_gpu"):
        return Unsaid(
            f"TGI speculates with n-grams or with heads inside the checkpoint, not with {method}",
            "use method ngram, or remove it",
        )
    if not isinstance(tokens, int):
        return Unsaid("num_speculative_tokens is missing", "give it")
    bounds = sorted({"prompt_lookup_min", "prompt_lookup_max"} & set(config))
    note = f"TGI chooses the length of n-grams itself, {' and '.join(bounds)} set nothing"
    return Said(flags={"--speculate": (str(tokens),)}, note=note if bounds else "")


def _prefix_caching(value: Any, args: Mapping[str, Any]) -> Outcome:
    return Said(env={"PREFIX_CACHING": "1" if value else "0"})


def _eager(value: Any, args: Mapping[str, Any]) -> Outcome:
    return Said(flags={"--cuda-graphs": ("0",)}) if value else NOTHING


def _adapters(value: Any, args: Mapping[str, Any]) -> Outcome:
    """`name=path`, comma between them; a module may also be a mapping with name and path."""
    modules = value if isinstance(value, list) else [value]
    if any(isinstance(each, Mapping) and not {"name", "path"} <= set(each) for each in modules):
        return Unsaid("an adapter needs a name and a path", "give both")
    pairs = [
        f"{each['name']}={each['path']}" if isinstance(each, Mapping) else str(each)
        for each in modules
    ]
    if any("," in pair for pair in pairs):
        return Unsaid("TGI separates adapters by commas", "use names and paths without a comma")
    return Said(flags={"--lora-adapters": (",".join(pairs),)})


def _trust(value: Any, args: Mapping[str, Any]) -> Outcome:
    return Said(flags={"--trust-remote-code": ()}) if value else NOTHING


_ONE_MACHINE = "TGI knows only tensor parallelism on one node"
_GRAMMAR = "TGI compiles grammars with outlines and has no choice of backend"
ARGUMENTS: dict[str, Counterpart] = {
    "max_model_len": flag("--max-total-tokens"),
    "max_num_seqs": flag("--max-batch-size"),
    "max_num_batched_tokens": flag(
        "--max-batch-prefill-tokens", "TGI counts the tokens of prompts only"
    ),
    "gpu_memory_utilization": flag(
        "--cuda-memory-fraction", "TGI reserves what is left of it for the cache after a warm-up"
    ),
    "tensor_parallel_size": flag("--num-shard"),
    "pipeline_parallel_size": unless((1,), _ONE_MACHINE),
    "data_parallel_size": unless((1,), _ONE_MACHINE, "use serving.replicas"),
    "enable_expert_parallel": unless((False,), _ONE_MACHINE),
    "dtype": choice(_DTYPES, flag("--dtype"), "TGI computes in float16 or bfloat16"),
    "quantization": choice(_QUANTIZE, flag("--quantize"), "TGI knows no such quantization"),
    "kv_cache_dtype": choice(
        _KV_DTYPES, flag("--kv-cache-dtype"), "TGI keeps its cache as computed or in fp8"
    ),
    "speculative_config": _speculation,
    "enable_prefix_caching": _prefix_caching,
    "enable_chunked_prefill": unless((True,), "TGI always chunks prompts itself"),
    "enforce_eager": _eager,
    "cudagraph_capture_sizes": flag("--cuda-graphs"),
    "trust_remote_code": _trust,
    "enable_lora": ignored("TGI serves the adapters that model.adapters names"),
    "lora_modules": _adapters,
    "max_loras": ignored("TGI holds every adapter it was started with"),
    "max_cpu_loras": ignored("TGI holds every adapter it was started with"),
    "max_lora_rank": ignored("TGI takes adapters of any rank"),
    "enable_auto_tool_choice": ignored("TGI has tools built in"),
    "tool_call_parser": ignored("TGI forces calls by a grammar and needs no parser"),
    "reasoning_parser": unless((), "TGI does not tell reasoning from answers"),
    "structured_outputs_config": lambda value, args: (
        NOTHING
        if isinstance(value, Mapping) and value.get("backend") in ("auto", "outlines")
        else Unsaid(_GRAMMAR, "use backend outlines, or remove it")
    ),
    "chat_template": unless((), "TGI takes the template of the tokenizer"),
    "async_scheduling": ignored("TGI has one scheduler"),
    "block_size": ignored("TGI chooses it with its attention kernels"),
    "kv_transfer_config": unless((), "TGI does not disaggregate"),
    "seed": unless((0,), "TGI takes a seed with each request"),
}

"""TensorRT-LLM: combinations that it does not do, or that its makers have not tested."""

from collections.abc import Iterator, Mapping
from typing import Any

from runners.checks.amounts import whole
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.length import need
from runners.checks.tables import engine_options
from runners.checks.unsupported import wanted

TRT = ("tensorrt-llm",)
SPEC = "engine.args.speculative_config"
_MATRIX = "TensorRT-LLM's feature combination matrix"
_DRAFT_KEYS = (
    "max_draft_len",
    "num_nextn_predict_layers",
    "num_medusa_heads",
    "num_speculative_tokens",
)


def features(case: Case) -> set[str]:
    """The features that the profile asks for; speculation of any kind also as `speculation`."""
    found = {each.feature for each in wanted(case.profile)}
    if any(name.startswith("speculation.") for name in found):
        found.add("speculation")
    return found


def mapping(case: Case, name: str) -> Mapping[str, Any]:
    """An argument that is a mapping; empty for anything else."""
    value = case.args.get(name)
    return value if isinstance(value, Mapping) else {}


def draft_tokens(case: Case) -> int | None:
    """Draft tokens of a step, in TensorRT-LLM's or vLLM's words."""
    config = mapping(case, "speculative_config")
    sizes = (whole(config.get(name)) for name in _DRAFT_KEYS)
    return next((size for size in sizes if size is not None), None)


@rule(
    "tensorrt-llm.decoding-type",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="speculative_config is a discriminated union over decoding_type in llm_args.py; "
    "Medusa and Lookahead are of the older TensorRT-engine backend.",
    engines=TRT,
)
def decoding_type(case: Case) -> Iterator[Hit]:
    """decoding_type must be one that the PyTorch backend has."""
    named = mapping(case, "speculative_config").get("decoding_type")
    if not isinstance(named, str):
        return
    known = engine_options("tensorrt-llm").decoding_types
    if known.get(named):
        return
    names = ", ".join(name for name, now in known.items() if now)
    yield Hit(
        f"{SPEC}.decoding_type",
        f"{named} is of the older TensorRT-engine backend only."
        if named in known
        else f"{named} is no decoding type that is known here.",
        f"Use one of {names}.",
        severity=None if named in known else "warning",
    )


@rule(
    "tensorrt-llm.speculation-with",
    severity="error",
    fails="at start-up",
    basis="documents",
    evidence=f"{_MATRIX}: speculation goes neither with Helix context parallelism nor with "
    "logits post-processors nor with the C++ sampler.",
    engines=TRT,
)
def speculation_with(case: Case) -> Iterator[Hit]:
    """Speculation excludes Helix, logits post-processors and the C++ sampler."""
    if "speculative_config" not in case.args:
        return
    helix = str(mapping(case, "cp_config").get("cp_type", "")).lower() == "helix"
    others = {
        "cp_config": helix and "Helix context parallelism",
        "batched_logits_processor": case.args.get("batched_logits_processor")
        and "a logits post-processor",
        "sampler_type": str(case.args.get("sampler_type", "")).lower() == "trtllmsampler"
        and "the C++ sampler",
    }
    for name, words in others.items():
        if words:
            yield Hit(
                f"engine.args.{name}",
                f"speculative decoding does not go with {words}.",
                f"Remove {name}, or speculative_config.",
                (Change(f"engine.args.{name}", REMOVE, "speculation stays"),),
            )


@rule(
    "tensorrt-llm.disaggregation-with",
    severity="error",
    fails="at start-up",
    basis="documents",
    evidence=f"{_MATRIX}: disaggregated serving does not go with logits post-processors.",
    engines=TRT,
)
def disaggregation_with(case: Case) -> Iterator[Hit]:
    """Disaggregated serving excludes logits post-processors."""
    if case.args.get("batched_logits_processor") and "cache_transceiver_config" in case.args:
        yield Hit(
            "engine.args.batched_logits_processor",
            "disaggregated serving does not go with a logits post-processor.",
            "Remove batched_logits_processor.",
            (Change("engine.args.batched_logits_processor", REMOVE),),
        )


_UNTESTED = {
    "expert_parallel": "expert parallelism",
    "disaggregation": "disaggregated serving",
    "speculation": "speculative decoding",
    "structured_output": "structured output",
}


@rule(
    "tensorrt-llm.untested",
    severity="warning",
    fails="after loading",
    basis="documents",
    evidence=f"{_MATRIX} marks LoRA with expert or attention data parallelism, disaggregation, "
    "speculation and guided decoding as untested, and chunked prefill with pipeline stages.",
    engines=TRT,
)
def untested(case: Case) -> Iterator[Hit]:
    """Some combinations have not been tested by TensorRT-LLM's makers."""
    asked = features(case)
    if "lora" in asked:
        others = [words for name, words in _UNTESTED.items() if name in asked]
        if case.args.get("enable_attention_dp") is True:
            others.append("attention data parallelism")
        if others:
            key = "model.adapters" if case.profile.model.adapters else "engine.args.enable_lora"
            yield Hit(
                key,
                f"LoRA with {' and '.join(others)} is untested.",
                "Compare answers with those of one feature alone before you trust figures.",
            )
    if case.args.get("enable_chunked_prefill") is True and "pipeline_parallel" in asked:
        yield Hit(
            "engine.args.enable_chunked_prefill",
            "chunked prefill over pipeline stages is untested.",
            "Remove one of them, or compare answers first.",
        )


@rule(
    "tensorrt-llm.rejection-sampling",
    severity="error",
    fails="at start-up",
    basis="documents",
    evidence="docs/source/features/speculative-decoding.md: rejection sampling is a prototype "
    "and excludes NGram, SA and context parallelism.",
    engines=TRT,
)
def rejection_sampling(case: Case) -> Iterator[Hit]:
    """Rejection sampling is a prototype, and not for NGram and SA."""
    config = mapping(case, "speculative_config")
    if config.get("use_rejection_sampling") is not True:
        return
    kind = str(config.get("decoding_type"))
    excluded = kind in ("NGram", "SA") or case.args.get("context_parallel_size") not in (None, 1)
    yield Hit(
        f"{SPEC}.use_rejection_sampling",
        f"it does not go with {kind if kind in ('NGram', 'SA') else 'context parallelism'}."
        if excluded
        else "it is a prototype.",
        "Remove use_rejection_sampling.",
        (Change(f"{SPEC}.use_rejection_sampling", REMOVE, "greedy drafts"),),
        severity=None if excluded else "warning",
    )


@rule(
    "tensorrt-llm.draft-schedule",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="llm_args.py: draft_len_schedule and max_concurrency are mutually exclusive.",
    engines=TRT,
)
def draft_schedule(case: Case) -> Iterator[Hit]:
    """draft_len_schedule and max_concurrency exclude each other."""
    config = mapping(case, "speculative_config")
    if config.get("draft_len_schedule") and config.get("max_concurrency"):
        yield Hit(
            f"{SPEC}.max_concurrency",
            "draft_len_schedule says for each batch size what max_concurrency says for all.",
            "Remove max_concurrency.",
            (Change(f"{SPEC}.max_concurrency", REMOVE, "the schedule stays"),),
        )


@rule(
    "tensorrt-llm.drafts-in-batch",
    severity="warning",
    fails="after loading",
    basis="documents",
    evidence="ai-dynamo's configurations: max_num_tokens must be at least the largest CUDA graph "
    "batch × (draft tokens + 1).",
    engines=TRT,
)
def drafts_in_batch(case: Case) -> Iterator[Hit]:
    """A step must hold the drafts of the largest batch that a CUDA graph is made for."""
    drafts = draft_tokens(case)
    if drafts is None:
        return
    tokens = whole(case.args.get("max_num_tokens", case.args.get("max_num_batched_tokens")))
    graphs = mapping(case, "cuda_graph_config")
    sizes = graphs.get("batch_sizes", case.args.get("cudagraph_capture_sizes"))
    listed = [s for s in map(whole, sizes) if s is not None] if isinstance(sizes, list) else []
    largest = max(listed, default=whole(graphs.get("max_batch_size")) or 0)
    if tokens is not None and largest and tokens < largest * (drafts + 1):
        name = "max_num_tokens" if "max_num_tokens" in case.args else "max_num_batched_tokens"
        wanted_tokens = largest * (drafts + 1)
        yield Hit(
            f"engine.args.{name}",
            f"{tokens} tokens per step are fewer than {largest} sequences × ({drafts} drafts + "
            f"1) = {wanted_tokens}.",
            f"{name}: {wanted_tokens}",
            (Change(f"engine.args.{name}", wanted_tokens, "room for every draft"),),
        )


@rule(
    "tensorrt-llm.prompt-above-step",
    severity="error",
    fails="on each request",
    basis="documents",
    evidence="Chunked prefill is off by default in TensorRT-LLM, so a prompt must fit into one "
    "step of max_num_tokens (8192).",
    engines=TRT,
)
def prompt_above_step(case: Case) -> Iterator[Hit]:
    """Without chunked prefill, off by default, a prompt must fit into one step."""
    if case.args.get("enable_chunked_prefill") is True:
        return
    name = "max_num_tokens" if "max_num_tokens" in case.args else "max_num_batched_tokens"
    tokens = whole(case.args.get(name, 8192))
    asked = need(case)
    if asked is None or asked.guessed or tokens is None or asked.prompt <= tokens:
        return
    yield Hit(
        f"engine.args.{name}",
        f"prompts of {asked.prompt} tokens do not fit into a step of {tokens}, and chunked "
        "prefill is off.",
        "enable_chunked_prefill: true",
        (Change("engine.args.enable_chunked_prefill", True, "as vLLM does by default"),),
    )


@rule(
    "tensorrt-llm.section-key",
    severity="warning",
    fails="at start-up",
    basis="source",
    evidence="LlmArgs is a strict model: an unknown key of the YAML file is refused.",
    engines=TRT,
)
def section_key(case: Case) -> Iterator[Hit]:
    """Keys below kv_cache_config and its like must be ones that TensorRT-LLM knows."""
    for name, known in engine_options("tensorrt-llm").sections.items():
        for key in mapping(case, name):
            if key not in known:
                yield Hit(
                    f"engine.args.{name}.{key}",
                    f"{key} is no key of {name} that is known here; an unknown one is refused.",
                    f"Known are {', '.join(known)}.",
                )
    if "decoding_type" in (config := mapping(case, "speculative_config")):
        keys = engine_options("tensorrt-llm").speculative_keys
        for key in config:
            if key not in keys:
                yield Hit(
                    f"{SPEC}.{key}",
                    f"{key} is no key of speculative_config that is known here.",
                    "Check it against the release's llm_args.py.",
                )


@rule(
    "tensorrt-llm.server-role",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="tensorrt_llm/commands/serve.py asserts a server_role beside "
    "metadata_server_config_file or a disaggregated cluster.",
    engines=TRT,
)
def server_role(case: Case) -> Iterator[Hit]:
    """A metadata server or a disaggregated cluster needs a server_role."""
    for name in ("metadata_server_config_file", "disagg_cluster_uri"):
        if case.args.get(name) and not case.args.get("server_role"):
            yield Hit(
                f"engine.args.{name}",
                f"{name} is given without a server_role.",
                "server_role: CONTEXT (or GENERATION)",
            )


@rule(
    "tensorrt-llm.metrics",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="/prometheus/metrics exists only with return_perf_metrics, which the toolkit sets.",
    engines=TRT,
)
def metrics(case: Case) -> Iterator[Hit]:
    """Without return_perf_metrics there are no server metrics."""
    if case.args.get("return_perf_metrics") is False:
        yield Hit(
            "engine.args.return_perf_metrics",
            "without it the server has no metrics: cache, queue and acceptance are not measured.",
            "Remove the line: the toolkit turns it on.",
            (Change("engine.args.return_perf_metrics", REMOVE, "as the toolkit sets it"),),
        )


@rule(
    "tensorrt-llm.gpu",
    severity="warning",
    fails="at start-up",
    basis="documents",
    evidence="TensorRT-LLM's support matrix begins with SM 8.0 (from general documentation).",
    engines=TRT,
)
def old_gpu(case: Case) -> Iterator[Hit]:
    """TensorRT-LLM supports GPUs from SM 8.0."""
    gpu = case.gpu
    if gpu is not None and gpu.sm is not None and gpu.sm < 8:
        yield Hit(
            "resources.gpu.type",
            f"{case.profile.resources.gpu.type} has SM {gpu.sm:g}, below TensorRT-LLM's 8.0.",
            "resources.gpu.type: A10 or newer, or engine.name: vllm",
        )

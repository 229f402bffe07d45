"""`vllm_features:`, the older spelling of engine arguments, put into those of a version.

Each name that vLLM renamed or removed is one entry of RENAMED: the last version that took
it as it is, and what it became. Every other name passes through unchanged.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from runners.checks.finding import Finding
from runners.profiles.document import Node, node_of

Version = tuple[int, ...]


@dataclass(frozen=True)
class Moved:
    """It became other engine arguments, each with its path below `engine.args`."""

    arguments: tuple[tuple[tuple[str, ...], Any], ...]


@dataclass(frozen=True)
class Dropped:
    """It did nothing, or does nothing any more; leaving it out changes no measurement."""

    why: str


@dataclass(frozen=True)
class Refused:
    """It asked for something that the engine no longer does."""

    fix: str


Outcome = Moved | Dropped | Refused


@dataclass(frozen=True)
class Placed:
    """A value on its way: the key it was written as, its path below `engine.args`."""

    written: str
    path: tuple[str, ...]
    node: Node


@dataclass(frozen=True)
class Renamed:
    """last: the last version that took the name. now: what it became, for the documentation."""

    last: Version
    now: str
    become: Callable[[Any, Version], Outcome]


def version_of(text: str) -> Version:
    """`0.11.0rc1` as (0, 11, 0): what can be compared."""
    parts = re.match(r"\d+(\.\d+)*", text)
    numbers = [int(part[:9]) for part in parts.group().split(".")] if parts else []
    return tuple((*numbers, 0, 0, 0)[:3])


def _one(*path: str) -> Callable[[Any, Version], Outcome]:
    return lambda value, version: Moved(((path, value),))


def _speculative(key: str, last: Version = (0, 8, 2)) -> Renamed:
    return Renamed(last, f"`speculative_config.{key}`", _one("speculative_config", key))


def _speculative_until(key: str, until: Version, outcome: Outcome) -> Renamed:
    """A key of speculative_config that was itself removed after `until`."""

    def become(value: Any, version: Version) -> Outcome:
        if version <= until:
            return Moved(((("speculative_config", key), value),))
        return outcome

    shown = ".".join(map(str, until))
    return Renamed((0, 8, 2), f"`speculative_config.{key}` up to {shown}, then gone", become)


def _dropped(last: Version, why: str) -> Renamed:
    return Renamed(last, f"dropped: {why}", lambda value, version: Dropped(why))


def _gone(last: Version, fix: str, harmless: tuple[Any, ...] = (False, 0)) -> Renamed:
    """Refused, unless the value asked for nothing."""

    def become(value: Any, version: Version) -> Outcome:
        if any(value is item or value == item for item in harmless):
            return Dropped("its value asked for nothing")
        return Refused(fix)

    return Renamed(last, f"refused: {fix}", become)


def _speculative_model(value: Any, version: Version) -> Outcome:
    if value in ("[ngram]", "ngram"):
        return Moved(((("speculative_config", "method"), "ngram"),))
    return Moved(((("speculative_config", "model"), value),))


_GUIDED_OPTIONS = {
    "no-fallback": "disable_fallback",
    "disable-any-whitespace": "disable_any_whitespace",
    "no-additional-properties": "disable_additional_properties",
}


def _guided_backend(value: Any, version: Version) -> Outcome:
    """`xgrammar:disable-any-whitespace` carried its options behind a colon."""
    name, _, written = str(value).partition(":")
    moved: list[tuple[tuple[str, ...], Any]] = [(("structured_outputs_config", "backend"), name)]
    for option in filter(None, written.split(",")):
        key = _GUIDED_OPTIONS.get(option)
        if key is None or key == "disable_fallback":
            return Refused(f"the option {option!r} no longer exists; write {name!r} alone")
        moved.append((("structured_outputs_config", key), True))
    return Moved(tuple(moved))


_TASKS: dict[Any, dict[str, str]] = {
    "generate": {"runner": "generate"},
    "embed": {"runner": "pooling", "convert": "embed"},
    "embedding": {"runner": "pooling", "convert": "embed"},
    "classify": {"runner": "pooling", "convert": "classify"},
}


def _task(value: Any, version: Version) -> Outcome:
    if value == "auto":
        return Dropped("the engine chooses by itself")
    if not isinstance(value, str) or value not in _TASKS:
        return Refused("write engine.args.runner and engine.args.convert instead")
    return Moved(tuple(((key,), item) for key, item in _TASKS[value].items()))


def _device(value: Any, version: Version) -> Outcome:
    return Dropped("the installed engine decides; for a CPU use its CPU build (target: local)")


def _disable_log_requests(value: Any, version: Version) -> Outcome:
    if value is False:
        return Moved(((("enable_log_requests",), True),))
    return Dropped("requests are not logged by default")


def _structured(key: str) -> Renamed:
    return Renamed(
        (0, 10, 99), f"`structured_outputs_config.{key}`", _one("structured_outputs_config", key)
    )


_NEVER: Version = (0, 0, 0)
_SCORER = "the scorer is chosen by the engine"
_MULTI_STEP = "multi-step scheduling is gone; remove the line (async_scheduling is the nearest)"
_TYPICAL = "typical acceptance is gone; remove the line (see speculative_config"
_TYPICAL += ".rejection_sample_method)"

RENAMED: dict[str, Renamed] = {
    "speculative_model": Renamed(
        (0, 8, 2),
        "`speculative_config.model`; `[ngram]` is `speculative_config.method: ngram`",
        _speculative_model,
    ),
    "num_speculative_tokens": _speculative("num_speculative_tokens"),
    "speculative_draft_tensor_parallel_size": _speculative("draft_tensor_parallel_size"),
    "speculative_model_quantization": _speculative("quantization"),
    "speculative_max_model_len": _speculative("max_model_len"),
    "ngram_prompt_lookup_max": _speculative("prompt_lookup_max"),
    "ngram_prompt_lookup_min": _speculative("prompt_lookup_min"),
    "speculative_disable_by_batch_size": _speculative_until(
        "disable_by_batch_size",
        (0, 16, 0),
        Refused(
            "from 0.24 write engine.args.speculative_config.num_speculative_tokens_per_batch_size"
        ),
    ),
    "speculative_disable_mqa_scorer": _speculative_until(
        "disable_mqa_scorer", (0, 9, 2), Dropped(_SCORER)
    ),
    "spec_decoding_acceptance_method": _speculative_until(
        "acceptance_method", (0, 9, 2), Refused(_TYPICAL)
    ),
    "typical_acceptance_sampler_posterior_threshold": _speculative_until(
        "posterior_threshold", (0, 9, 2), Refused(_TYPICAL)
    ),
    "typical_acceptance_sampler_posterior_alpha": _speculative_until(
        "posterior_alpha", (0, 9, 2), Refused(_TYPICAL)
    ),
    "disable_logprobs_during_spec_decoding": _speculative_until(
        "disable_logprobs", (0, 11, 0), Dropped("log probabilities cost nothing unless asked for")
    ),
    "guided_decoding_backend": Renamed(
        (0, 10, 99), "`structured_outputs_config.backend`", _guided_backend
    ),
    "guided_decoding_disable_any_whitespace": _structured("disable_any_whitespace"),
    "guided_decoding_disable_additional_properties": _structured("disable_additional_properties"),
    "guided_decoding_disable_fallback": _dropped((0, 10, 99), "a named backend has no fallback"),
    "num_scheduler_steps": _gone((0, 10, 0), _MULTI_STEP, harmless=(0, 1)),
    "multi_step_stream_outputs": _dropped((0, 10, 0), "multi-step scheduling is gone"),
    "use_v2_block_manager": _dropped((0, 9, 2), "it had done nothing for long"),
    "num_lookahead_slots": _dropped((0, 11, 0), "the engine sets it by itself"),
    "device": Renamed((0, 9, 2), "dropped: the installed engine decides", _device),
    "task": Renamed((0, 12, 0), "`runner` and `convert`", _task),
    "disable_log_requests": Renamed(
        (0, 16, 0), "dropped; false is `enable_log_requests: true`", _disable_log_requests
    ),
    "enable_reasoning": _dropped((0, 9, 2), "reasoning_parser alone turns it on"),
    "enable_prompt_adapter": _gone((0, 10, 1), "prompt adapters are gone; use LoRA"),
    "lora_extra_vocab_size": _dropped((0, 11, 0), "adapters no longer extend the vocabulary"),
    "override_pooler_config": Renamed((0, 11, 0), "`pooler_config`", _one("pooler_config")),
    "rope_scaling": _gone((0, 11, 0), "write it below engine.args.hf_overrides"),
    "cuda_graph_sizes": Renamed(
        (0, 11, 99), "`cudagraph_capture_sizes`", _one("cudagraph_capture_sizes")
    ),
    "max_seq_len_to_capture": _gone(
        (0, 10, 99), "write engine.args.max_cudagraph_capture_size, which counts a batch"
    ),
    "scheduler_delay_factor": _gone((0, 10, 99), "the scheduler no longer delays; remove the line"),
    "preemption_mode": _gone(
        (0, 10, 99), "preempted requests are always recomputed", harmless=("recompute",)
    ),
    "disable_async_output_proc": _dropped((0, 10, 99), "output is always processed apart"),
    "swap_space": _gone((0, 17, 99), "remove the line, or offload with kv_offloading_size"),
    "max_num_partial_prefills": _gone((0, 26, 0), "remove the line", harmless=(1,)),
    "max_long_partial_prefills": _gone((0, 26, 0), "remove the line", harmless=(1,)),
    "calculate_kv_scales": _gone((0, 27, 1), "use a checkpoint that carries its KV scales"),
    "quantization_param_path": _gone(
        (0, 6, 99), "KV scales come from the checkpoint; remove the line", harmless=("",)
    ),
    "load_in_8bit": _gone(
        _NEVER,
        "it never was an argument; use an INT8 (W8A8) checkpoint as model.uri, without a flag",
    ),
}

# Names that did not change; others pass too, with a warning that they are not known here.
UNCHANGED = frozenset(
    {
        "async_scheduling",
        "attention_backend",
        "block_size",
        "chat_template",
        "compilation_config",
        "cpu_offload_gb",
        "cudagraph_capture_sizes",
        "data_parallel_size",
        "disable_custom_all_reduce",
        "distributed_executor_backend",
        "dtype",
        "enable_auto_tool_choice",
        "enable_chunked_prefill",
        "enable_expert_parallel",
        "enable_lora",
        "enable_prefix_caching",
        "enforce_eager",
        "generation_config",
        "gpu_memory_utilization",
        "hf_overrides",
        "kv_cache_dtype",
        "limit_mm_per_prompt",
        "load_format",
        "lora_modules",
        "max_cpu_loras",
        "max_logprobs",
        "max_lora_rank",
        "max_loras",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_scheduled_tokens",
        "max_num_seqs",
        "num_gpu_blocks_override",
        "pipeline_parallel_size",
        "quantization",
        "reasoning_parser",
        "seed",
        "speculative_config",
        "structured_outputs_config",
        "tensor_parallel_size",
        "tokenizer_mode",
        "tool_call_parser",
        "trust_remote_code",
    }
)


def translate(features: Node, version: Version) -> tuple[list[Placed], list[Finding]]:
    """The arguments below `engine.args` that `vllm_features` stands for, with their places.

    Nothing is dropped silently: every name leaves an info, warning or error finding.
    """
    placed: list[Placed] = []
    findings: list[Finding] = []
    for written, node in features.mapping.items():
        name = written.lstrip("-").replace("-", "_")
        outcome = _outcome(name, node.value, node.plain(), version)
        findings.append(_finding(written, name, node, outcome, version))
        if isinstance(outcome, Moved):
            for path, value in outcome.arguments:
                moved = node if value == node.plain() else _at_same_place(value, node)
                placed.append(Placed(f"vllm_features.{written}", path, moved))
    return placed, findings


def _outcome(name: str, value: Any, plain: Any, version: Version) -> Outcome:
    if value is None:
        return Dropped("it is null, so it sets nothing")
    entry = RENAMED.get(name)
    if entry is None or version <= entry.last:
        if name not in UNCHANGED and name not in RENAMED:
            close = get_close_matches(name, [*RENAMED, *UNCHANGED], n=1, cutoff=0.88)
            if close:
                return Refused(f'did you mean "{close[0]}"?')
        return Moved((((name,), plain),))
    return entry.become(plain, version)


def _at_same_place(value: Any, node: Node) -> Node:
    moved = node_of(value, node.flag)
    return Node(moved.value, node.where, node.key_where, None, node.flag)


def _finding(written: str, name: str, node: Node, outcome: Outcome, version: Version) -> Finding:
    key, where = f"vllm_features.{written}", node.key_where
    shown = ".".join(map(str, version))
    if isinstance(outcome, Dropped):
        why = f"dropped for vLLM {shown}: {outcome.why}."
        return Finding("profile.dropped", "warning", key, why, "Remove the line.", where)
    if isinstance(outcome, Refused):
        known = "has no counterpart in" if name in RENAMED else "is no setting known for"
        why = f"{known} vLLM {shown}."
        fix = outcome.fix[0].upper() + outcome.fix[1:]
        fix = fix if fix.endswith("?") else f"{fix}."
        return Finding("profile.no-counterpart", "error", key, why, fix, where)
    targets = ", ".join(f"engine.args.{'.'.join(path)}" for path, _ in outcome.arguments)
    if name not in RENAMED and name not in UNCHANGED:
        why = f"not a name known here; passed on as {targets}."
        return Finding("profile.unknown-feature", "warning", key, why, "Check it.", where)
    why = f"read as {targets} of vLLM {shown}."
    return Finding("profile.older-spelling", "info", key, why, "", where)

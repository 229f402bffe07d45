"""Speculation for vLLM up to 0.8.2, which had a flag for each of its settings."""

from collections.abc import Mapping
from typing import Any

from runners.convert.outcome import Outcome, nothing

FLAGS = {
    "model": "speculative_model",
    "num_speculative_tokens": "num_speculative_tokens",
    "draft_tensor_parallel_size": "speculative_draft_tensor_parallel_size",
    "quantization": "speculative_model_quantization",
    "max_model_len": "speculative_max_model_len",
    "disable_by_batch_size": "speculative_disable_by_batch_size",
    "acceptance_method": "spec_decoding_acceptance_method",
    "prompt_lookup_max": "ngram_prompt_lookup_max",
    "prompt_lookup_min": "ngram_prompt_lookup_min",
}
# What these releases work out from the draft's checkpoint.
_BY_CHECKPOINT = ("eagle", "medusa", "draft_model")


def as_flags(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """speculative_config's keys as flags; None where one of them has none."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key == "method" and value == "ngram":
            found["speculative_model"] = "[ngram]"
        elif key == "method" and value in _BY_CHECKPOINT:
            continue
        elif key in FLAGS:
            found[FLAGS[key]] = value
        else:
            return None
    return found


def legacy(outcome: Outcome, version: str) -> Outcome:
    """An outcome about speculation in those flags."""
    config = outcome.args.get("speculative_config")
    if config is None:
        return outcome
    flags = as_flags(config)
    if flags is None:
        return nothing(f"vLLM {version} has no flag for {', '.join(config)}")
    return Outcome(outcome.verdict, flags, outcome.note)

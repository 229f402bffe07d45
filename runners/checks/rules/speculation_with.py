"""Speculative decoding with the engine's other settings: scheduling, runners, parallelism."""

from collections.abc import Iterator
from typing import Any

from runners.checks import amounts
from runners.checks.case import Case
from runners.checks.drafting import EAGLE, NGRAM, needs_first_runner, runner_of, whole
from runners.checks.rule import REMOVE, Change, Hit, rule

# Target architectures that hand their hidden states over pipeline stages (0.32).
_HIDDEN_OVER_STAGES = frozenset(
    {"llama", "mistral", "qwen2", "qwen3", "sarvam", "minimax_m3", "deepseek_v4", "phi3"}
)


@rule(
    "speculation.draft-tensor-parallel",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `cannot be other value than 1 or target model tensor_parallel_size`; the "
    "older runner's draft_model.py requires the target's size since 0.16.",
    versions=">=0.8.2",
)
def draft_tensor_parallel(case: Case) -> Iterator[Hit]:
    """The draft runs on one GPU, or on as many as the target; a draft model on as many."""
    drafting = case.drafting
    if drafting is None or drafting.model is None or drafting.method in (*NGRAM, "suffix"):
        return
    size = whole(drafting.config.get("draft_tensor_parallel_size"))
    target = case.tensor_parallel
    if size is None or size < 1 or size == target:
        return
    place = drafting.place("draft_tensor_parallel_size")
    fix = f"draft_tensor_parallel_size: {target}"
    changes = drafting.put("the target's size", draft_tensor_parallel_size=target)
    if size != 1:
        why = f"{size} is neither 1 nor the target's tensor_parallel_size of {target}."
        yield Hit(place, why, fix, changes)
    elif drafting.method == "draft_model" and case.at_least(0, 15, 0):
        runner = runner_of(case, drafting)
        if runner != "second":
            why = f"the older model runner wants the target's size of {target} for a draft model."
            yield Hit(place, why, fix, changes, severity=None if runner == "first" else "warning")


@rule(
    "speculation.slots",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig._set_max_num_scheduled_tokens: `does not allow any tokens to be "
    "scheduled` (0.20 to 0.27: slots for every sequence) and `does not have enough slots` "
    "(from 0.28).",
    versions=">=0.20",
)
def slots(case: Case) -> Iterator[Hit]:
    """max_num_batched_tokens leaves room beside the slots that drafting takes."""
    drafting = case.drafting
    batched = amounts.whole(case.args.get("max_num_batched_tokens"))
    if drafting is None or batched is None or not drafting.tokens:
        return
    taken = _slots(case, drafting.method, drafting.config, drafting.tokens)
    if not case.at_least(0, 28, 0):
        taken *= case.number("max_num_seqs") or 0
    if 0 < batched <= taken:
        yield Hit(
            "engine.args.max_num_batched_tokens",
            f"drafting takes {taken} of the {batched} tokens of a step, so none can be scheduled.",
            f"max_num_batched_tokens: {max(2048, 2 * taken)}",
        )


def _slots(case: Case, method: str, config: Any, tokens: int) -> int:
    """Slots for each sequence beyond the sampled one; see max_num_new_slots_for_drafting."""
    parallel = config.get("parallel_drafting") is True
    if method in ("dflash", "dspark"):
        if case.at_least(0, 33, 0):
            return 0
        return tokens if method == "dflash" and case.at_least(0, 28, 0) else tokens - 1
    if method == "draft_model":
        return tokens if parallel else 1
    return tokens - 1 if parallel else 0


@rule(
    "speculation.lora-slots",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `Consider increasing max_num_batched_tokens or decreasing "
    "num_speculative_tokens`, only with LoRA, which the message does not say.",
    versions=">=0.11.2",
)
def lora_slots(case: Case) -> Iterator[Hit]:
    """With LoRA a step holds all sequences with all their draft tokens."""
    drafting = case.drafting
    lora = case.args.get("enable_lora") is True or bool(case.profile.model.adapters)
    if drafting is None or not lora or not drafting.tokens or drafting.tokens < 1:
        return
    batched = amounts.whole(case.args.get("max_num_batched_tokens"))
    sequences = case.number("max_num_seqs")
    if batched is None or sequences is None:
        return
    needed = sequences * (drafting.tokens + 1)
    if 0 < batched < needed:
        key = "engine.args.max_num_batched_tokens"
        yield Hit(
            key,
            f"{sequences} sequences of {drafting.tokens} + 1 tokens are {needed}, more than "
            f"{batched}; with LoRA the engine refuses that.",
            f"max_num_batched_tokens: {needed}",
            (Change(key, needed, "room for every draft token"),),
        )


@rule(
    "speculation.scheduled-few",
    severity="info",
    fails="silently",
    basis="source",
    evidence="The engine warns when fewer than 8192 tokens can be scheduled for a step with "
    "speculation on.",
    versions=">=0.20",
)
def scheduled_few(case: Case) -> Iterator[Hit]:
    """Fewer than 8192 tokens in a step hold speculation back, says the engine."""
    drafting = case.drafting
    batched = amounts.whole(case.args.get("max_num_batched_tokens"))
    if drafting and batched is not None and 0 < batched < 8192 and not case.on_cpu:
        yield Hit(
            "engine.args.max_num_batched_tokens",
            f"{batched} tokens for each step; from 8192 on the engine expects full speed.",
            "max_num_batched_tokens: 8192, or leave it, alike in the baseline",
        )


@rule(
    "speculation.runner",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig._validate_v2_model_runner and _validate_v1_model_runner raise for what a "
    "runner does not have when VLLM_USE_V2_MODEL_RUNNER asks for it.",
    versions=">=0.22.1",
)
def runner(case: Case) -> Iterator[Hit]:
    """VLLM_USE_V2_MODEL_RUNNER asks for no model runner that lacks the method."""
    drafting = case.drafting
    asked = case.environment.get("VLLM_USE_V2_MODEL_RUNNER", "").strip()
    if drafting is None or (asked not in ("0", "1") and not case.on_cpu):
        return
    lacking = None
    if asked == "1":
        lacking = needs_first_runner(drafting)
    elif drafting.method == "dspark":
        lacking = "the method dspark"
    elif drafting.config.get("enable_adaptive_verification") is True:
        lacking = "enable_adaptive_verification"
    if lacking is None:
        return
    key = "engine.env.VLLM_USE_V2_MODEL_RUNNER"
    if asked:
        which = "newer" if asked == "1" else "older"
        yield Hit(
            key,
            f"the {which} model runner, which {asked} asks for, does not have {lacking}.",
            "Remove VLLM_USE_V2_MODEL_RUNNER: the engine then chooses.",
            (Change(key, REMOVE),),
        )
    else:
        yield Hit(
            drafting.place("method"),
            f"a CPU has the older model runner only, which does not have {lacking}.",
            "method: ngram, or a GPU",
        )


@rule(
    "speculation.runner-differs",
    severity="info",
    fails="in the results",
    basis="source",
    evidence="From 0.30 the newer model runner is the default; for what it lacks the engine says "
    "`using the V1 model runner instead`.",
    versions=">=0.30",
)
def runner_differs(case: Case) -> Iterator[Hit]:
    """A method that only the older model runner has is compared with a baseline on the newer."""
    drafting = case.drafting
    if drafting is None or case.on_cpu or "VLLM_USE_V2_MODEL_RUNNER" in case.environment:
        return
    lacking = needs_first_runner(drafting)
    if lacking:
        yield Hit(
            drafting.place("method"),
            f"for {lacking} the engine takes its older model runner; a baseline takes the newer.",
            'engine.env: {VLLM_USE_V2_MODEL_RUNNER: "0"} in both, to compare speculation alone',
        )


@rule(
    "speculation.pooling",
    severity="error",
    fails="silently",
    basis="executed",
    evidence="0.32 accepts runner pooling with a speculative_config and never uses it.",
)
def pooling(case: Case) -> Iterator[Hit]:
    """A model that answers with vectors has no tokens to draft."""
    drafting = case.drafting
    if drafting is None:
        return
    pooled = case.args.get("runner") == "pooling" or case.args.get("task") in _POOLING_TASKS
    if pooled:
        yield Hit(
            "engine.args.runner" if "runner" in case.args else "engine.args.task",
            "a pooling model generates no tokens, so nothing is ever drafted.",
            "Remove speculative_config, or runner: generate.",
        )


_POOLING_TASKS = ("embed", "embedding", "classify", "score", "reward")


@rule(
    "speculation.fast-prefill",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="ValueError `Fast prefill optimization for KV sharing is not compatible with EAGLE`.",
    versions=">=0.10.1",
)
def fast_prefill(case: Case) -> Iterator[Hit]:
    """kv_sharing_fast_prefill gives the drafts of EAGLE and MTP wrong prompt logits."""
    drafting = case.drafting
    if drafting and drafting.method in EAGLE and case.args.get("kv_sharing_fast_prefill") is True:
        key = "engine.args.kv_sharing_fast_prefill"
        yield Hit(
            key,
            f"{drafting.method} needs the logits of every prompt token, which it leaves out.",
            "Remove the line.",
            (Change(key, REMOVE),),
        )


@rule(
    "speculation.hidden-over-stages",
    severity="warning",
    fails="after loading",
    basis="source",
    evidence="verify_supports_aux_hidden_states_over_pp raises for a target class that does not "
    "declare it, on the newer model runner; few classes do.",
    versions=">=0.30",
)
def hidden_over_stages(case: Case) -> Iterator[Hit]:
    """EAGLE-3 and DFlash over pipeline stages need a target that hands its states on."""
    drafting = case.drafting
    if drafting is None or drafting.method not in ("eagle3", "dflash"):
        return
    kind = case.model.model_type if case.model else None
    if case.pipeline_parallel > 1 and kind not in _HIDDEN_OVER_STAGES and not case.on_cpu:
        yield Hit(
            "engine.args.pipeline_parallel_size",
            f"{drafting.method} with {case.pipeline_parallel} stages works for targets that hand "
            f"their hidden states over; {kind or 'this model'} is not known to.",
            "tensor_parallel_size in its place, or method: ngram",
        )


@rule(
    "speculation.watermark",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig._check_supports_watermarking: `requires "
    "draft_sample_method='probabilistic'`, `requires rejection_sample_method='standard'`, `only "
    "autoregressive model-based speculative decoding`.",
    versions=">=0.30",
)
def watermark(case: Case) -> Iterator[Hit]:
    """Watermarking goes with drafts that are sampled, and verified in the standard way."""
    drafting = case.drafting
    if drafting is None or "watermark_config" not in case.args:
        return
    wrong = None
    if drafting.method not in ("dspark", "eagle", "eagle3", "mtp"):
        wrong, fix = f"the method {drafting.method}", "method: eagle3"
    elif drafting.config.get("draft_sample_method") != "probabilistic":
        wrong, fix = "greedy drafts", "draft_sample_method: probabilistic"
    elif drafting.config.get("rejection_sample_method", "standard") != "standard":
        wrong, fix = "another rejection_sample_method", "rejection_sample_method: standard"
    if wrong:
        yield Hit("engine.args.watermark_config", f"watermarking does not go with {wrong}.", fix)

"""Speculative decoding with what requests ask for, and with keys of its own; benchmark traps."""

from collections.abc import Iterator, Mapping
from typing import Any

from runners.checks import amounts
from runners.checks.case import Case
from runners.checks.drafting import runner_of
from runners.checks.rule import REMOVE, Change, Hit, rule

_BODY = "workload.extra_body"
_STRUCTURED = (
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
)


def _asks(body: Mapping[str, Any], key: str, nothing: float = 0.0) -> bool:
    """Whether a number of the request's body is another than the one that does nothing."""
    value = amounts.number(body.get(key))
    return value is not None and value != nothing


@rule(
    "speculation.request-refused",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="`The min_p and logit_bias sampling parameters are not yet supported with speculative "
    "decoding` (HTTP 400), since 0.14; up to 0.16 min_tokens above 1 too.",
    versions=">=0.14",
)
def request_refused(case: Case) -> Iterator[Hit]:
    """min_p and logit_bias are refused while tokens are drafted."""
    body = case.profile.workload.extra_body
    if not body or case.drafting is None:
        return
    asked = []
    if (amounts.number(body.get("min_p")) or 0) > 1e-5:
        asked.append("min_p")
    if body.get("logit_bias"):
        asked.append("logit_bias")
    if (amounts.number(body.get("min_tokens")) or 0) > 1 and not case.at_least(0, 17, 0):
        asked.append("min_tokens")
    for key in asked:
        yield Hit(
            f"{_BODY}.{key}",
            f"vLLM {case.version} answers every request with {key} by HTTP 400 while it drafts.",
            f"Remove {key} here and in the baseline.",
            (Change(f"{_BODY}.{key}", REMOVE),),
        )


@rule(
    "speculation.request-not-drafted",
    severity="warning",
    fails="in the results",
    basis="history",
    evidence="is_spec_decode_unsupported in v1/spec_decode/utils.py: requests with penalties, "
    "min_p or logprobs were decoded without drafts up to 0.13.",
    versions=">=0.9,<0.14",
)
def request_not_drafted(case: Case) -> Iterator[Hit]:
    """Up to 0.13 a request with penalties, min_p or logprobs is decoded without drafts."""
    body = case.profile.workload.extra_body
    if not body or case.drafting is None:
        return
    asked = [k for k in ("frequency_penalty", "presence_penalty", "min_p") if _asks(body, k)]
    if _asks(body, "repetition_penalty", 1.0):
        asked.append("repetition_penalty")
    if body.get("logprobs"):
        asked.append("logprobs")
    for key in asked:
        yield Hit(
            f"{_BODY}.{key}",
            f"vLLM {case.version} drafts nothing for a request with {key}, so speculation would "
            "not be measured.",
            f"Remove {key} here and in the baseline, or engine.version: 0.14.1 or later.",
        )


@rule(
    "speculation.structured-backend",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="ValueError `LM Format Enforcer backend does not support speculative tokens` when the "
    "first grammar is compiled; the configuration accepts the pair (executed).",
    versions=">=0.10.2",
)
def structured_backend(case: Case) -> Iterator[Hit]:
    """lm-format-enforcer cannot follow drafted tokens."""
    drafting = case.drafting
    if drafting is None:
        return
    key = "engine.args.structured_outputs_config.backend"
    chosen = (case.section("structured_outputs_config") or {}).get("backend")
    if "guided_decoding_backend" in case.args:
        chosen, key = case.args["guided_decoding_backend"], "engine.args.guided_decoding_backend"
    if chosen != "lm-format-enforcer":
        return
    body = case.profile.workload.extra_body
    certain = any(name in body for name in _STRUCTURED)
    text = isinstance(case.args.get("structured_outputs_config"), str)
    yield Hit(
        key,
        "lm-format-enforcer refuses every structured request while tokens are drafted.",
        "backend: xgrammar",
        () if text else (Change(key, "xgrammar", "xgrammar, the engine's usual backend"),),
        severity=None if certain else "warning",
    )


@rule(
    "speculation.logits-processors",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="`Custom logits processors are not supported when speculative decoding is enabled` on "
    "the older model runner; the configuration accepts the pair (executed).",
    versions=">=0.11",
)
def logits_processors(case: Case) -> Iterator[Hit]:
    """On the older model runner, logits processors of one's own exclude speculation."""
    drafting = case.drafting
    if drafting is None or not case.args.get("logits_processors"):
        return
    runner = runner_of(case, drafting)
    if runner != "second":
        yield Hit(
            "engine.args.logits_processors",
            "the older model runner refuses logits processors of one's own while it drafts.",
            "Remove logits_processors, or speculative_config.",
            severity=None if runner == "first" else "warning",
        )


@rule(
    "speculation.local-argmax",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="`use_local_argmax_reduction is not compatible with draft_sample_method="
    "'probabilistic'` in v1/worker/gpu/spec_decode/speculator.py.",
    versions=">=0.21",
)
def local_argmax(case: Case) -> Iterator[Hit]:
    """The local argmax never has the probabilities that sampled drafts need."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("use_local_argmax_reduction") is not True:
        return
    if drafting.config.get("draft_sample_method") == "probabilistic":
        yield Hit(
            drafting.place("use_local_argmax_reduction"),
            "it picks the likeliest token only, and draft_sample_method probabilistic needs all.",
            "Remove the line, or draft_sample_method: greedy.",
            drafting.put(use_local_argmax_reduction=REMOVE),
        )


@rule(
    "speculation.adaptive-verification",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig._validate_adaptive_verification: `not currently compatible with LoRA`, "
    "`with pipeline parallelism`, `requires full CUDA graphs`; SpeculativeConfig for the local "
    "argmax.",
    versions=">=0.28",
)
def adaptive_verification(case: Case) -> Iterator[Hit]:
    """Adaptive verification excludes LoRA, pipeline stages, eager mode and the local argmax."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("enable_adaptive_verification") is not True:
        return
    against = [
        ("enable_lora", case.args.get("enable_lora") is True),
        ("pipeline_parallel_size", case.pipeline_parallel > 1),
        ("enforce_eager", case.args.get("enforce_eager") is True),
        (
            "speculative_config.use_local_argmax_reduction",
            drafting.config.get("use_local_argmax_reduction") is True
            and drafting.method != "dspark",
        ),
    ]
    for name, found in against:
        if found:
            yield Hit(
                f"engine.args.{name}",
                f"adaptive verification does not go with {name}.",
                f"Remove {name}, or enable_adaptive_verification.",
            )


@rule(
    "speculation.other-vocabulary-method",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `use_heterogeneous_vocab only works with method='draft_model'` and "
    "`currently only supports greedy draft sampling`.",
    versions=">=0.25.1",
)
def other_vocabulary_method(case: Case) -> Iterator[Hit]:
    """Two vocabularies are bridged for draft models that draft greedily."""
    drafting = case.drafting
    if drafting is None or drafting.config.get("use_heterogeneous_vocab") is not True:
        return
    place = drafting.place("use_heterogeneous_vocab")
    gone = drafting.put(use_heterogeneous_vocab=REMOVE)
    if drafting.method != "draft_model":
        why = f"it is for draft models, and the method is {drafting.method}."
        yield Hit(place, why, "Remove the line.", gone)
    elif drafting.config.get("draft_sample_method", "greedy") != "greedy":
        yield Hit(place, "it needs greedy drafts.", "draft_sample_method: greedy")


@rule(
    "speculation.key-of-method",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `index_share_for_mtp_iteration is only supported with method='mtp'` and "
    "`dspark_draft_topk is only supported by DSpark`.",
    versions=">=0.28",
)
def key_of_method(case: Case) -> Iterator[Hit]:
    """Keys that only one method takes are not written for another."""
    drafting = case.drafting
    if drafting is None:
        return
    for key, method in (("index_share_for_mtp_iteration", "mtp"), ("dspark_draft_topk", "dspark")):
        drafted = drafting.model is not None or method == "mtp"
        if key in drafting.config and drafting.method != method and drafted:
            yield Hit(
                drafting.place(key),
                f"{key} is for the method {method}, not {drafting.method}.",
                "Remove the line.",
                drafting.put(**{key: REMOVE}),
            )


@rule(
    "speculation.ignore-eos",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="Text after a model's natural end repeats itself, which drafts guess easily; n-gram "
    "lookup most of all.",
)
def ignore_eos(case: Case) -> Iterator[Hit]:
    """Answers that go on after their end flatter speculation."""
    drafting = case.drafting
    if drafting is None or not case.profile.workload.ignore_eos or case.on_cpu:
        return
    if drafting.config.get("rejection_sample_method") != "synthetic":
        yield Hit(
            "workload.ignore_eos",
            "what a model writes after its natural end repeats itself, so more drafts are "
            "accepted than users would see.",
            "ignore_eos: false (here and in the baseline)",
        )


@rule(
    "speculation.made-up-prompts",
    severity="info",
    fails="in the results",
    basis="practice",
    evidence="SPEED-Bench (arXiv 2604.09557) finds that made-up inputs misstate acceptance, and "
    "with it throughput.",
)
def made_up_prompts(case: Case) -> Iterator[Hit]:
    """Acceptance is a property of the text; made-up prompts are nobody's."""
    drafting = case.drafting
    if drafting is None or case.profile.workload.kind != "synthetic":
        return
    if drafting.config.get("rejection_sample_method") != "synthetic" and not case.on_cpu:
        yield Hit(
            "workload.kind",
            "acceptance on made-up prompts says little about that on your own.",
            "kind: dataset (docs/datasets.md) or prompts, with texts of your application",
        )


@rule(
    "speculation.sampled",
    severity="info",
    fails="in the results",
    basis="practice",
    evidence="Rejection sampling accepts a greedy draft with the target's own probability for it, "
    "which falls as the temperature rises.",
)
def sampled(case: Case) -> Iterator[Hit]:
    """A temperature above 0 lowers acceptance and makes answers incomparable."""
    drafting = case.drafting
    if drafting is not None and case.profile.workload.temperature > 0:
        yield Hit(
            "workload.temperature",
            f"at {case.profile.workload.temperature:g} fewer drafts are accepted than at 0, and "
            "answers cannot be compared with the baseline's.",
            "temperature: 0, unless sampling is what you want to measure",
        )

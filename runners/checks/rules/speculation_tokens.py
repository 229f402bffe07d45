"""Speculative decoding: how many tokens are drafted, and by what."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.drafting import NGRAM, Drafting, as_ngram, runner_of, whole
from runners.checks.rule import REMOVE, Change, Hit, rule

# Tokens that --fix writes where none are given: what examples of the projects start from.
_TOKENS = {"mtp": 1, "extract_hidden_states": 1}
_USUAL_TOKENS = 3
# The largest K that the older model runner's rejection sampler takes.
_MOST_TOKENS = 128


@rule(
    "speculation.mtp-repeated",
    severity="info",
    fails="in the results",
    basis="source",
    evidence="The engine logs that more than one token runs the same layer several times, `which "
    "may result in lower acceptance rate`.",
    versions=">=0.11",
)
def mtp_repeated(case: Case) -> Iterator[Hit]:
    """More draft tokens than multi-token-prediction layers run a layer several times."""
    drafting = case.drafting
    if drafting is None or drafting.method != "mtp" or drafting.tokens is None:
        return
    layers = case.model.draft_layers if case.model else 0
    if 0 < layers < drafting.tokens:
        yield Hit(
            drafting.place("num_speculative_tokens"),
            f"{drafting.tokens} tokens from {layers} layer(s): the later ones are accepted less.",
            "Measure num_speculative_tokens: 1 beside it.",
        )


@rule(
    "speculation.tokens-missing",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `num_speculative_tokens must be provided with speculative model unless "
    "the draft model config contains an n_predict parameter`; suffix decoding takes 24.",
)
def tokens_missing(case: Case) -> Iterator[Hit]:
    """The number of draft tokens is written, unless the draft model's config has one."""
    if "speculative_model" in case.args and not case.at_least(0, 8, 3):
        if "num_speculative_tokens" not in case.args and "speculative_config" not in case.args:
            key = "engine.args.num_speculative_tokens"
            change = Change(key, _USUAL_TOKENS, f"{_USUAL_TOKENS} tokens, to start with")
            yield Hit(
                "engine.args.speculative_model",
                "the number of draft tokens is missing.",
                f"num_speculative_tokens: {_USUAL_TOKENS}",
                (change,),
            )
        return
    drafting = case.drafting
    if drafting is None or "num_speculative_tokens" in drafting.config or not drafting.method:
        return
    method = drafting.method
    if method == "suffix" or (method == "mtp" and drafting.model):
        return
    tokens = _TOKENS.get(method, _USUAL_TOKENS)
    unsure = drafting.model is not None and method not in (*NGRAM, "custom_class")
    known = case.draft is not None and case.draft.model_type is not None
    own = unsure and (not known or method in ("mlp_speculator", "dspark"))
    yield Hit(
        drafting.place("method" if drafting.stated else "model"),
        f"the number of draft tokens is missing; {method} has no default"
        + (" unless the draft's config.json carries n_predict." if own else "."),
        f"num_speculative_tokens: {tokens}",
        drafting.put(
            f"{tokens} draft tokens, to start a sweep from", num_speculative_tokens=tokens
        ),
        severity="warning" if own and _may_carry(drafting) else None,
    )


def _may_carry(drafting: Drafting) -> bool:
    """Whether the draft's name is of a kind whose config has n_predict or a block size."""
    low = (drafting.model or "").lower()
    parts = ("mtp", "nextn", "accelerator", "speculator", "dspark", "dflash")
    return any(part in low for part in parts) or low.startswith(("/", "./", "pvc://", "s3://"))


@rule(
    "speculation.tokens-positive",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="`Input should be greater than 0` (older: `Expected num_speculative_tokens to be "
    "greater than zero`).",
    versions=">=0.8.2",
)
def tokens_positive(case: Case) -> Iterator[Hit]:
    """At least one token is drafted; to turn speculation off, leave it out."""
    drafting = case.drafting
    if drafting and drafting.tokens is not None and drafting.tokens < 1:
        yield Hit(
            drafting.place("num_speculative_tokens"),
            f"{drafting.tokens} draft tokens are none.",
            "num_speculative_tokens: 3, or remove speculative_config.",
        )


@rule(
    "speculation.tokens-many",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="v1/sample/rejection_sampler.py asserts at most 128 (MAX_SPEC_LEN) on a step that "
    "drafts more; the configuration accepts any number. The newer model runner has no limit.",
    versions=">=0.8.2",
)
def tokens_many(case: Case) -> Iterator[Hit]:
    """More than 128 draft tokens end the engine in the middle of a step."""
    drafting = case.drafting
    if drafting is None or drafting.tokens is None or drafting.tokens <= _MOST_TOKENS:
        return
    certain = runner_of(case, drafting) == "first"
    yield Hit(
        drafting.place("num_speculative_tokens"),
        f"{drafting.tokens} tokens for each step: the rejection sampler takes at most "
        f"{_MOST_TOKENS}"
        + ("." if certain else " where the older model runner works, and few are ever accepted."),
        "num_speculative_tokens: 5 (3 to 10 are usual)",
        severity=None if certain else "warning",
    )


@rule(
    "speculation.vocabulary",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `Target and draft model should have the same vocabulary size`, checked "
    "for draft models since 0.16.0.",
    versions=">=0.8.2",
)
def vocabulary(case: Case) -> Iterator[Hit]:
    """A draft model has the vocabulary of its target."""
    drafting = case.drafting
    if drafting is None or drafting.method != "draft_model":
        return
    if drafting.config.get("use_heterogeneous_vocab") is True or (
        case.at_least(0, 10, 0) and not case.at_least(0, 15, 0)
    ):
        return
    target = case.model.vocab_size if case.model else None
    draft = case.draft.vocab_size if case.draft else None
    if target is None or draft is None or target == draft:
        return
    bridge = case.at_least(0, 25, 1)
    yield Hit(
        drafting.place("model"),
        f"its vocabulary has {draft:,} tokens, the target's {target:,}: drafts would mean "
        "other words.",
        "A draft of the target's own family"
        + (", use_heterogeneous_vocab: true, or" if bridge else ", or")
        + " method: ngram",
        _other_vocabulary(drafting, bridge),
        severity=None if case.at_least(0, 15, 0) else "warning",
    )


def _other_vocabulary(drafting: Drafting, bridge: bool) -> tuple[Change, ...]:
    if bridge:
        return drafting.put(
            "only tokens that both vocabularies have are drafted; a draft of the same family is "
            "better",
            use_heterogeneous_vocab=True,
        )
    return as_ngram(drafting, "n-gram lookup, as the draft cannot fit")


@rule(
    "speculation.hidden-states",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="ValueError `extract_hidden_states requires num_speculative_tokens to be 1` and its "
    "neighbours in v1/worker/gpu/spec_decode/extract_hidden_states.py.",
    versions=">=0.17.1",
)
def hidden_states(case: Case) -> Iterator[Hit]:
    """extract_hidden_states works with one token, greedy and padded; it speeds nothing up."""
    drafting = case.drafting
    if drafting is None or drafting.method != "extract_hidden_states":
        return
    config = drafting.config
    if drafting.tokens not in (None, 1):
        yield Hit(
            drafting.place("num_speculative_tokens"),
            f"extract_hidden_states takes exactly 1 draft token, not {drafting.tokens}.",
            "num_speculative_tokens: 1",
            drafting.put(num_speculative_tokens=1),
        )
    if config.get("draft_sample_method") not in (None, "greedy"):
        yield Hit(
            drafting.place("draft_sample_method"),
            "extract_hidden_states samples greedily only.",
            "draft_sample_method: greedy",
            drafting.put(draft_sample_method="greedy"),
        )
    if config.get("disable_padded_drafter_batch") is True:
        yield Hit(
            drafting.place("disable_padded_drafter_batch"),
            "extract_hidden_states needs the padded batch.",
            "Remove the line.",
            drafting.put(disable_padded_drafter_batch=REMOVE),
        )
    if whole(config.get("num_speculative_tokens")) == 1 and "draft_model_config" not in config:
        yield Hit(
            drafting.place("method"),
            "it has to be told which layers to read.",
            "draft_model_config: {hf_config: {eagle_aux_hidden_state_layer_ids: [1, 2]}}",
        )


@rule(
    "speculation.draft-length",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `speculative_max_model_len=… cannot be larger than draft_max_model_len` "
    "or `target_max_model_len`.",
    versions=">=0.8.2",
)
def draft_length(case: Case) -> Iterator[Hit]:
    """The draft's length is within its own and within the target's."""
    drafting = case.drafting
    if drafting is None or drafting.model is None or "max_model_len" not in drafting.config:
        return
    asked = whole(drafting.config["max_model_len"])
    if asked is None or drafting.method in (*NGRAM, "suffix", "custom_class"):
        return
    limits = {
        "the target's max_model_len": case.number("max_model_len"),
        "the draft's own": case.draft.max_length if case.draft else None,
    }
    for name, limit in limits.items():
        if limit is not None and 0 < limit < asked:
            yield Hit(
                drafting.place("max_model_len"),
                f"{asked} is longer than {name} of {limit}.",
                f"max_model_len: {limit}, or leave it out",
                drafting.put(max_model_len=REMOVE),
            )
            return

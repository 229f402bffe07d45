"""Keys of speculative_config that tune a method, one entry each."""

from typing import Any

from runners.convert.outcome import Convert, Outcome, approximate, exact, none, nothing
from runners.convert.settings import Settings

_TREE = "vLLM drafts one sequence, not a tree"
_TYPICAL = "vLLM accepts by comparing with what the model itself would say, or by rejection"
_POOL = "vLLM looks up only in the request's own text"
_CHECKPOINT = "vLLM reads it from the draft's own checkpoint"
_SWITCHES_OFF = "vLLM does not stop drafting when few drafts are accepted"
_AUTOMATON = "vLLM runs one method at a time"
_ONE_ENGINE = "vLLM always drafts inside the engine"
_OWN_LOADER = "vLLM has draft_load_config for it"
# Where sampled drafts can be verified by rejection; look-up drafts have no probabilities.
_SAMPLED = ("eagle", "eagle3", "mtp", "deepseek_mtp", "draft_model", "dflash", "dspark")


def rejection(value: Any, settings: Settings, method: str) -> Outcome:
    """use_rejection_sampling."""
    release, on = settings.target.release, settings.truth(value)
    if settings.target.legacy:
        args = {"acceptance_method": "rejection_sampler"}
        return exact({"speculative_config": args} if on else {})
    if not on:
        return nothing("vLLM verifies sampled answers by rejection, not by equality")
    if method not in _SAMPLED:
        return nothing(f"drafts of {method} have no probabilities")
    if "draft_sample_method" not in release.speculative_keys:
        return exact(note="vLLM does so anyway")
    args = {"draft_sample_method": "probabilistic", "rejection_sample_method": "standard"}
    return exact({"speculative_config": args})


def _ngram_size(value: Any, settings: Settings) -> Outcome:
    longest = settings.whole(value, 1)
    args = {"prompt_lookup_max": longest, "prompt_lookup_min": 1}
    return exact({"speculative_config": args})


def _public(value: Any, settings: Settings) -> Outcome:
    if settings.truth(value):
        return nothing(_POOL)
    return exact(note="vLLM does so anyway")


def _total(value: Any, settings: Settings) -> Outcome:
    longest = settings.get("speculative_config", "max_draft_len")
    if value in (None, longest):
        return exact(note="one sequence")
    return nothing(_TREE)


def _oldest(value: Any, settings: Settings) -> Outcome:
    if settings.truth(value):
        return approximate({}, "vLLM takes the longest match, and of these the earliest")
    return nothing("vLLM takes the longest match, and of these the earliest")


NGRAM: dict[str, Convert] = {
    "max_matching_ngram_size": _ngram_size,
    "is_public_pool": _public,
    "is_keep_all": none("vLLM keeps the whole text of the request", (True,)),
    "is_use_oldest": _oldest,
}
TUNING: dict[str, Convert] = {
    "eagle3_one_model": none(_ONE_ENGINE, (True,)),
    "mtp_eagle_one_model": none(_ONE_ENGINE, (True,)),
    "eagle_choices": none(_TREE),
    "medusa_choices": none(_TREE),
    "use_dynamic_tree": none(_TREE, (False,)),
    "dynamic_tree_max_topK": none(_TREE),
    "max_total_draft_tokens": _total,
    "max_non_leaves_per_layer": none(_TREE),
    "use_relaxed_acceptance_for_thinking": none(_TYPICAL, (False,)),
    "relaxed_topk": none(_TYPICAL, (1,)),
    "relaxed_delta": none(_TYPICAL, (0, 0.0)),
    "greedy_sampling": none(_TYPICAL),
    "posterior_threshold": none(_TYPICAL),
    "eagle3_layers_to_capture": none(_CHECKPOINT),
    "target_layer_ids": none(_CHECKPOINT),
    "mask_token_id": none(_CHECKPOINT),
    "num_eagle_layers": none(_CHECKPOINT),
    "markov_head_type": none(_CHECKPOINT),
    "markov_rank": none(_CHECKPOINT),
    "block_size": none(_CHECKPOINT),
    "use_mtp_vanilla": none("vLLM has one way to run MTP layers", (False,)),
    "acceptance_rate_window_size": none(_SWITCHES_OFF, (0,)),
    "acceptance_rate_threshold": none(_SWITCHES_OFF),
    "acceptance_window": none(_SWITCHES_OFF, (0,)),
    "acceptance_length_threshold": none(_SWITCHES_OFF),
    "enable_penalty": none("vLLM applies penalties with and without speculation", (True,)),
    "allow_advanced_sampling": none("vLLM samples in every way with speculation", (True,)),
    "advanced_sampling_mode": none("vLLM leaves out what a request does not ask", ("full",)),
    "sa_config": none(_AUTOMATON),
    "use_sa_spec": none(_AUTOMATON, (False,)),
    "sa_spec_threshold": none(_AUTOMATON),
    "load_format": none(_OWN_LOADER, ("auto",)),
    "attention_backend": none("vLLM's kernels bear other names; it chooses"),
    "max_window_size": none("vLLM has no look-ahead decoding"),
    "max_ngram_size": none("vLLM has no look-ahead decoding"),
    "max_verification_set_size": none("vLLM has no look-ahead decoding"),
}

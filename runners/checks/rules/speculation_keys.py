"""Speculative decoding: the keys of speculative_config, by version, type and range."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from runners.checks.case import Case
from runners.checks.drafting import PLACE, SHORT, Drafting, whole
from runners.checks.history import first_version, last_version, spans
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.speculation import first_is_later
from runners.checks.values import said
from runners.profiles.features import RENAMED, Dropped, Moved, Refused, version_of

# Keys that the engine fills in by itself and takes from a user as well.
_INNER = frozenset(
    {
        "target_model_config",
        "target_parallel_config",
        "draft_model_config",
        "draft_parallel_config",
    }
)
# The same, up to 0.14, where a key that is not known does no harm.
_INNER_ONCE = frozenset({"enable_chunked_prefill", "disable_log_stats"})
_METHODS_ELSEWHERE = {
    "eagle": "eagle",
    "eagle3": "eagle3",
    "mtp": "mtp",
    "ngram": "ngram",
    "medusa": "medusa",
    "drafttarget": "draft_model",
    "standalone": "draft_model",
    "nextn": "mtp",
}
# Words of TensorRT-LLM and SGLang, and of vLLM's own older flags: the key they stand for.
_ELSEWHERE = {
    "decoding_type": "method",
    "speculative_algorithm": "method",
    "max_draft_len": "num_speculative_tokens",
    "num_nextn_predict_layers": "num_speculative_tokens",
    "speculative_num_draft_tokens": "num_speculative_tokens",
    "num_draft_tokens": "num_speculative_tokens",
    "speculative_model_dir": "model",
    "speculative_draft_model_path": "model",
    "draft_model": "model",
    "max_matching_ngram_size": "prompt_lookup_max",
}
_OLD_FLAGS = frozenset(
    name
    for name in RENAMED
    if name.startswith(("speculative_", "ngram_", "typical_acceptance", "spec_decoding"))
) | {"disable_logprobs_during_spec_decoding"}


def _ignores_unknown(case: Case) -> bool:
    """From 0.9 to 0.14 the class dropped keys it did not know, without a word."""
    return case.at_least(0, 9, 0) and not case.at_least(0, 15, 0)


def _severity(case: Case) -> Any:
    unsure = _ignores_unknown(case) or (case.release.newest and not case.release.exact)
    return "warning" if unsure else None


@rule(
    "speculation.key-elsewhere",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="0.32 answered `Unexpected keyword argument` to speculative_model, "
    "ngram_prompt_lookup_max, acceptance_method, decoding_type, max_draft_len and the like; from "
    "0.9 to 0.14 such a key was dropped without a word.",
    versions=">=0.8.2",
)
def key_elsewhere(case: Case) -> Iterator[Hit]:
    """Older flags and other engines' words are not keys of speculative_config."""
    drafting = case.drafting
    if drafting is None:
        return
    for key, value in drafting.config.items():
        if key in case.release.speculative_keys or key in _INNER:
            continue
        if key in _OLD_FLAGS:
            yield _old_flag(case, drafting, key, value)
        elif key in _ELSEWHERE:
            modern = _ELSEWHERE[key]
            kept = _translated(key, modern, value)
            edits: dict[str, Any] = {key: REMOVE}
            if modern not in drafting.config and kept is not None:
                edits[modern] = kept
            yield Hit(
                drafting.place(key),
                f"{key} is another engine's word for {modern}.",
                f"{modern}: {said(kept if kept is not None else value)}",
                drafting.put(**edits) if kept is not None else (),
                severity=_severity(case),
            )


def _translated(key: str, modern: str, value: Any) -> Any:
    """The value in vLLM's words; None where it has none."""
    if modern == "method":
        plain = str(value).lower().replace("_", "").replace("-", "")
        return _METHODS_ELSEWHERE.get(plain)
    return value if isinstance(value, str | int) else None


def _old_flag(case: Case, drafting: Drafting, key: str, value: Any) -> Hit:
    outcome = RENAMED[key].become(value, version_of(case.version))
    place, severity = drafting.place(key), _severity(case)
    if isinstance(outcome, Moved):
        values = {path[-1]: moved for path, moved in outcome.arguments}
        edits = {k: v for k, v in values.items() if k not in drafting.config} | {key: REMOVE}
        fix = ", ".join(f"{k}: {said(v)}" for k, v in values.items())
        why = f"{key} was a flag of its own up to vLLM 0.8.2; here it has another name."
        return Hit(place, why, fix, drafting.put(**edits), severity=severity)
    gone = f"vLLM {case.version} has nothing like {key}: "
    if isinstance(outcome, Dropped):
        changes = drafting.put(**{key: REMOVE})
        return Hit(place, gone + f"{outcome.why}.", "Remove the line.", changes, severity)
    assert isinstance(outcome, Refused)
    return Hit(place, gone + f"{outcome.fix}.", "Remove the line.", (), severity)


@rule(
    "speculation.key-version",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="The keys of SpeculativeConfig in every release kept here; executed on 0.32 for "
    "disable_by_batch_size, acceptance_method and posterior_threshold.",
    versions=">=0.8.2",
)
def key_version(case: Case) -> Iterator[Hit]:
    """A key of speculative_config exists in this version."""
    drafting = case.drafting
    if drafting is None:
        return
    known = case.release.speculative_keys
    for key in drafting.config:
        if key in known or key in _INNER or key not in spans("keys"):
            continue
        first, last = first_version("keys", key), last_version("keys", key)
        later = first_is_later(first, case.release.version)
        changes: tuple[Change, ...] = ()
        fix = f"engine.version: {first} or later, or remove the line." if later else ""
        if not later:
            fix = "Remove the line."
            changes = drafting.put(**{key: REMOVE}) if key in _WITHOUT_EFFECT else ()
            if key == "disable_by_batch_size" and case.at_least(0, 24, 0):
                fix, changes = _as_schedule(drafting)
        yield Hit(
            drafting.place(key),
            f"vLLM {case.version} has no key {key}; it is there "
            + (f"from {first}." if later else f"up to {last}."),
            fix,
            changes,
            severity=_severity(case),
        )


# Keys of older versions that nothing measured depends on any more.
_WITHOUT_EFFECT = frozenset(
    {"disable_mqa_scorer", "disable_logprobs", "disable_by_batch_size", "speculative_token_tree"}
)


def _as_schedule(drafting: Drafting) -> tuple[str, tuple[Change, ...]]:
    """Off from a batch size on, in the words of 0.24: the last range drafts 0 tokens."""
    size = whole(drafting.config.get("disable_by_batch_size"))
    if size is None or size < 2 or not drafting.tokens:
        return "num_speculative_tokens_per_batch_size: [[1, 31, 3], [32, 100000, 0]]", ()
    schedule = [[1, size - 1, drafting.tokens], [size, max(100_000, size), 0]]
    changes = drafting.put(
        disable_by_batch_size=REMOVE, num_speculative_tokens_per_batch_size=schedule
    )
    return f"num_speculative_tokens_per_batch_size: {said(schedule)}", changes


@rule(
    "speculation.key-unknown",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="`Unexpected keyword argument` from the validated class; from 0.9 to 0.14 the key "
    "was dropped without a word.",
    versions=">=0.8.2",
)
def key_unknown(case: Case) -> Iterator[Hit]:
    """speculative_config takes the keys it knows and no others."""
    drafting = case.drafting
    if drafting is None:
        return
    known = case.release.speculative_keys
    for key in drafting.config:
        if key in known or key in _INNER or key in _OLD_FLAGS or key in _ELSEWHERE:
            continue
        if key in spans("keys") or (key in _INNER_ONCE and not case.at_least(0, 15, 0)):
            continue
        close = get_close_matches(key, known, n=1, cutoff=0.7)
        yield Hit(
            drafting.place(key),
            f"no release of vLLM that is known here has a key {key!r}.",
            f'Did you mean "{close[0]}"?' if close else "Remove the line.",
            severity=_severity(case),
        )


@rule(
    "speculation.twice",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `--spec-tokens and --speculative-config['num_speculative_tokens'] are "
    "mutually exclusive`.",
    versions=">=0.22.1",
)
def twice(case: Case) -> Iterator[Hit]:
    """The short flags spec_method, spec_model and spec_tokens repeat no key."""
    given = case.speculation
    if not given:
        return
    for flag, key in SHORT.items():
        if flag in case.args and key in given:
            yield Hit(
                f"engine.args.{flag}",
                f"{flag} and speculative_config.{key} say the same thing twice.",
                f"Remove {flag}.",
                (Change(f"engine.args.{flag}", REMOVE),),
            )


@rule(
    "speculation.tensor-parallel-key",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `'tensor_parallel_size' is not a valid argument in the "
    "speculative_config`; the key is there only to say so.",
    versions=">=0.15",
)
def tensor_parallel_key(case: Case) -> Iterator[Hit]:
    """The draft's parallel size is called draft_tensor_parallel_size."""
    drafting = case.drafting
    if drafting and "tensor_parallel_size" in drafting.config:
        size = drafting.config["tensor_parallel_size"]
        edits: dict[str, Any] = {"tensor_parallel_size": REMOVE}
        if "draft_tensor_parallel_size" not in drafting.config:
            edits["draft_tensor_parallel_size"] = size
        yield Hit(
            f"{PLACE}.tensor_parallel_size",
            "the target's key; the draft's size has a name of its own.",
            f"draft_tensor_parallel_size: {said(size)}",
            drafting.put(**edits),
        )

"""Speculative decoding: the values of speculative_config's keys, by type and range."""

from collections.abc import Iterator
from typing import Any

from runners.checks.amounts import number
from runners.checks.case import Case
from runners.checks.drafting import NGRAM, PLACE, whole
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.tables import Option
from runners.checks.values import said, type_name

# Limits that the engine checks in code, not in its tables of keys: (lowest, highest).
_LIMITS: dict[str, tuple[float, float]] = {
    "suffix_decoding_max_tree_depth": (1, float("inf")),
    "suffix_decoding_max_cached_requests": (0, float("inf")),
    "suffix_decoding_max_spec_factor": (0, float("inf")),
    "suffix_decoding_min_token_prob": (0, 1),
    "prompt_lookup_max": (1, float("inf")),
    "prompt_lookup_min": (1, float("inf")),
    "disable_by_batch_size": (2, float("inf")),
}


@rule(
    "speculation.key-type",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The class is validated since 0.9: `Input should be a valid integer`, `Input should "
    "be 'greedy' or 'probabilistic'`; numbers written as text are read.",
    versions=">=0.9",
)
def key_type(case: Case) -> Iterator[Hit]:
    """A key's value is of its type and one of its choices."""
    drafting = case.drafting
    if drafting is None:
        return
    for key, value in drafting.config.items():
        option = case.release.speculative_keys.get(key)
        if option is None or key == "method":
            continue
        wanted = _wanted(case, option, value)
        if wanted:
            yield Hit(
                drafting.place(key),
                f"{said(value)} is no value for {key}: it takes {wanted}.",
                f"{key}: {_example(option)}",
            )
    written = case.args.get("speculative_config")
    for key, value in written.items() if isinstance(written, dict) else ():
        plain = str(key).replace("-", "_")
        if value is None and (plain in _NEVER_NULL or plain.startswith("suffix_")):
            yield Hit(
                f"{PLACE}.{key}",
                f"null is no value for {plain}; what is left out has its default.",
                "Remove the line.",
                (Change(f"{PLACE}.{key}", REMOVE),),
            )


# Keys with a default of their own, which null is not.
_NEVER_NULL = frozenset(
    {
        "disable_eagle_block_drop",
        "disable_padded_drafter_batch",
        "draft_sample_method",
        "enable_adaptive_verification",
        "num_speculative_tokens",
        "parallel_drafting",
        "rejection_sample_method",
        "use_heterogeneous_vocab",
        "use_local_argmax_reduction",
    }
)


def _wanted(case: Case, option: Option, value: Any) -> str | None:
    """What the key takes instead, None where the value is fine."""
    if option.name == "attention_backend" and isinstance(value, str):
        names = case.release.attention_backends
        if value.upper() in (*names, "AUTO") or not names:
            return None
        return f"{', '.join(sorted(names)[:6])}, …"
    if option.choices is not None and isinstance(value, str) and value not in option.choices:
        shown = [str(choice) for choice in option.choices]
        return ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "")
    fine = {
        "int": whole(value) is not None or isinstance(value, bool),
        "float": number(value) is not None or isinstance(value, bool),
        "bool": value in (0, 1) or str(value).lower() in _BOOLEANS,
        "str": isinstance(value, str),
        "list": isinstance(value, list | tuple),
        "json": isinstance(value, dict),
    }.get(option.kind, True)
    return None if fine else type_name(option.kind)


_BOOLEANS = {"true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "0", "1"}


def _example(option: Option) -> str:
    if option.choices:
        return str(option.choices[0])
    return {"int": "3", "float": "0.5", "bool": "true", "list": "[…]", "json": "{…}"}.get(
        option.kind, "text"
    )


@rule(
    "speculation.key-range",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="`Input should be greater than or equal to 1` and the engine's own checks of the "
    "suffix and lookup keys.",
    versions=">=0.8.2",
)
def key_range(case: Case) -> Iterator[Hit]:
    """A key's number lies in its range."""
    drafting = case.drafting
    if drafting is None:
        return
    suffix, lookup = drafting.method == "suffix", drafting.method in NGRAM
    for key, value in drafting.config.items():
        option = case.release.speculative_keys.get(key)
        given = number(value)
        if option is None or given is None or key == "num_speculative_tokens":
            continue
        bounds = option.bounds
        low = bounds.get("ge", float("-inf"))
        high = bounds.get("le", float("inf"))
        if (key.startswith("suffix_") and suffix) or (
            not key.startswith("suffix_") and (lookup or not key.startswith("prompt_"))
        ):
            low, high = _LIMITS.get(key, (low, high))
        if low <= given <= high and given > bounds.get("gt", float("-inf")):
            continue
        wanted = f"from {low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"
        yield Hit(
            drafting.place(key),
            f"{said(value)} is outside of what {key} takes: {wanted}.",
            f"{key}: {max(low, min(high, 1)):g}",
        )


@rule(
    "speculation.lookup-order",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `prompt_lookup_min=… must be <= prompt_lookup_max=…`; one that is missing "
    "takes the other's value (up to 0.9: min 1).",
    versions=">=0.8.2",
)
def lookup_order(case: Case) -> Iterator[Hit]:
    """The shortest n-gram is not longer than the longest."""
    drafting = case.drafting
    if drafting is None or drafting.method not in NGRAM:
        return
    least = whole(drafting.config.get("prompt_lookup_min"))
    most = whole(drafting.config.get("prompt_lookup_max"))
    if least is not None and most is not None and 1 <= most < least:
        yield Hit(
            drafting.place("prompt_lookup_min"),
            f"the shortest n-gram ({least}) is longer than the longest ({most}).",
            f"prompt_lookup_min: {most}",
            drafting.put("as long as the longest", prompt_lookup_min=most),
        )

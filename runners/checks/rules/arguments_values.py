"""Engine arguments: values that a flag of this version of vLLM can read."""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from runners.checks import amounts
from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule
from runners.checks.rules.arguments_switches import ARGS, options
from runners.checks.tables import Option
from runners.checks.values import said, type_name

# Numbers whose range other subjects look at: the scheduler, parallelism, LoRA, speculation.
_RANGED_ELSEWHERE = frozenset(
    {
        "data_parallel_size",
        "decode_context_parallel_size",
        "gpu_memory_utilization",
        "long_prefill_token_threshold",
        "max_loras",
        "max_model_len",
        "max_num_active_seqs",
        "max_num_batched_tokens",
        "max_num_scheduled_tokens",
        "max_num_seqs",
        "pipeline_parallel_size",
        "prefill_context_parallel_size",
        "spec_tokens",
        "tensor_parallel_size",
    }
)
# JSON flags whose value is an object, beside those with fixed keys.
_OBJECTS = frozenset(
    {
        "additional_config",
        "hf_overrides",
        "limit_mm_per_prompt",
        "media_io_kwargs",
        "mm_processor_kwargs",
        "override_generation_config",
        "speculative_config",
    }
)
# Choices that other subjects look at.
_CHOSEN_ELSEWHERE = frozenset({"kv_cache_dtype", "max_lora_rank", "quantization"})
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "fp32": "float32"}
# Numbers with a unit inside JSON, which vLLM expands before it reads the text.
_UNIT = re.compile(r"[0-9][kKmMgGtT]\b")


@rule(
    "arguments.type",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The command line ends with `invalid int value` or `invalid float value`; whole "
    "numbers are not read from 8.0.",
)
def wrong_type(case: Case) -> Iterator[Hit]:
    """A flag's value is of its type."""
    for name, value, option in options(case):
        if isinstance(value, bool) or _fits(option, value):
            continue
        yield Hit(
            f"{ARGS}.{name}",
            f"{said(value)} is not {type_name(option.kind)}"
            + (f" of {option.of}" if option.kind == "list" and option.of else "")
            + ".",
            f"{name}: {_example(option, value)}",
            severity="warning" if _swallowed(case, option, value) else None,
        )


def _swallowed(case: Case, option: Option, value: Any) -> bool:
    """Whether of a list the first word is used and the second passes for a model's name."""
    if not isinstance(value, list) or len(value) < 2 or not case.at_least(0, 10, 0):
        return False
    return _fits(option, value[0])


_NUMBERS = ("int", "float", "human_int", "human_int_or_auto")


def _fits(option: Option, value: Any) -> bool:
    kind = option.kind
    if kind == "list":
        return isinstance(value, list) or option.of not in _NUMBERS or _reads(option.of, value)
    if isinstance(value, list):
        # Several words where one is read; for JSON `arguments.json` says it.
        return kind in ("any", "json", "json_or_str", "bool") or len(value) == 1
    return kind not in _NUMBERS or (not isinstance(value, Mapping) and _reads(kind, value))


def _reads(kind: str, value: Any) -> bool:
    """Whether the flag's converter takes the word that the toolkit writes for a value."""
    text = str(value).strip()
    if text in ("", "None") or (kind == "human_int_or_auto" and text.lower() == "auto"):
        return True
    if kind == "float":
        return amounts.number(text) is not None or text.lower().lstrip("+-") in ("inf", "nan")
    if _WHOLE.fullmatch(text) and not isinstance(value, float):
        return True
    return kind != "int" and not isinstance(value, float) and amounts.whole(text) is not None


_WHOLE = re.compile(r"[-+]?\d(_?\d)*", re.ASCII)


def _example(option: Option, value: Any) -> str:
    number = amounts.number(value)
    if number is not None and option.kind != "float":
        return f"{round(number)}"
    if option.default is not None:
        return said(option.default)
    return f"<{type_name(option.kind)}>"


@rule(
    "arguments.choice",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The command line ends with `invalid choice: 'bf16' (choose from …)`.",
)
def choice(case: Case) -> Iterator[Hit]:
    """A flag that offers choices gets one of them."""
    for name, value, option in options(case):
        if option.choices is None or isinstance(value, bool | Mapping) or name in _CHOSEN_ELSEWHERE:
            continue
        names = [str(item) for item in option.choices]
        for item in value if isinstance(value, list) else [value]:
            text = str(item)
            if option.normalized:
                text = text.lower().replace("-", "_")
            if text in names or (text in ("None", "") and option.default is None):
                continue
            same = _DTYPES.get(text.lower()) or text.lower()
            meant = same if same in names else None
            close = [meant] if meant else get_close_matches(text, names, n=1)
            listed = ", ".join(names[:9]) + (", …" if len(names) > 9 else "")
            key = f"{ARGS}.{name}"
            yield Hit(
                key,
                f"{said(item)} is none of {listed}.",
                f"{name}: {close[0] if close else names[0]}",
                (Change(key, meant),) if meant and not isinstance(value, list) else (),
            )


@rule(
    "arguments.range",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The configuration ends with `Input should be greater than or equal to …`.",
)
def out_of_range(case: Case) -> Iterator[Hit]:
    """A flag's number lies in its range."""
    for name, value, option in options(case):
        if not option.bounds or name in _RANGED_ELSEWHERE:
            continue
        number = amounts.number(value)
        if number is None:
            continue
        limits = option.bounds
        low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
        wrong = (
            number < limits.get("ge", number)
            or number > limits.get("le", number)
            or ("gt" in limits and number <= limits["gt"])
            or ("lt" in limits and number >= limits["lt"])
        )
        if wrong:
            words = [
                f"{'at least' if 'ge' in limits else 'above'} {low:g}" if low is not None else "",
                f"{'at most' if 'le' in limits else 'below'} {high:g}" if high is not None else "",
            ]
            yield Hit(
                f"{ARGS}.{name}",
                f"{said(value)} is outside of what it takes: "
                f"{' and '.join(word for word in words if word)}.",
                f"{name}: {said(option.default) if option.default is not None else '…'}",
            )


@rule(
    "arguments.json",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The command line ends with `Value … cannot be converted` or a JSON error for text "
    "that is none; a list is passed as separate words.",
)
def no_json(case: Case) -> Iterator[Hit]:
    """A flag that takes JSON gets a mapping, or text that is JSON."""
    for name, value, option in options(case):
        if option.kind not in ("json", "json_or_str") or isinstance(value, bool | Mapping):
            continue
        key = f"{ARGS}.{name}"
        wants_object = name in _OBJECTS or name in case.release.sections
        if isinstance(value, list) and not wants_object:
            if option.kind == "json":
                text = json.dumps(value, default=str)
                why = "a list becomes several words, and the flag takes one text of JSON."
                yield Hit(key, why, f"{name}: '{said(text)}'", (Change(key, text),))
            continue
        text = str(value).strip()
        plain = option.kind == "json_or_str" and name not in _OBJECTS
        if text in ("", "None") or (plain and not _braced(text)):
            continue
        if name == "speculative_config":
            fine = bool(case.speculation) or text == "{}"
        else:
            object_only = wants_object and case.at_least(0, 20, 0)
            fine = _is_json(text) and (_braced(text) or not object_only)
        if fine:
            continue
        example = "{method: ngram, num_speculative_tokens: 3}"
        yield Hit(
            key,
            f"{said(value)} is no JSON object.",
            f"{name}: {example if name == 'speculative_config' else '{key: value}'}",
        )


def _braced(text: str) -> bool:
    return text.startswith("{") and text.endswith("}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return _UNIT.search(text) is not None
    return True


@rule(
    "arguments.section-key",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The class behind the flag forbids other keys since 0.16: `Unexpected keyword "
    "argument`; before, they were dropped without a word.",
    versions=">=0.10",
)
def section_key(case: Case) -> Iterator[Hit]:
    """A flag that takes a mapping gets the keys that its class has."""
    for name, keys in case.release.sections.items():
        value = case.args.get(name)
        if value is None or name == "speculative_config":
            continue
        if isinstance(value, str):
            value = case.section(name)
        if not isinstance(value, Mapping) or not keys:
            continue
        for key in value:
            if key in keys:
                continue
            close = get_close_matches(str(key), keys, n=1, cutoff=0.7)
            strict = case.at_least(0, 16, 0) and not (
                case.release.newest and not case.release.exact
            )
            yield Hit(
                f"{ARGS}.{name}.{key}",
                f"{name} of vLLM {case.version} has no key {key!r}.",
                f'Did you mean "{close[0]}"?' if close else "Remove the line.",
                severity=None if strict else "warning",
            )

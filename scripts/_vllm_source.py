"""Names of a vLLM source tree evaluated one by one, without importing it.

vLLM itself cannot be imported without torch and its compiled parts. Here a constant, a class
or a function is taken out of its file by the syntax tree and evaluated alone, each name that
it uses found the same way; what lies outside vLLM and the few standard modules below is an
Unknown, which takes any use and says nothing. So vLLM's own code builds the command line,
and what that code looked like in a release does not have to be known here. Parts of a
release's code do run: give it releases of vLLM only.
"""

import argparse
import ast
import builtins
import collections.abc
import copy
import dataclasses
import enum
import functools
import itertools
import ssl
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Permissive(type):
    """The type of an Unknown, which is a class so that it can stand in an annotation."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return unknown(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return unknown(cls.__name__)

    def __getitem__(cls, item: Any) -> Any:
        return unknown(cls.__name__)

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __contains__(cls, item: Any) -> bool:
        return False

    def __bool__(cls) -> bool:
        return False

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *error: object) -> None:
        return None

    def __add__(cls, other: Any) -> Any:
        return cls

    __radd__ = __mul__ = __rmul__ = __lt__ = __le__ = __gt__ = __ge__ = __add__


def unknown(name: str) -> Any:
    return Permissive(name, (), {"__module__": "unknown"})


class FieldInfo:
    """A dataclass field as it was declared; bounds: gt, ge, lt, le of pydantic."""

    def __init__(self, default: Any = dataclasses.MISSING, **given: Any) -> None:
        self.default_factory = given.get("default_factory")
        self.default = None if default in (dataclasses.MISSING, ...) else default
        self.init = given.get("init", True)
        self.bounds = {k: given[k] for k in ("gt", "ge", "lt", "le") if given.get(k) is not None}


@dataclasses.dataclass(frozen=True)
class DeclaredField:
    """What vLLM's code asks of an entry of dataclasses.fields()."""

    name: str
    type: Any
    default: Any
    default_factory: Any
    info: FieldInfo | None


class SourceClass(type):
    """A class of the source tree; its methods run, its fields are their defaults."""

    source: "Module"
    node: ast.ClassDef

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name != "__doc__":
            raise AttributeError(name)
        for owner in cls.__mro__:
            if not isinstance(owner, SourceClass):
                continue
            for item in owner.node.body:
                if isinstance(item, FunctionNode) and item.name == name:
                    return _method(item, owner, cls)
                if _assigned(item) == name:
                    found = owner.source.evaluate(getattr(item, "value", None))
                    return found.default if isinstance(found, FieldInfo) else found
        return unknown(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return unknown(cls.__name__)


def _assigned(item: ast.stmt) -> str | None:
    target: ast.expr | None = None
    if isinstance(item, ast.AnnAssign):
        target = item.target
    elif isinstance(item, ast.Assign):
        target = item.targets[0]
    return target.id if isinstance(target, ast.Name) else None


def _method(node: FunctionNode, owner: SourceClass, cls: SourceClass) -> Any:
    above = unknown("super") if len(owner.__mro__) < 3 else owner.__mro__[1]
    function = owner.source.function(node, {"super": lambda: above})
    kinds = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
    return function if "staticmethod" in kinds else functools.partial(function, cls)


def is_dataclass(cls: Any) -> bool:
    if not isinstance(cls, SourceClass):
        return False
    marks = [d.func if isinstance(d, ast.Call) else d for d in cls.node.decorator_list]
    names = {getattr(mark, "id", getattr(mark, "attr", "")) for mark in marks}
    return bool(names & {"config", "dataclass"})


def fields(cls: SourceClass) -> list[DeclaredField]:
    """The fields of a dataclass, its bases' first."""
    found: dict[str, DeclaredField] = {}
    for owner in reversed(cls.__mro__):
        if not isinstance(owner, SourceClass):
            continue
        for item in owner.node.body:
            name = _assigned(item)
            if name is None or not isinstance(item, ast.AnnAssign):
                continue
            if not any(word in ast.unparse(item.annotation) for word in ("ClassVar", "InitVar")):
                found[name] = _field(name, item, owner.source)
    return list(found.values())


def _field(name: str, item: ast.AnnAssign, module: "Module") -> DeclaredField:
    hint = module.evaluate(item.annotation)
    if isinstance(hint, str):
        hint = module.evaluate(ast.parse(hint, mode="eval").body)
    value = None if item.value is None else module.evaluate(item.value)
    info = value if isinstance(value, FieldInfo) else None
    for extra in getattr(hint, "__metadata__", ()):
        info = extra if info is None and isinstance(extra, FieldInfo) else info
    default = value.default if isinstance(value, FieldInfo) else value
    return DeclaredField(name, hint, default, dataclasses.MISSING, info)


def get_field(cls: Any, name: str) -> Any:
    return getattr(cls, name)


_STANDARD: dict[str, Any] = {
    "argparse": argparse,
    "collections.abc": collections.abc,
    "copy": copy,
    "enum": enum,
    "functools": functools,
    "itertools": itertools,
    "ssl": ssl,
    "typing": typing,
    "typing_extensions": typing,
    "types": types,
}


class Module:
    """One file of the tree."""

    def __init__(self, tree: "SourceTree", name: str, path: Path) -> None:
        self.tree, self.name, self.path = tree, name, path
        self.body = ast.parse(path.read_text(encoding="utf-8")).body
        self.nodes: dict[str, ast.stmt] = {}
        self._values: dict[str, Any] = {}
        self._collect(self.body)

    def _collect(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, FunctionNode | ast.ClassDef):
                self.nodes[node.name] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    self.nodes[alias.asname or alias.name.partition(".")[0]] = node
            elif (name := _assigned(node)) is not None:
                self.nodes[name] = node
            elif isinstance(node, ast.If):
                # What holds at run time: the other branch of `if TYPE_CHECKING:`.
                typing_only = "TYPE_CHECKING" in ast.unparse(node.test)
                self._collect([] if typing_only and node.orelse else node.body)
                self._collect(node.orelse)
            elif isinstance(node, ast.Try):
                self._collect(node.body)

    def value(self, name: str) -> Any:
        """What `name` is in this file; an Unknown where that cannot be told."""
        if name in self.tree.stand_ins:
            return self.tree.stand_ins[name]
        if name not in self._values:
            self._values[name] = unknown(name)  # for a name that needs itself
            node = self.nodes.get(name)
            if node is not None:
                self._values[name] = self._define(name, node)
        return self._values[name]

    def _define(self, name: str, node: ast.stmt) -> Any:
        if isinstance(node, FunctionNode):
            return self.function(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        if isinstance(node, ast.Import):
            return self._imported_module(name, node)
        if isinstance(node, ast.ImportFrom):
            return self.imported(name, node)
        value = getattr(node, "value", None)
        return unknown(name) if value is None else self.evaluate(value)

    def _imported_module(self, name: str, node: ast.Import) -> Any:
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                module = self.tree.module(alias.name)
                return (
                    _STANDARD.get(alias.name) or (module and ModuleProxy(module)) or unknown(name)
                )
        return unknown(name)

    def imported(self, name: str, node: ast.ImportFrom) -> Any:
        """What `from … import name` brings."""
        original = next(a.name for a in node.names if (a.asname or a.name) == name)
        home = node.module or ""
        if node.level:
            package = self.name.split(".")
            if self.path.name != "__init__.py":
                package = package[:-1]
            package = package[: len(package) - node.level + 1]
            home = ".".join([*package, *([node.module] if node.module else [])])
        if home in _STANDARD:
            return getattr(_STANDARD[home], original, unknown(original))
        module = self.tree.module(home)
        if module is not None and original in module.nodes:
            return module.value(original)
        inner = self.tree.module(f"{home}.{original}")
        return ModuleProxy(inner) if inner is not None else unknown(original)

    def _class(self, node: ast.ClassDef) -> Any:
        bases = [self.evaluate(base) for base in node.bases]
        if any(isinstance(b, type) and issubclass(b, enum.Enum) for b in bases):
            members = {
                name: self.evaluate(getattr(item, "value", None))
                for item in node.body
                if isinstance(item, ast.Assign) and (name := _assigned(item)) is not None
            }
            values = [
                (k, v if isinstance(v, str | int) and v != "" else k) for k, v in members.items()
            ]
            return enum.Enum(node.name, values)
        origins = [typing.get_origin(base) or base for base in bases]
        known = [b for b in origins if isinstance(b, SourceClass) or b is dict]
        inherited = tuple(dict.fromkeys(known))
        return SourceClass(node.name, inherited, {"source": self, "node": node})

    def function(self, node: FunctionNode, given: dict[str, Any] | None = None) -> Any:
        """The function, without its decorators; its own imports are looked up as ours."""
        bare = copy.deepcopy(node)
        bare.decorator_list = []
        local = _take_imports(bare)
        _drop_annotations(bare)
        names = self._names(bare)
        names |= {
            name: self.imported(name, statement)
            for name, statement in local.items()
            if name not in self.tree.stand_ins
        }
        names |= given or {}
        unit = ast.fix_missing_locations(ast.Module([bare], []))
        exec(compile(unit, str(self.path), "exec"), names)
        return names[node.name]

    def evaluate(self, node: ast.expr | None) -> Any:
        """The value of an expression; an Unknown when it cannot be had."""
        if node is None:
            return None
        try:
            unit = ast.Expression(node)
            return eval(compile(unit, str(self.path), "eval"), self._names(node))
        except Exception:  # any failure of foreign code means only that it tells nothing
            return unknown("expression")

    def _names(self, node: ast.AST) -> dict[str, Any]:
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        names: dict[str, Any] = {}
        for name in sorted(used):  # names may need each other: the same order every time
            if name in self.nodes or name in self.tree.stand_ins:
                names[name] = self.value(name)
            elif not hasattr(builtins, name):
                names[name] = unknown(name)
        return names


def _take_imports(node: ast.AST) -> dict[str, ast.ImportFrom]:
    """Take the import statements out of a function body; the names they bring."""
    taken: dict[str, ast.ImportFrom] = {}
    for inner in ast.walk(node):
        for part in ("body", "orelse"):
            body = getattr(inner, part, None)
            if not isinstance(body, list):
                continue
            for place, item in enumerate(body):
                if isinstance(item, ast.ImportFrom):
                    taken |= {alias.asname or alias.name: item for alias in item.names}
                if isinstance(item, ast.Import | ast.ImportFrom):
                    body[place] = ast.Pass()
    return taken


def _drop_annotations(node: ast.AST) -> None:
    for inner in ast.walk(node):
        if isinstance(inner, ast.arg):
            inner.annotation = None
        elif isinstance(inner, FunctionNode):
            inner.returns = None


@dataclasses.dataclass(frozen=True)
class ModuleProxy:
    """A module as a value: `envs.VLLM_…`."""

    _module: Module

    def __getattr__(self, name: str) -> Any:
        return self._module.value(name)


class SourceTree:
    """The folder `vllm` of an installation or of an unpacked source distribution.

    stand_ins: values that are given in place of what a name is, in every file.
    """

    def __init__(self, root: Path, stand_ins: dict[str, Any]) -> None:
        self.root = root
        self.stand_ins = stand_ins
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """The module of a dotted name below vllm; None where there is none."""
        if name not in self._modules:
            first, *rest = name.split(".")
            base = self.root.joinpath(*rest)
            places = (base.with_suffix(".py"), base / "__init__.py")
            path = next((p for p in places if first == "vllm" and p.is_file()), None)
            self._modules[name] = None if path is None else Module(self, name, path)
        return self._modules[name]

    def first(self, *names: str) -> Module:
        """The first of these modules that the release has."""
        found = next((m for m in map(self.module, names) if m is not None), None)
        if found is None:
            raise LookupError(f"{self.root}: none of {', '.join(names)} is there")
        return found

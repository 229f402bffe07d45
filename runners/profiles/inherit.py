"""Inheritance and overrides: several trees become one."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runners.errors import UsageError
from runners.profiles.document import Node, node_of, parse, read_document, shown_path
from runners.profiles.error import ProfileError, rejected
from runners.profiles.find import find_by_name, not_found


@dataclass(frozen=True)
class Document:
    """A profile file as it was read, before inheritance."""

    path: Path
    root: Node


@dataclass(frozen=True)
class Override:
    """A value that beats the profile: dotted key, plain value, and the flag that gave it."""

    key: str
    value: Any
    flag: str

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))

    def node(self) -> Node:
        return node_of(self.value, self.flag)


def read_chain(path: Path) -> list[Document]:
    """The profile and its ancestors, itself last. Raises ProfileError."""
    chain = [Document(path, read_document(path))]
    while (extends := chain[0].root.mapping.get("extends")) is not None and extends.value:
        parent = _parent(extends, chain[0].path)
        known = [document.path.resolve() for document in chain]
        if parent.resolve() in known:
            names = [shown_path(document.path) for document in reversed(chain)]
            raise rejected(
                "profile.extends-cycle",
                f"inheritance runs in a circle: {' → '.join([*names, shown_path(parent)])}.",
                "Remove one of these `extends`.",
                key="extends",
                where=extends.where,
            )
        chain.insert(0, Document(parent, read_document(parent)))
    return chain


def _parent(extends: Node, child: Path) -> Path:
    """The file an `extends` means: beside the child for a path, else a profile's name."""
    if not isinstance(extends.value, str):
        raise rejected(
            "profile.extends",
            "takes the name of one parent"
            + (", not a list." if isinstance(extends.value, list) else "."),
            "Let that parent extend the other one.",
            key="extends",
            where=extends.where,
        )
    reference = extends.value
    beside = [child.parent / reference, child.parent / f"{reference}.yaml"]
    try:
        by_path = [path for path in beside if path.is_file()]
        is_path = "/" in reference or reference.endswith((".yaml", ".yml"))
        if is_path and by_path:
            return by_path[0]
        named = find_by_name(reference)
        if named is not None:
            return named
        if by_path:
            return by_path[0]
        raise not_found(reference, "a path is taken relative to the profile")
    except (UsageError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise rejected("profile.extends", f"{why}.", key="extends", where=extends.where) from error


def merge(below: Node, above: Node) -> Node:
    """Mappings merge key by key; everything else of `above` replaces what is below."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    entries = dict(below.value)
    for key, node in above.value.items():
        entries[key] = merge(entries[key], node) if key in entries else node
    return replace(above, value=entries)


def set_at(root: Node, path: tuple[str, ...], node: Node) -> Node:
    """`root` with `node` at `path`, replacing what was there; null on the way is filled.

    Raises ProfileError where the path leads through a list or a plain value.
    """
    if not path:
        return node
    if root.value is not None and not isinstance(root.value, dict):
        why = f"the part before `.{'.'.join(path)}` is not a section"
        raise rejected("profile.override", f"{why} (given by {node.flag}).")
    entries = dict(root.mapping)
    below = entries.get(path[0], Node({}, flag=node.flag))
    entries[path[0]] = set_at(below, path[1:], node)
    return replace(root, value=entries)


def nested(path: tuple[str, ...], node: Node) -> Node:
    """A tree that holds nothing but `node` at `path`."""
    return set_at(Node({}, flag=node.flag), path, node)


def parse_set(text: str) -> tuple[str, Any]:
    """`a.b=value` as (dotted key, value); the value is YAML. Raises UsageError."""
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise UsageError(f"--set {text[:80]!r}: write it as key.path=value")
    try:
        node = parse(written, f"--set {key}")
    except ProfileError as error:
        finding = error.findings[0]
        raise UsageError(f"--set {key}: {finding.why} {finding.fix}".rstrip()) from error
    return key, node.plain() if node is not None else None

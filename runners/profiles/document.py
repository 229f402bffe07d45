"""A profile's text as a tree in which every value knows where it was written.

The text is read as parser events, not composed: PyYAML's C composer recurses without a
limit (deep nesting ends the process), and it loses duplicate keys.

Scalars follow YAML 1.2 (no octal `010`, no `1:30`, `1e3` is a number, dates stay text)
with the yes/no/on/off of YAML 1.1, which people write in configuration.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from runners.checks.finding import Where
from runners.profiles.error import ProfileError, rejected

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_NODES = 100_000

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"}
_FALSE = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_INT_BASES = {"0o": 8, "0x": 16}
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_TEXT_TAGS = {"!", "tag:yaml.org,2002:str"}


@dataclass(frozen=True)
class Node:
    """A value of a profile: a mapping, a list, or a scalar.

    where: the place of the value, None where it came from the command line.
    key_where: the place of its key. text: a scalar as it was written.
    flag: the command-line option that gave it.
    """

    value: Any
    where: Where | None = None
    key_where: Where | None = None
    text: str | None = None
    flag: str | None = None

    @property
    def mapping(self) -> dict[str, "Node"]:
        """Its entries; empty for anything but a mapping."""
        return self.value if isinstance(self.value, dict) else {}

    def get(self, *path: str) -> "Node | None":
        """The node below, None where the path ends early."""
        node: Node | None = self
        for name in path:
            node = node.mapping.get(name) if node else None
        return node

    def plain(self) -> Any:
        """The value without places: dict, list, str, int, float, bool, None."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def node_of(value: Any, flag: str | None = None) -> Node:
    """Plain data as a tree, for values that no file holds."""
    if isinstance(value, dict):
        return Node({str(key): node_of(item, flag) for key, item in value.items()}, flag=flag)
    if isinstance(value, list | tuple):
        return Node([node_of(item, flag) for item in value], flag=flag)
    return Node(value, flag=flag)


def shown_path(path: Path) -> str:
    """A path as a person would type it from here."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def read_document(path: Path) -> Node:
    """The mapping in a file. Raises ProfileError, one finding with its place."""
    file = shown_path(path)
    start = Where(file, 1, 1)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise rejected("profile.unreadable", f"{file} cannot be read: {reason}.") from error
    if len(raw) > MAX_BYTES:
        raise rejected(
            "profile.too-large",
            f"the file is larger than {MAX_BYTES // 1_000_000} MB.",
            "Is it a profile? Long prompt lists belong into a data file.",
            where=start,
        )
    root = parse(_decoded(raw, file), file)
    if root is None:
        raise rejected(
            "profile.empty", "the file is empty.", "A profile needs name and model.", where=start
        )
    if not isinstance(root.value, dict):
        raise rejected(
            "profile.not-a-mapping",
            f"the profile is {kind_of(root.value)}, not keys with values.",
            "Write lines such as `name: my-profile`.",
            where=root.where,
        )
    return root


def parse(text: str, file: str) -> Node | None:
    """A YAML text as a tree; None for a text without a value. Raises ProfileError."""
    odd = _UNPRINTABLE.search(text)
    if odd:
        raise rejected(
            "profile.not-text",
            f"the control character U+{ord(odd.group()):04X} is not allowed in YAML.",
            "Is it a text file?",
            where=_where_at(text, odd.start(), file),
        )
    return _Reader(text, file).document()


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number"}
    return names.get(type(value), "something else")


def _decoded(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise rejected(
            "profile.not-text",
            f"the byte 0x{raw[error.start]:02X} is not UTF-8.",
            "Save it as UTF-8 text.",
            where=_where_at(before, len(before), file),
        ) from error


def _where_at(text: str, offset: int, file: str) -> Where:
    line = text.count("\n", 0, offset) + 1
    return Where(file, line, offset - (text.rfind("\n", 0, offset) + 1) + 1)


class _Reader:
    """One pass over the events of a text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0

    def document(self) -> Node | None:
        try:
            self._next(yaml.StreamStartEvent)
            if isinstance(self._next(), yaml.StreamEndEvent):
                return None
            root = self._value(next(self.events), 0)
            self._next(yaml.DocumentEndEvent)
            after = self._next()
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from error
        except yaml.YAMLError as error:
            raise self._error("syntax", f"not valid YAML: {error}".split("\n")[0], None) from error
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error("syntax", "a second document begins here.", after, "One per file.")
        return None if root.value is None and root.text == "" else root

    def _next(self, kind: type[Any] = object) -> Any:
        event = next(self.events)
        assert isinstance(event, kind)
        return event

    def _value(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error("too-deep", f"nested deeper than {MAX_DEPTH} levels.", event)
        before = self.count
        self._grow(1, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        tag = event.tag
        if tag is not None and tag not in _PLAIN_TEXT_TAGS:
            raise self._error("tag", f"the tag {tag} is not used in profiles.", event, "Remove it.")
        if isinstance(event, yaml.MappingStartEvent):
            node = Node(self._mapping(depth), self._at(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                items.append(self._value(item, depth + 1))
            node = Node(items, self._at(event))
        else:
            node = Node(self._scalar(event), self._at(event), text=event.value)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.count - before)
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self.anchors:
            why = f"the alias *{event.anchor} has no complete anchor before it."
            raise self._error("alias", why, event)
        node, size = self.anchors[event.anchor]
        self._grow(size, event)
        return node

    def _grow(self, size: int, event: Any) -> None:
        self.count += size
        if self.count > MAX_NODES:
            why = f"more than {MAX_NODES} values, counting what aliases repeat."
            raise self._error("too-large", why, event)

    def _mapping(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise self._error("syntax", "a key must be plain text.", key)
            node = replace(self._value(next(self.events), depth + 1), key_where=self._at(key))
            if key.value == "<<" and key.implicit[0]:
                merged = self._merged(node) | merged
            elif key.value in entries:
                first = entries[key.value].key_where
                line = first.line if first else "?"
                why = f"the key {key.value!r} is given twice, first in line {line}."
                raise self._error("duplicate-key", why, key, "Keep one of them.")
            else:
                entries[key.value] = node
        return merged | entries

    def _merged(self, node: Node) -> dict[str, Node]:
        sources = node.value if isinstance(node.value, list) else [node]
        found: dict[str, Node] = {}
        for source in sources:
            if not isinstance(source.value, dict):
                raise rejected(
                    "profile.alias", "`<<` takes a mapping or a list of them.", where=node.key_where
                )
            found = source.mapping | found
        return found

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INT.fullmatch(text):
            number = int(text, _INT_BASES.get(text[:2], 10)) if len(text) < 40 else math.inf
            if abs(number) >= 2**63:
                raise self._error("range", "the number does not fit into 64 bits.", event)
            return number
        if FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            value = math.inf if _NOT_FINITE.fullmatch(text) else float(text)
            if not math.isfinite(value):
                raise self._error("range", f"{text[:40]} is not a finite number.", event)
            return value
        return text

    def _at(self, event: Any) -> Where:
        mark = event.start_mark
        return Where(self.file, mark.line + 1, mark.column + 1)

    def _error(self, rule: str, why: str, event: Any, fix: str = "") -> ProfileError:
        where = self._at(event) if event is not None else Where(self.file, 1, 1)
        return rejected(f"profile.{rule}", why, fix, where=where)

    def _syntax(self, error: yaml.MarkedYAMLError) -> ProfileError:
        mark = error.problem_mark or error.context_mark
        if mark is None:
            return self._error("syntax", f"not valid YAML: {error.problem}.", None)
        where = Where(self.file, mark.line + 1, mark.column + 1)
        lines = self.text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return rejected("profile.syntax", "a tab; YAML indents with spaces.", where=where)
        context = f" {error.context}" if error.context else ""
        return rejected(
            "profile.syntax",
            f"not valid YAML: {error.problem}{context}.",
            "A value that holds ': ', '#' or brackets needs quotes."
            if "mapping values" in str(error.problem)
            else "",
            where=where,
        )

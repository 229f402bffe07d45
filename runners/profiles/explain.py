"""What the model rejects, as findings: where it is written, what is allowed, what was meant."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from runners.checks.finding import Finding, Where
from runners.profiles.document import Node, kind_of
from runners.profiles.schema import allowed, description, every_key, keys_at, property_at

Path = tuple[str | int, ...]

_RULES = {
    "extra_forbidden": "profile.unknown-key",
    "missing": "profile.missing-key",
    "literal_error": "profile.choice",
    "string_pattern_mismatch": "profile.format",
    "value_error": "profile.invalid",
    "greater_than": "profile.range",
    "greater_than_equal": "profile.range",
    "less_than": "profile.range",
    "less_than_equal": "profile.range",
    "string_too_short": "profile.range",
    "string_too_long": "profile.range",
    "finite_number": "profile.range",
}


def findings_of(error: ValidationError, root: Node) -> list[Finding]:
    """Every fault of a rejected profile."""
    return [_finding(item, root) for item in error.errors(include_url=False)]


def _finding(item: Any, root: Node) -> Finding:
    path: Path = item["loc"]
    rule = _RULES.get(item["type"], "profile.type")
    node, parent = _nearest(root, path)
    where: Where | None
    if rule == "profile.unknown-key":
        why, fix = "unknown key", _meant(path)
        where = node.key_where or node.where
    elif rule == "profile.missing-key":
        why, fix = "is missing", _add(path)
        where = parent.key_where or parent.where or root.where
    elif rule == "profile.invalid":
        why, fix = item["msg"].removeprefix("Value error, "), ""
        where = node.key_where or node.where or root.where
    else:
        schema = property_at(path)
        why = f"must be {allowed(schema)}, not {_shown(node)}"
        fix = _repair(rule, schema or {}, node)
        where = node.where
    why += _given_by(node)
    dotted = ".".join(map(str, path)) or "profile"
    return Finding(rule, "error", dotted, f"{why}.", fix, where)


def _nearest(root: Node, path: Sequence[str | int]) -> tuple[Node, Node]:
    """The node at a path and the one above it; where it ends early, the last twice."""
    node = parent = root
    for name in path:
        below = None
        if isinstance(name, int) and isinstance(node.value, list) and name < len(node.value):
            below = node.value[name]
        elif isinstance(name, str):
            below = node.mapping.get(name)
        if below is None:
            return node, node
        node, parent = below, node
    return node, parent


def _given_by(node: Node) -> str:
    return f" (given by {node.flag})" if node.flag else ""


def _shown(node: Node) -> str:
    if isinstance(node.value, dict | list) or node.value is None:
        return kind_of(node.value)
    text = node.text if node.text is not None else str(node.value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f'"{text}"' if isinstance(node.value, str) else text


def _meant(path: Path) -> str:
    """The key that was meant: a similar one here, or the same one elsewhere."""
    name, known = str(path[-1]), keys_at(path[:-1])
    close = get_close_matches(name.replace("-", "_")[:100], known, n=1)
    if close:
        return f'Did you mean "{close[0]}"?'
    elsewhere = [".".join(key) for key in every_key() if key[-1] == name]
    if elsewhere:
        return f"Did you mean {' or '.join(elsewhere)}?"
    special = _UNREAD.get(name) if len(path) == 1 else None
    return special or f"Allowed here: {', '.join(known)}."


# Older profiles carried these, and no tool ever sent them.
_UNREAD = {
    "tools": "Put them into workload.extra_body.tools, in OpenAI form, to have them sent.",
    "test_schema": "Put it into workload.extra_body.response_format to have it sent.",
}


def _add(path: Path) -> str:
    says = description(property_at(path)).rstrip(".")
    return f"Add it: {says[:1].lower()}{says[1:]}." if says else "Add it."


def _repair(rule: str, schema: dict[str, Any], node: Node) -> str:
    if rule == "profile.choice" and isinstance(node.value, str):
        options = [item for item in _options(schema) if isinstance(item, str)]
        by_case = {item.lower(): item for item in options}
        close = get_close_matches(node.value.lower()[:100], by_case, n=1, cutoff=0.5)
        return f'Did you mean "{by_case[close[0]]}"?' if close else ""
    if rule != "profile.type":
        return ""
    wanted = allowed(schema)
    scalar = node.text is not None and node.value is not None
    if wanted.startswith(("text", "one of")) and scalar and not isinstance(node.value, str):
        return f'Write it in quotes: "{node.text}".'
    if wanted.startswith(("a number", "a whole number")) and _reads_as_number(node):
        return "Write it without quotes."
    if node.value is None:
        return "Fill it in or remove the line."
    return ""


def _options(schema: dict[str, Any]) -> list[Any]:
    found = list(schema.get("enum", []))
    for option in schema.get("anyOf", []):
        found += option.get("enum", [])
    return found


def _reads_as_number(node: Node) -> bool:
    try:
        return isinstance(node.value, str) and float(node.value) == float(node.value)
    except ValueError:
        return False

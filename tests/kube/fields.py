"""Field ownership: the sets of `metadata.managedFields` and the merge of server-side apply."""

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

from tests.kube.schemas import OPEN, Schema

# Steps are written as in fieldsV1: f:name, k:{"name":"x"} (list item by key), v:"x" (set item).
Path = tuple[str, ...]
Fields = frozenset[Path]
IDENTITY = (
    ("f:apiVersion",),
    ("f:kind",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "uid",
            "generateName",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "selfLink",
        )
    ),
)
MISSING = object()


def text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def item_step(schema: Schema, item: Any) -> str:
    """k:{…} with every key of the list; a port without a protocol is a TCP port."""
    defaults = {"protocol": "TCP"}
    keys = {name: item.get(name, defaults.get(name)) for name in schema.map_keys}
    return "k:" + text({name: value for name, value in keys.items() if value is not None})


def owned(schema: Schema, value: Any, at: Path = ()) -> Iterator[Path]:
    """The leaves of a value, and the items of its keyed lists."""
    if isinstance(value, dict) and value and not (schema.atomic and at):
        for name, inner in value.items():
            declared = OPEN if not at and name == "metadata" else schema.field(name) or OPEN
            yield from owned(declared, inner, (*at, f"f:{name}"))
    elif isinstance(value, list) and schema.list_type == "map":
        for item in value:
            step = item_step(schema, item)
            yield (*at, step)
            yield from owned(schema.items(), item, (*at, step))
    elif isinstance(value, list) and schema.list_type == "set":
        for item in value:
            yield (*at, f"v:{text(item)}")
    else:
        yield at


def fields_of(schema: Schema, value: Any, status: bool) -> Fields:
    """What a writer of `value` owns: the status alone, or everything but it."""
    found = (path for path in owned(schema, value) if not identity(path))
    return frozenset(path for path in found if (path[0] == "f:status") is status)


def identity(path: Path) -> bool:
    return not path or path in IDENTITY or path[:2] in IDENTITY or path == ("f:metadata",)


def lookup(value: Any, path: Path) -> Any:
    """The value at a path, MISSING where there is none."""
    for step in path:
        kind, _, name = step.partition(":")
        if kind == "f":
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        elif isinstance(value, list):
            wanted = json.loads(name)
            value = next((item for item in value if is_item(kind, item, wanted)), MISSING)
        if value is MISSING:
            return MISSING
    return value


def is_item(kind: str, item: Any, wanted: Any) -> bool:
    if kind == "v":
        return bool(item == wanted)
    return isinstance(item, dict) and all(
        item.get(name, "TCP" if name == "protocol" else None) == value
        for name, value in wanted.items()
    )


def without(value: Any, path: Path) -> Any:
    """A copy without what lies at the path, and without parents that this left empty."""
    if not path or value is MISSING:
        return value
    kind, _, name = path[0].partition(":")
    if kind == "f":
        if not isinstance(value, dict) or name not in value:
            return value
        inner = MISSING if len(path) == 1 else without(value[name], path[1:])
        kept = {key: each for key, each in value.items() if key != name}
        if inner is MISSING or (inner in ({}, []) and value[name] not in ({}, [])):
            return kept
        return {key: inner if key == name else each for key, each in value.items()}
    if not isinstance(value, list):
        return value
    wanted = json.loads(name)
    kept_items = []
    for item in value:
        if not is_item(kind, item, wanted):
            kept_items.append(item)
        elif len(path) > 1:
            kept_items.append(without(item, path[1:]))
    return kept_items


def merged(schema: Schema, live: Any, applied: Any) -> Any:
    """The applied configuration laid over the live object."""
    if isinstance(applied, dict) and isinstance(live, dict) and not schema.atomic:
        result = dict(live)
        for name, value in applied.items():
            result[name] = merged(schema.field(name) or OPEN, live.get(name, MISSING), value)
        return result
    if isinstance(applied, list) and isinstance(live, list):
        if schema.list_type == "set":
            return live + [item for item in applied if item not in live]
        if schema.list_type == "map":
            return merged_items(schema, live, applied)
    return copy.deepcopy(applied)


def merged_items(schema: Schema, live: list[Any], applied: list[Any]) -> list[Any]:
    by_step = {item_step(schema, item): item for item in applied}
    steps = [item_step(schema, item) for item in live]
    result = [
        merged(schema.items(), item, by_step[step]) if step in by_step else item
        for step, item in zip(steps, live, strict=True)
    ]
    return result + [copy.deepcopy(by_step[step]) for step in by_step if step not in steps]


def to_fields_v1(paths: Iterable[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _without_single_dots(tree)


def _without_single_dots(node: dict[str, Any]) -> dict[str, Any]:
    if set(node) == {"."}:
        return {}
    return {
        step: {} if step == "." else _without_single_dots(inner) for step, inner in node.items()
    }


def from_fields_v1(tree: dict[str, Any], at: Path = ()) -> Iterator[Path]:
    if not tree:
        yield at
    for step, inner in tree.items():
        if step == ".":
            yield at
        else:
            yield from from_fields_v1(inner, (*at, step))


def shown(path: Path) -> str:
    """.spec.containers[name="a"].image, as conflicts name a field."""
    result = ""
    for step in path:
        kind, _, name = step.partition(":")
        if kind == "f":
            result += f".{name}"
        elif kind == "k":
            pairs = ",".join(f"{key}={text(value)}" for key, value in json.loads(name).items())
            result += f"[{pairs}]"
        else:
            result += f"[={name}]"
    return result

"""JSON merge patch (RFC 7386), JSON patch (RFC 6902) and strategic merge patch."""

import copy
from typing import Any

from tests.kube.errors import Object, bad_request
from tests.kube.schemas import Schema


def merge_patch(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def strategic_patch(schema: Schema, target: Any, patch: Any) -> Any:
    """Lists with a merge key are merged by it, `$patch: delete` removes an item."""
    if isinstance(patch, dict):
        if patch.get("$patch") == "replace":
            return {name: value for name, value in patch.items() if name != "$patch"}
        merged = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            elif not name.startswith("$"):
                declared = schema.field(name) or schema
                merged[name] = strategic_patch(declared, merged.get(name), value)
        return merged
    key = schema.node.get("x-kubernetes-patch-merge-key")
    if isinstance(patch, list) and isinstance(target, list) and key:
        return merge_lists(schema, target, patch, key)
    return copy.deepcopy(patch)


def merge_lists(schema: Schema, target: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = list(target)
    for item in patch:
        places = [at for at, each in enumerate(merged) if each.get(key) == item.get(key)]
        if item.get("$patch") == "delete":
            merged = [each for at, each in enumerate(merged) if at not in places]
        elif places:
            merged[places[0]] = strategic_patch(schema.items(), merged[places[0]], item)
        else:
            merged.append(copy.deepcopy(item))
    return merged


def json_patch(target: Object, operations: Any) -> Object:
    """Raises 400 for an operation that cannot be carried out."""
    if not isinstance(operations, list):
        raise bad_request("json patch: expected an array of operations")
    result = copy.deepcopy(target)
    for each in operations:
        try:
            _operate(result, each)
        except (KeyError, IndexError, ValueError, TypeError) as failure:
            raise bad_request(f"json patch: {each}: {failure}") from failure
    return result


def _operate(document: Any, operation: dict[str, Any]) -> None:
    name = operation["op"]
    value = operation.get("value")
    if name in ("move", "copy"):
        parent, last = _parent(document, operation["from"])
        value = copy.deepcopy(parent[last])
        if name == "move":
            del parent[last]
    parent, last = _parent(document, operation["path"])
    if name == "test":
        if parent[last] != value:
            raise ValueError("testing value failed")
    elif name == "remove":
        del parent[last]
    elif isinstance(parent, list) and name != "replace":
        parent.insert(len(parent) if last == "-" else last, value)
    else:
        parent[last] = value


def _parent(document: Any, pointer: str) -> tuple[Any, Any]:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for step in steps[:-1]:
        document = document[int(step) if isinstance(document, list) else step]
    last: Any = steps[-1]
    if isinstance(document, list) and last != "-":
        last = int(last)
    return document, last

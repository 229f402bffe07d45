"""What a schema refuses, worded as the API server words it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.kube.errors import FieldProblem, Object, StatusError, bad_request, invalid
from tests.kube.resources import Resource
from tests.kube.schemas import Schema

Path = tuple[str | int, ...]
IDENTITY = ("apiVersion", "kind", "metadata")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def dotted(path: Path) -> str:
    """spec.containers[0].image"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def body_fields(schema: Schema, value: Object) -> Iterator[tuple[str, Any, Schema | None]]:
    """Top-level fields without those that every object has."""
    for name, inner in value.items():
        if name not in IDENTITY:
            yield name, inner, schema.field(name)


def unknown_fields(schema: Schema, value: Any, at: Path = ()) -> Iterator[Path]:
    """Where a value has a field that its schema does not declare."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not at and name in IDENTITY:
                continue
            declared = schema.field(name)
            if declared is None:
                yield (*at, name)
            else:
                yield from unknown_fields(declared, inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from unknown_fields(schema.items(), inner, (*at, index))


def prune(schema: Schema, value: Any, top: bool = True) -> Any:
    """The value without unknown fields, and with the defaults that its schema states."""
    if isinstance(value, dict):
        kept: Object = {}
        for name, inner in value.items():
            declared = schema.field(name)
            if top and name in IDENTITY:
                kept[name] = inner
            elif declared is not None and not (inner is None and not declared.nullable):
                kept[name] = prune(declared, inner, False)
        for name, node in schema.node.get("properties", {}).items():
            if isinstance(node, dict) and "default" in node and name not in kept:
                kept[name] = node["default"]
        return kept
    if isinstance(value, list):
        return [prune(schema.items(), inner, False) for inner in value]
    return value


def kind_of(value: Any) -> str:
    """The JSON type of a value, as messages call it."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    if type(value) in names:
        return names[type(value)]
    return "integer" if isinstance(value, int) else "number"


def fits(schema: Schema, value: Any) -> bool:
    if value is None:
        return True
    if schema.scalar_or_number:
        return kind_of(value) in ("string", "integer", "number")
    kind = kind_of(value)
    return (
        not schema.types or kind in schema.types or (kind, "number") == ("integer", *schema.types)
    )


def mismatches(schema: Schema, value: Any, at: Path = ()) -> Iterator[tuple[Path, Schema, Any]]:
    """Where the type is wrong; what lies below such a place is not looked at."""
    if not at and isinstance(value, dict):
        for name, inner, declared in body_fields(schema, value):
            if declared is not None:
                yield from mismatches(declared, inner, (name,))
        return
    if not fits(schema, value):
        yield at, schema, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            declared = schema.field(name)
            if declared is not None:
                yield from mismatches(declared, inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from mismatches(schema.items(), inner, (*at, index))


def constraints(schema: Schema, value: Any, at: Path = ()) -> Iterator[FieldProblem]:
    """Required fields, enumerations, patterns, bounds and duplicate list keys."""
    where = dotted(at)
    if isinstance(value, dict):
        for name in schema.node.get("required", ()):
            if value.get(name) is None and not (not at and name in IDENTITY):
                yield FieldProblem("FieldValueRequired", dotted((*at, name)), "Required value")
        for name, inner in value.items():
            declared = schema.field(name)
            if declared is not None and not (not at and name in IDENTITY):
                yield from constraints(declared, inner, (*at, name))
    elif isinstance(value, list):
        yield from duplicates(schema, value, where)
        for index, inner in enumerate(value):
            yield from constraints(schema.items(), inner, (*at, index))
    elif value is not None:
        yield from scalar_constraints(schema, value, where)


def scalar_constraints(schema: Schema, value: Any, where: str) -> Iterator[FieldProblem]:
    node, shown = schema.node, json.dumps(value, ensure_ascii=False)
    listed = [each for each in node.get("enum", ()) if each is not None]
    if listed and value not in listed:
        supported = ", ".join(json.dumps(each) for each in sorted(listed, key=str))
        detail = f"Unsupported value: {shown}: supported values: {supported}"
        yield FieldProblem("FieldValueNotSupported", where, detail)
    pattern = node.get("pattern")
    if pattern and isinstance(value, str) and not re.search(pattern, value):
        detail = f"Invalid value: {shown}: {where} in body should match '{pattern}'"
        yield FieldProblem("FieldValueInvalid", where, detail)
    if isinstance(value, int | float) and not isinstance(value, bool):
        bounds = (("minimum", "greater", value.__lt__), ("maximum", "less", value.__gt__))
        for bound, word, outside in bounds:
            if bound in node and outside(node[bound]) is True:
                detail = (
                    f"Invalid value: {shown}: {where} in body should be {word} than or equal "
                    f"to {node[bound]}"
                )
                yield FieldProblem("FieldValueInvalid", where, detail)


def duplicates(schema: Schema, value: list[Any], where: str) -> Iterator[FieldProblem]:
    seen: list[Any] = []
    for index, item in enumerate(value):
        key: Any = item
        if schema.list_type == "map" and isinstance(item, dict):
            key = {name: item.get(name) for name in schema.map_keys}
        elif schema.list_type != "set":
            return
        if key in seen:
            inner = json.dumps(key, separators=(",", ":"))
            shown = f"map[string]interface {{}}{inner}" if isinstance(key, dict) else inner
            detail = f"Duplicate value: {shown}"
            yield FieldProblem("FieldValueDuplicate", f"{where}[{index}]", detail)
        seen.append(key)


def typed_patch_error(schema: Schema, manifest: Object, api_version: str) -> StatusError | None:
    """What server-side apply says to a wrong body before it looks at anything else.

    A plain error inside the API server: code 500 without a reason, whatever fieldValidation is.
    """
    lines = [
        f"{merge_path(schema, manifest, path)}: field not declared in schema"
        for path in unknown_fields(schema, manifest)
    ]
    for path, place, value in mismatches(schema, manifest):
        wanted = "numeric (int or float)" if "integer" in place.types else "/".join(place.types)
        wanted = {"object": "map", "array": "list"}.get(wanted, wanted)
        shown = f"&value.valueUnstructured{{Value:{json.dumps(value)}}}"
        given = "string" if isinstance(value, str) and "integer" in place.types else shown
        lines.append(f"{merge_path(schema, manifest, path)}: expected {wanted}, got {given}")
    lines += [
        f"{merge_path(schema, manifest, path)}: duplicate entries for key {key}"
        for path, key in repeated_entries(schema, manifest)
    ]
    if not lines:
        return None
    listed = lines[0] if len(lines) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in lines)
    meta = manifest.get("metadata", {})
    who = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    kind = f"{api_version if '/' in api_version else '/' + api_version}, Kind={manifest['kind']}"
    message = f"failed to create typed patch object ({who}; {kind}): {listed}"
    return StatusError(500, "", message)


def repeated_entries(schema: Schema, value: Any, at: Path = ()) -> Iterator[tuple[Path, str]]:
    """Keyed lists in which a key stands twice, with that key as [name="a"]."""
    if isinstance(value, dict):
        for name, inner in value.items():
            declared = schema.field(name)
            if declared is not None and not (not at and name in IDENTITY):
                yield from repeated_entries(declared, inner, (*at, name))
    elif isinstance(value, list):
        seen = set()
        for index, inner in enumerate(value):
            if schema.list_type == "map" and isinstance(inner, dict):
                key = merge_path(schema, value, (index,))
                if key in seen:
                    yield at, key
                seen.add(key)
            yield from repeated_entries(schema.items(), inner, (*at, index))


def merge_path(schema: Schema, value: Any, path: Path) -> str:
    """.spec.containers[name="a"].image"""
    text, here = "", schema
    for step in path:
        if isinstance(step, int):
            item = value[step]
            keys = here.map_keys if here.list_type == "map" else ()
            pairs = ",".join(f"{key}={json.dumps(item.get(key))}" for key in keys)
            text += f"[{pairs}]" if pairs else f"[{step}]"
            here, value = here.items(), item
        else:
            text += f".{step}"
            here, value = here.field(step) or here, value.get(step)
    return text


def check_decoding(
    resource: Resource, version: str, schema: Schema, manifest: Object, strictness: str
) -> list[str]:
    """Warnings about unknown fields; with Strict they are an error, and types always are."""
    unknown = [f'unknown field "{dotted(path)}"' for path in unknown_fields(schema, manifest)]
    if unknown and strictness == "Strict":
        kind = resource.kind
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(unknown)}"
        )
    if not resource.custom:
        for path, place, value in mismatches(schema, manifest):
            wanted = {"integer": "int32", "boolean": "bool"}.get("".join(place.types), "string")
            raise bad_request(
                f'{resource.kind} in version "{version}" cannot be handled as a {resource.kind}: '
                f"json: cannot unmarshal {kind_of(value)} into Go struct field "
                f".{dotted(path)} of type {wanted}"
            )
    return unknown if strictness == "Warn" else []


def check_values(resource: Resource, schema: Schema, manifest: Object) -> None:
    """Raises 422 with everything that is wrong with a complete object."""
    problems = list(metadata_problems(resource, manifest.get("metadata", {})))
    for path, place, value in mismatches(schema, manifest):
        wanted, given, where = "/".join(place.types), kind_of(value), dotted(path)
        wanted = wanted or "integer or string"
        detail = f'Invalid value: "{given}": {where} in body must be of type {wanted}: "{given}"'
        problems.append(FieldProblem("FieldValueTypeInvalid", where, detail))
    problems += constraints(schema, manifest)
    if problems:
        name = manifest.get("metadata", {}).get("name", "")
        raise invalid(resource.kind, resource.group, name, problems)


def metadata_problems(resource: Resource, metadata: Object) -> Iterator[FieldProblem]:
    name = metadata.get("name", "")
    label_name = resource.full_name in ("services", "namespaces")
    if resource.full_name == "services" and not DNS_1035.fullmatch(name):
        yield FieldProblem(
            "FieldValueInvalid",
            "metadata.name",
            f'Invalid value: "{name}": a DNS-1035 label must consist of lower case alphanumeric '
            "characters or '-', start with an alphabetic character, and end with an alphanumeric "
            "character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
            "'[a-z]([-a-z0-9]*[a-z0-9])?')",
        )
    elif resource.group != "rbac.authorization.k8s.io" and not SUBDOMAIN.fullmatch(name):
        yield FieldProblem(
            "FieldValueInvalid",
            "metadata.name",
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
            "character (e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        )
    longest = 63 if label_name else 253
    if len(name) > longest:
        detail = f'Invalid value: "{name}": must be no more than {longest} bytes'
        yield FieldProblem("FieldValueInvalid", "metadata.name", detail)
    for value in (metadata.get("labels") or {}).values():
        yield from label_problems(value)


def label_problems(value: Any) -> Iterator[FieldProblem]:
    if not LABEL.fullmatch(str(value)):
        yield FieldProblem(
            "FieldValueInvalid",
            "metadata.labels",
            f'Invalid value: "{value}": a valid label must be an empty string or consist of '
            "alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        )
    elif len(str(value)) > 63:
        detail = f'Invalid value: "{value}": must be no more than 63 bytes'
        yield FieldProblem("FieldValueInvalid", "metadata.labels", detail)

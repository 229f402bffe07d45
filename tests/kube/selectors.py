"""Label and field selectors of list, watch and deletecollection."""

import re
from collections.abc import Callable
from typing import Any

from tests.kube.errors import Object, bad_request

Matches = Callable[[Object], bool]
_SET = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)")
FIELDS = {
    "pods": ("spec.nodeName", "status.phase", "status.podIP", "spec.restartPolicy"),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "reason",
        "type",
        "reportingComponent",
        "source",
    ),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs": ("status.successful",),
    "nodes": ("spec.unschedulable",),
}


def split_requirements(text: str) -> list[str]:
    """At the commas that are not inside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def label_requirement(text: str) -> Callable[[dict[str, str]], bool]:
    found = _SET.fullmatch(text)
    if found:
        key, inside = found["key"], found["operator"] == "in"
        values = {value.strip() for value in found["values"].split(",")}
        if inside:
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    for operator, equal in (("!=", False), ("==", True), ("=", True)):
        if operator in text:
            key, _, value = (part.strip() for part in text.partition(operator))
            return lambda labels: (labels.get(key) == value) is equal
    if text.startswith("!"):
        return lambda labels: text[1:].strip() not in labels
    if " " in text:
        raise bad_request(f"unable to parse requirement: found '{text}', expected: ',' or 'end'")
    return lambda labels: text in labels


def at_path(value: Any, path: str) -> str:
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def field_requirement(text: str, plural: str, version: str) -> Matches:
    operator = next((each for each in ("!=", "==", "=") if each in text), None)
    if operator is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    path, _, value = (part.strip() for part in text.partition(operator))
    if path not in ("metadata.name", "metadata.namespace", *FIELDS.get(plural, ())):
        raise bad_request(
            f'Unable to find "{version}, Resource={plural}" that match label selector "", '
            f'field selector "{text}": field label not supported: {path}'
        )
    return lambda item: (at_path(item, path) == value) is (operator != "!=")


def selector(labels: str, fields: str, plural: str, version: str) -> Matches:
    """Which objects a query means. Raises 400 for a selector that cannot be read."""
    by_label = [label_requirement(each) for each in split_requirements(labels)]
    by_field = [field_requirement(each, plural, version) for each in split_requirements(fields)]

    def matches(item: Object) -> bool:
        own = item.get("metadata", {}).get("labels") or {}
        return all(each(own) for each in by_label) and all(each(item) for each in by_field)

    return matches

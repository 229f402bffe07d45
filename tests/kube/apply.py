"""Server-side apply and the bookkeeping of who set which field."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.kube.errors import Object, StatusError, bad_request
from tests.kube.fields import (
    MISSING,
    Fields,
    Path,
    fields_of,
    from_fields_v1,
    lookup,
    merged,
    shown,
    to_fields_v1,
    without,
)
from tests.kube.schemas import Schema


@dataclass(frozen=True)
class Manager:
    """One entry of managedFields."""

    name: str
    operation: str
    api_version: str
    time: str
    fields: Fields
    subresource: str = ""

    def same_writer(self, other: "Manager") -> bool:
        return (self.name, self.operation, self.subresource) == (
            other.name,
            other.operation,
            other.subresource,
        )

    def described(self) -> str:
        if self.operation == "Apply":
            return f'"{self.name}"'
        where = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.name}"{where} using {self.api_version} at {self.time}'

    def entry(self) -> Object:
        entry = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(self.fields),
        }
        return {**entry, "subresource": self.subresource} if self.subresource else entry


def read_managers(item: Object | None) -> list[Manager]:
    entries = (item or {}).get("metadata", {}).get("managedFields") or ()
    return [
        Manager(
            entry.get("manager", ""),
            entry["operation"],
            entry["apiVersion"],
            entry.get("time", ""),
            frozenset(from_fields_v1(entry["fieldsV1"])),
            entry.get("subresource", ""),
        )
        for entry in entries
        if entry.get("fieldsV1")
    ]


def with_managers(item: Object, managers: Sequence[Manager]) -> Object:
    listed = [each.entry() for each in managers if each.fields]
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    if listed:
        metadata["managedFields"] = listed
    return {**item, "metadata": metadata}


def apply(
    schema: Schema, live: Object | None, applied: Object, writer: Manager, force: bool
) -> Object:
    """The new object. `writer` comes without fields: they follow from what it applies.

    Raises 409 that names every field whose value another manager set, unless forced.
    """
    if applied.get("metadata", {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    status = writer.subresource == "status"
    mine = fields_of(schema, applied, status)
    writer = replace(writer, fields=mine)
    managers = read_managers(live)
    others = [each for each in managers if not each.same_writer(writer)]
    if live is not None:
        disputed = [
            (other, path)
            for other in others
            for path in sorted(other.fields & mine)
            if lookup(live, path) != lookup(applied, path) and not is_item_marker(path)
        ]
        if disputed and not force:
            raise apply_conflict(disputed)
        lost = {path for _, path in disputed}
        others = [replace(each, fields=each.fields - lost) for each in others]
    before = next((each for each in managers if each.same_writer(writer)), None)
    base = live or {}
    if before is not None:
        base = give_up(base, before.fields - mine, others, mine)
    result = merged(schema, base, body_of(applied, status))
    return with_managers(result, [*others, writer])


def body_of(applied: Object, status: bool) -> Object:
    """What this endpoint takes: without the status, or the status and the identity alone."""
    if not status:
        return {name: value for name, value in applied.items() if name != "status"}
    return {name: applied[name] for name in ("apiVersion", "kind", "status") if name in applied}


def is_item_marker(path: Path) -> bool:
    return path[-1].startswith(("k:", "v:"))


def give_up(result: Object, dropped: Fields, others: Sequence[Manager], mine: Fields) -> Object:
    """Remove what this manager no longer applies and nobody else set."""
    kept: set[Path] = set(mine).union(*(each.fields for each in others))
    for path in sorted(dropped, key=len):
        held = any(other[: len(path)] == path for other in kept)
        if not held:
            result = without(result, path)
    return result


def apply_conflict(disputed: Sequence[tuple[Manager, Path]]) -> StatusError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {manager.described()}",
            "field": shown(path),
        }
        for manager, path in disputed
    ]
    if len(disputed) == 1:
        manager, path = disputed[0]
        listed = f"conflict: conflict with {manager.described()}: {shown(path)}"
    else:
        by_manager: dict[str, list[str]] = {}
        for manager, path in disputed:
            by_manager.setdefault(manager.described(), []).append(shown(path))
        blocks = (
            f"conflicts with {who}:\n" + "\n".join(f"- {field}" for field in fields)
            for who, fields in by_manager.items()
        )
        listed = "conflicts: " + "\n".join(blocks)
    message = f"Apply failed with {len(disputed)} {listed}"
    return StatusError(409, "Conflict", message, {"causes": causes})


def update(schema: Schema, before: Object | None, after: Object, writer: Manager) -> Object:
    """After a create, replace or patch: whoever changed a field owns it."""
    status = writer.subresource == "status"
    new = fields_of(schema, after, status)
    changed = frozenset(
        path for path in new if before is None or lookup(before, path) != lookup(after, path)
    )
    gone = frozenset(
        path
        for path in (fields_of(schema, before, status) if before else ())
        if lookup(after, path) is MISSING
    )
    managers = read_managers(before)
    own = next((each for each in managers if each.same_writer(writer)), None)
    if not changed and not gone:
        return with_managers(after, managers)
    others = [
        replace(each, fields=each.fields - changed - gone)
        for each in managers
        if not each.same_writer(writer)
    ]
    mine = changed | ((own.fields - gone) if own else frozenset())
    return with_managers(copy.deepcopy(after), [*others, replace(writer, fields=mine)])

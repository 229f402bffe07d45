"""Get and list: snapshots, pages, and the definitions of custom resources."""

import base64
import copy
import json
from dataclasses import dataclass, field

from tests.kube.errors import Object, bad_request, expired, not_found
from tests.kube.paths import Asked
from tests.kube.resources import Resource
from tests.kube.schemas import Schemas
from tests.kube.selectors import Matches, selector
from tests.kube.storage import Store

DEFINITIONS = "customresourcedefinitions"


@dataclass
class Reader:
    """Reads from one cluster; `_snapshots` keeps a paged list as it was at its first page."""

    store: Store
    schemas: Schemas
    served: tuple[Resource, ...]
    _snapshots: dict[str, list[Object]] = field(default_factory=dict)

    def get(self, asked: Asked) -> Object:
        if asked.resource.plural == DEFINITIONS:
            for item in self.definitions(asked.name):
                return item
            raise not_found(asked.resource, asked.name)
        item = self.store.get(asked.resource, asked.namespace, asked.name)
        return in_version(asked, item)

    def matches(self, asked: Asked) -> Matches:
        fields = asked.query.get("fieldSelector", "")
        if asked.name:
            fields = f"metadata.name={asked.name}"
        labels = asked.query.get("labelSelector", "")
        version = asked.resource.api_version(asked.version)
        return selector(labels, fields, asked.resource.plural, version)

    def select(self, asked: Asked) -> list[Object]:
        matches = self.matches(asked)
        if asked.resource.plural == DEFINITIONS:
            return [item for item in self.definitions() if matches(item)]
        held = self.store.all(asked.resource, asked.namespace)
        return [in_version(asked, item) for item in held if matches(item)]

    def page(self, asked: Asked) -> Object:
        """A List; raises 410 for a continue token from before the history was compacted."""
        with self.store.lock:
            token, limit = asked.query.get("continue", ""), int(asked.query.get("limit", 0))
            if token:
                revision, start, items = self._resume(token)
            else:
                revision, start, items = self.store.revision, 0, self.select(asked)
            end = start + limit if limit else len(items)
            metadata: Object = {"resourceVersion": str(revision)}
            if end < len(items):
                metadata["continue"] = self._continue(revision, end, items)
                metadata["remainingItemCount"] = len(items) - end
        shown = [item if asked.resource.custom else untyped(item) for item in items[start:end]]
        return {
            "kind": f"{asked.resource.kind}List",
            "apiVersion": asked.resource.api_version(asked.version),
            "metadata": metadata,
            "items": shown,
        }

    def _continue(self, revision: int, end: int, items: list[Object]) -> str:
        """Names the snapshot it goes on with, which outlives changes but not compaction."""
        snapshot = f"{revision}-{id(items)}"
        self._snapshots[snapshot] = items
        inner = {"rv": revision, "start": end, "snapshot": snapshot}
        return base64.urlsafe_b64encode(json.dumps(inner).encode()).decode()

    def _resume(self, token: str) -> tuple[int, int, list[Object]]:
        try:
            inner = json.loads(base64.urlsafe_b64decode(token))
            revision, start, snapshot = inner["rv"], inner["start"], inner["snapshot"]
        except (ValueError, KeyError, TypeError) as failure:
            raise bad_request(f"continue key is not valid: {failure}") from failure
        if revision < self.store.oldest or snapshot not in self._snapshots:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You can start a new list without the continue parameter, or use the continue "
                "token in this response to retrieve the remainder of the results."
            )
        return revision, start, self._snapshots[snapshot]

    def definitions(self, only: str = "") -> list[Object]:
        """CustomResourceDefinitions as an API server shows them; of all kinds, or only one."""
        custom = [each for each in self.served if each.custom and only in ("", each.full_name)]
        shown = []
        for resource in sorted(custom, key=lambda each: each.full_name):
            item = copy.copy(self.schemas.definition(resource))
            name = resource.full_name
            item["metadata"] = {
                **item["metadata"],
                "uid": f"00000000-0000-4000-8000-{abs(hash(name)) % 10**12:012d}",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            }
            item["status"] = {
                "acceptedNames": item["spec"]["names"],
                "storedVersions": [resource.versions[0]],
                "conditions": [
                    {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
                    {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
                ],
            }
            shown.append(item)
        return shown


def in_version(asked: Asked, item: Object) -> Object:
    """The object in the API version that was asked for."""
    wanted = asked.resource.api_version(asked.version)
    return item if item.get("apiVersion") == wanted else {**item, "apiVersion": wanted}


def untyped(item: Object) -> Object:
    """Items of a list of built-in kinds carry neither kind nor apiVersion."""
    return {name: value for name, value in item.items() if name not in ("kind", "apiVersion")}

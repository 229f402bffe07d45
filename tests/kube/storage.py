"""What the cluster holds: objects, one revision counter and the history that watches read."""

import copy
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.kube.errors import Object, not_found
from tests.kube.resources import Resource

Key = tuple[str, str]
FIRST_REVISION = 1000


@dataclass(frozen=True)
class Change:
    """One commit. `before` is the state that it replaced, None for a creation."""

    revision: int
    type: str
    resource: Resource
    object: Object
    before: Object | None


def timestamp(unix_s: float) -> str:
    """RFC 3339 in whole seconds, as metav1.Time."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Store:
    """Objects are never changed in place: whoever holds one may keep it.

    `lock` guards a read and the write that depends on it; it is notified of every commit.
    `now` gives Unix seconds for the timestamps that objects carry.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.lock = threading.Condition(threading.RLock())
        self.revision = FIRST_REVISION
        self.oldest = FIRST_REVISION
        self.history: list[Change] = []
        self.listeners: list[Callable[[Change], None]] = []
        self._held: dict[str, dict[Key, tuple[Resource, Object]]] = {}

    def timestamp(self) -> str:
        return timestamp(self.now())

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        with self.lock:
            found = self._held.get(resource.full_name, {}).get((namespace, name))
        return found[1] if found else None

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Raises 404."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Ordered by namespace and name, as etcd orders its keys; "" means every namespace."""
        with self.lock:
            held = self._held.get(resource.full_name, {})
            return [held[key][1] for key in sorted(held) if not namespace or key[0] == namespace]

    def everything(self) -> list[tuple[Resource, Object]]:
        with self.lock:
            return [pair for held in self._held.values() for pair in held.values()]

    def put(self, resource: Resource, item: Object) -> Object:
        """Commit a new or changed object; the same content again is no commit."""
        with self.lock:
            before = self.find(resource, *key_of(item))
            if before is not None and same_content(before, item):
                return before
            changed = self._numbered(item)
            self._held.setdefault(resource.full_name, {})[key_of(item)] = (resource, changed)
            self._commit("ADDED" if before is None else "MODIFIED", resource, changed, before)
            return changed

    def drop(self, resource: Resource, item: Object) -> Object:
        """Commit the end of an object."""
        with self.lock:
            before = self._held[resource.full_name].pop(key_of(item))[1]
            last = self._numbered(item)
            self._commit("DELETED", resource, last, before)
            return last

    def since(self, revision: int) -> list[Change]:
        """Commits after a revision, of what history is left."""
        first = bisect_right(self.history, revision, key=lambda each: each.revision)
        return self.history[first:]

    def compact(self) -> None:
        """Forget the history, so that every watch has to list again."""
        with self.lock:
            self.revision += 1
            self.history.clear()
            self.oldest = self.revision
            self.lock.notify_all()

    def new_metadata(self, item: Object) -> Object:
        """A deep copy with the fields that a creation sets."""
        fresh = copy.deepcopy(item)
        fresh["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=self.timestamp())
        return fresh

    def _numbered(self, item: Object) -> Object:
        self.revision += 1
        changed = copy.deepcopy(item)
        changed["metadata"]["resourceVersion"] = str(self.revision)
        return changed

    def _commit(self, kind: str, resource: Resource, item: Object, before: Object | None) -> None:
        change = Change(self.revision, kind, resource, item, before)
        self.history.append(change)
        self.lock.notify_all()
        for listener in list(self.listeners):
            listener(change)


def same_content(one: Object, other: Object) -> bool:
    """Equal but for the resource version and the times of managed fields."""
    return _content(one) == _content(other)


def _content(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    managed: list[dict[str, Any]] = metadata.get("managedFields") or []
    metadata["managedFields"] = [
        {key: value for key, value in entry.items() if key != "time"} for entry in managed
    ]
    return {**item, "metadata": metadata}

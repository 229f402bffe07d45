"""Deletion: preconditions, finalizers, graceful pods, and the garbage collector."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.kube.errors import Object, conflict
from tests.kube.resources import Resource
from tests.kube.storage import Store, key_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass
class Collector:
    """Deletes what lost its owners.

    `enabled`: False holds every dependent back, as a stopped controller manager does.
    `graceful`: pods on a node wait for a kubelet to confirm; without one they end at once.
    """

    store: Store
    enabled: bool = True
    graceful: bool = False

    def delete(self, resource: Resource, item: Object, options: Mapping[str, Any]) -> Object:
        """The object as it stands afterwards: gone, or marked as being deleted."""
        with self.store.lock:
            check_preconditions(resource, item, options.get("preconditions") or {})
            marked = self._marked(resource, item, options)
            waits = marked["metadata"].get("finalizers") or self._waits(resource, marked, options)
            commit = self.store.put if waits else self.store.drop
            left = commit(resource, marked)
            self.collect()
            return left

    def collect(self) -> None:
        """Run until nothing changes any more."""
        while self.enabled and self._collect_once():
            pass

    def _marked(self, resource: Resource, item: Object, options: Mapping[str, Any]) -> Object:
        marked = copy.deepcopy(item)
        metadata = marked["metadata"]
        policy = options.get("propagationPolicy") or default_policy(resource, options)
        finalizers: list[str] = list(metadata.get("finalizers") or ())
        wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(policy)
        if wanted and wanted not in finalizers and self._has_work(item, policy):
            finalizers.append(wanted)
        if finalizers:
            metadata["finalizers"] = finalizers
        metadata.setdefault("deletionTimestamp", self.store.timestamp())
        grace = options.get("gracePeriodSeconds")
        pod_grace = item.get("spec", {}).get("terminationGracePeriodSeconds", 0)
        usual = pod_grace if resource.plural == "pods" and self.graceful else 0
        metadata["deletionGracePeriodSeconds"] = usual if grace is None else grace
        return marked

    def _has_work(self, item: Object, policy: str) -> bool:
        return policy == "Foreground" or any(True for _ in self._dependents(item))

    def _waits(self, resource: Resource, marked: Object, options: Mapping[str, Any]) -> bool:
        on_a_node = bool(marked.get("spec", {}).get("nodeName"))
        ended = marked.get("status", {}).get("phase") in ("Succeeded", "Failed")
        grace = marked["metadata"]["deletionGracePeriodSeconds"]
        return resource.plural == "pods" and self.graceful and on_a_node and not ended and grace > 0

    def _dependents(self, owner: Object) -> Iterator[tuple[Resource, Object, Object]]:
        """(resource, object, its reference to the owner)"""
        uid = owner["metadata"]["uid"]
        for resource, item in self.store.everything():
            for reference in item["metadata"].get("ownerReferences") or ():
                if reference["uid"] == uid:
                    yield resource, item, reference

    def _collect_once(self) -> bool:
        held = self.store.everything()
        alive = {item["metadata"]["uid"] for _, item in held}
        for resource, item in held:
            finalizers = item["metadata"].get("finalizers") or ()
            deleted = "deletionTimestamp" in item["metadata"]
            if deleted and not finalizers and not self._stays(resource, item):
                self.store.drop(resource, item)
                return True
            if deleted and FOREGROUND in finalizers and self._foreground(resource, item):
                return True
            if deleted and ORPHAN in finalizers:
                self._release(resource, item)
                return True
            owners = item["metadata"].get("ownerReferences") or ()
            if owners and not deleted and not any(each["uid"] in alive for each in owners):
                self.delete(resource, item, {"propagationPolicy": "Background"})
                return True
        return False

    def _stays(self, resource: Resource, item: Object) -> bool:
        return self._waits(resource, item, {})

    def _foreground(self, resource: Resource, item: Object) -> bool:
        """Delete what blocks the owner; take its finalizer away when nothing does."""
        blocking = False
        for kind, dependent, reference in list(self._dependents(item)):
            if "deletionTimestamp" not in dependent["metadata"]:
                self.delete(kind, dependent, {"propagationPolicy": "Foreground"})
                return True
            blocking = blocking or bool(reference.get("blockOwnerDeletion"))
        if not blocking:
            self._without(resource, item, FOREGROUND)
        return not blocking

    def _release(self, resource: Resource, owner: Object) -> None:
        for kind, dependent, reference in list(self._dependents(owner)):
            freed = copy.deepcopy(dependent)
            freed["metadata"]["ownerReferences"].remove(reference)
            self.store.put(kind, freed)
        self._without(resource, owner, ORPHAN)

    def _without(self, resource: Resource, item: Object, finalizer: str) -> None:
        freed = copy.deepcopy(item)
        freed["metadata"]["finalizers"].remove(finalizer)
        if not freed["metadata"]["finalizers"]:
            del freed["metadata"]["finalizers"]
        self.store.put(resource, freed)

    def finalized(self, resource: Resource, item: Object) -> Object:
        """After a write: an object whose last finalizer went away goes too."""
        metadata = item["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            held = self.store.find(resource, *key_of(item))
            if held is not None and not self._stays(resource, item):
                item = self.store.drop(resource, item)
            self.collect()
        return item


def default_policy(resource: Resource, options: Mapping[str, Any]) -> str:
    """Jobs orphan their pods when nothing is said, for reasons of history."""
    if options.get("orphanDependents") is not None:
        return "Orphan" if options["orphanDependents"] else "Background"
    return "Orphan" if resource.full_name == "jobs.batch" else "Background"


def check_preconditions(resource: Resource, item: Object, wanted: Mapping[str, str]) -> None:
    metadata = item["metadata"]
    for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(field) not in (None, metadata[field]):
            raise conflict(
                resource,
                metadata["name"],
                f"Precondition failed: {label} in precondition: {wanted[field]}, "
                f"{label} in object meta: {metadata[field]}",
            )

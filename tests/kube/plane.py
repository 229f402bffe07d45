"""What scripted controllers and kubelets need from a control plane, and the double's answer.

Everything that plays a scenario goes through `Plane`, so that a real control plane can take
the double's place: its implementation would use a client instead of the store.
"""

from collections.abc import Callable
from typing import Protocol

from tests.kube.api_server import ApiServer
from tests.kube.errors import Object
from tests.kube.logs import wait_for
from tests.kube.portforward import Address
from tests.kube.storage import Change, key_of, timestamp


class Plane(Protocol):
    """Kinds are named as in `kubectl get`: pods, deployments.apps, …"""

    def now(self) -> float: ...
    def timestamp(self) -> str: ...
    def serves(self, kind: str) -> bool: ...
    def find(self, kind: str, namespace: str, name: str) -> Object | None: ...
    def all(self, kind: str, namespace: str = "") -> list[Object]: ...
    def create(self, manifest: Object) -> Object: ...
    def change(self, kind: str, before: Object, after: Object) -> Object: ...
    def delete(self, kind: str, item: Object, grace_s: int | None = None) -> None: ...
    def log(self, pod: Object, container: str, lines: tuple[str, ...]) -> None: ...
    def log_ends(self, pod: Object, container: str, restarts: bool) -> None: ...
    def forget_log(self, pod: Object) -> None: ...
    def forward(self, pod: Object, address: Address) -> None: ...
    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool: ...
    def listen(self, saw: Callable[[str, str, Object], None]) -> None: ...


class Double:
    """The plane of an API server inside this process."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.store = server.store
        server.collector.graceful = True  # from now on a kubelet ends pods

    def now(self) -> float:
        return self.store.now()

    def timestamp(self) -> str:
        return timestamp(self.store.now())

    def serves(self, kind: str) -> bool:
        return any(each.full_name == kind for each in self.server.served)

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.store.find(self.server.resource(kind), namespace, name)

    def all(self, kind: str, namespace: str = "") -> list[Object]:
        return self.store.all(self.server.resource(kind), namespace)

    def create(self, manifest: Object) -> Object:
        return self.server.add(manifest)

    def change(self, kind: str, before: Object, after: Object) -> Object:
        """Commit `after` over the present state; what has gone meanwhile stays gone."""
        resource = self.server.resource(kind)
        with self.store.lock:
            held = self.store.find(resource, *key_of(before))
            if held is None or held["metadata"]["uid"] != before["metadata"]["uid"]:
                return after
            kept = ("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields")
            metadata = {**after["metadata"]}
            for name in kept:
                if name in held["metadata"]:
                    metadata[name] = held["metadata"][name]
            spec_changed = after.get("spec") != held.get("spec")
            metadata["generation"] = held["metadata"].get("generation", 1) + spec_changed
            if kind in ("events",):
                metadata.pop("generation")
            written = self.store.put(resource, {**after, "metadata": metadata})
            return self.server.collector.finalized(resource, written)

    def delete(self, kind: str, item: Object, grace_s: int | None = None) -> None:
        resource = self.server.resource(kind)
        with self.store.lock:
            held = self.store.find(resource, *key_of(item))
            if held is None:
                return
            options = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
            self.server.collector.delete(resource, held, options)

    def log(self, pod: Object, container: str, lines: tuple[str, ...]) -> None:
        namespace, name = key_of(pod)
        self.server.logs.append(namespace, name, container, *lines)

    def log_ends(self, pod: Object, container: str, restarts: bool) -> None:
        namespace, name = key_of(pod)
        self.server.logs.end(namespace, name, container)
        if restarts:
            self.server.logs.restart(namespace, name, container)

    def forget_log(self, pod: Object) -> None:
        self.server.logs.forget(*key_of(pod))

    def forward(self, pod: Object, address: Address) -> None:
        """Every port-forward to that pod ends at the address."""
        namespace, name = key_of(pod)
        self.server.forwards[namespace, name, 0] = address

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        return wait_for(condition, self.store, timeout_s)

    def listen(self, saw: Callable[[str, str, Object], None]) -> None:
        def told(change: Change) -> None:
            saw(change.type, change.resource.full_name, change.object)

        self.store.listeners.append(told)

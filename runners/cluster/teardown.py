"""Remove what a run created, and see that it is gone. Only objects with our run label."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runners.cluster.api import (
    ApiError,
    Connection,
    Object,
    listed,
    path_of,
    request,
)
from runners.cluster.apply import owner_of
from runners.cluster.seen import Goal, name_of, uid_of
from runners.render.metadata import MANAGED_BY, RUN_LABEL

DEADLINE_S = 180.0
_LOOK_S = 0.5
# In the order of removal: what owns pods first, then what they used.
OURS = (
    ("InferenceService", "serving.kserve.io/v1beta1"),
    ("LLMInferenceService", "serving.kserve.io/v1alpha2"),
    ("LLMInferenceService", "serving.kserve.io/v1alpha1"),
    ("Job", "batch/v1"),
    ("ServingRuntime", "serving.kserve.io/v1alpha1"),
    ("Service", "v1"),
    ("ConfigMap", "v1"),
    ("Secret", "v1"),
    ("ServiceAccount", "v1"),
)
_CHILDREN = ("Deployment", "ReplicaSet", "Pod")


@dataclass(frozen=True)
class Leftover:
    """An object that is still there; why: what holds it, where it is told."""

    kind: str
    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}{f' ({self.why})' if self.why else ''}"


def remove(
    connection: Connection, run: str, goals: Sequence[Goal] = (), deadline_s: float = DEADLINE_S
) -> list[Leftover]:
    """Delete every object of a run, foreground, and wait until none is left.

    run: the value of our run label. goals: services whose children are waited for as well.
    Returns what is left at the deadline; raises ApiError when the API server stops answering.
    """
    clock = connection.clock
    give_up = clock.now() + deadline_s
    asked: set[str] = set()
    while True:
        own = list(objects_of(connection, run))
        for each in own:
            if uid_of(each) not in asked:
                _delete(connection, each)
                asked.add(uid_of(each))
        left = [_leftover(each) for each in own] + list(_children(connection, run, goals))
        if not left or clock.now() > give_up:
            return left
        clock.sleep(_LOOK_S)


def objects_of(connection: Connection, run: str | None) -> Iterator[Object]:
    """Objects of ours with a run's label, or of every run; kinds not served or seen are skipped."""
    selector = f"app.kubernetes.io/managed-by={MANAGED_BY}"
    if run is not None:
        selector += f",{RUN_LABEL}={run}"
    seen: set[str] = set()
    for kind, version in OURS:
        try:
            found = listed(connection, kind, selector, version=version)
        except ApiError as error:
            if error.status in (403, 404):
                continue
            raise
        for each in found:
            # Children inherit labels; they go with their owner. The check is the promise.
            if owner_of(each) is None or _is_owned(each) or uid_of(each) in seen:
                continue
            seen.add(uid_of(each))
            yield {"apiVersion": version, "kind": kind, **each}


def _is_owned(each: Object) -> bool:
    return any(owner.get("controller") for owner in each["metadata"].get("ownerReferences") or ())


def _delete(connection: Connection, each: Object) -> None:
    """Foreground, and only this very object: a new one of the same name stays."""
    path = path_of(connection, each["kind"], name_of(each), version=each["apiVersion"])
    body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": uid_of(each)},
    }
    try:
        request(connection, "delete", path, body=body, content_type="application/json")
    except ApiError as error:
        if error.status not in (404, 409):
            raise


def _leftover(each: Object) -> Leftover:
    metadata = each["metadata"]
    held = ", ".join(metadata.get("finalizers") or ())
    why = f"held by finalizer {held}" if metadata.get("deletionTimestamp") and held else ""
    return Leftover(each["kind"], name_of(each), why)


def _children(connection: Connection, run: str, goals: Sequence[Goal]) -> Iterator[Leftover]:
    selectors = [f"{RUN_LABEL}={run}", *(goal.selector for goal in goals)]
    found: dict[tuple[str, str], Leftover] = {}
    for kind in _CHILDREN:
        for selector in selectors:
            try:
                for each in listed(connection, kind, selector):
                    found[kind, name_of(each)] = Leftover(kind, name_of(each))
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
    yield from found.values()


def removal_command(connection: Connection, run: str) -> str:
    """What a person types to remove the rest by hand."""
    context = f" --context {connection.context}" if connection.context else ""
    kinds = dict.fromkeys(
        f"{kind.lower()}.{group}" if (group := version.rpartition("/")[0]) else kind.lower()
        for kind, version in OURS
    )
    return (
        f"kubectl{context} -n {connection.namespace} delete {','.join(kinds)} "
        f"-l {RUN_LABEL}={run} --ignore-not-found"
    )


def told_leftovers(connection: Connection, run: str, left: Iterable[Leftover]) -> str:
    """One line: what is left and the command for it."""
    names = ", ".join(map(str, left))
    return f"still there: {names}; remove with: {removal_command(connection, run)}"

"""Watches: from a resource version on, with bookmarks, expiry and a deadline."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.kube.errors import Object, StatusError, expired
from tests.kube.resources import Resource
from tests.kube.selectors import Matches
from tests.kube.storage import Change, Store

CHECK_S = 0.5


@dataclass(frozen=True)
class Watch:
    """One watch request. timeout_s: real seconds after which the server ends it."""

    resource: Resource
    namespace: str
    matches: Matches
    since: str = ""
    bookmarks: bool = False
    timeout_s: float = 1800.0
    initial_bookmark: bool = False
    bookmark_every_s: float = 60.0


def too_old(since: int, oldest: int) -> StatusError:
    return expired(f"too old resource version: {since} ({oldest})")


def events(
    store: Store, watch: Watch, stopped: Callable[[], bool], show: Callable[[Object], Object]
) -> Iterator[Object | None]:
    """Events to send. None every half second of silence: time to see whether anyone listens.

    `show` gives an object the API version that was asked for.
    """
    deadline = time.monotonic() + watch.timeout_s
    next_bookmark = time.monotonic() + watch.bookmark_every_s
    with store.lock:
        from_now = watch.since in ("", "0")
        position = store.revision if from_now else int(watch.since)
        present = store.all(watch.resource, watch.namespace) if from_now else []
    yield from initial(watch, present, position, show)
    while not stopped():
        if position < store.oldest:
            yield {"type": "ERROR", "object": too_old(position, store.oldest).body()}
            return
        fresh, position = wait_for_changes(store, position, min(deadline, next_bookmark))
        for change in fresh:
            event = seen(watch, change)
            if event is not None:
                yield {"type": event[0], "object": show(event[1])}
        over = time.monotonic() >= deadline
        if watch.bookmarks and (over or time.monotonic() >= next_bookmark):
            next_bookmark = time.monotonic() + watch.bookmark_every_s
            yield bookmark(watch.resource, position, {})
        if over:
            return
        yield None


def initial(
    watch: Watch, present: list[Object], position: int, show: Callable[[Object], Object]
) -> Iterator[Object]:
    """The state at the start of a watch that names no version."""
    for item in present:
        if watch.matches(item):
            yield {"type": "ADDED", "object": show(item)}
    if watch.initial_bookmark:
        yield bookmark(watch.resource, position, {"k8s.io/initial-events-end": "true"})


def wait_for_changes(store: Store, position: int, until: float) -> tuple[list[Change], int]:
    """Changes after `position`, waiting for some until then but not for longer than CHECK_S."""
    with store.lock:
        if store.revision == position:
            store.lock.wait(max(min(CHECK_S, until - time.monotonic()), 0.0))
        if position < store.oldest:
            return [], position
        return store.since(position), store.revision


def seen(watch: Watch, change: Change) -> tuple[str, Object] | None:
    """A change as this watch sees it: entering its selection is ADDED, leaving it DELETED."""
    if change.resource.full_name != watch.resource.full_name:
        return None
    if watch.namespace and change.object["metadata"].get("namespace") != watch.namespace:
        return None
    before = change.before is not None and watch.matches(change.before)
    now = watch.matches(change.object) and change.type != "DELETED"
    if before and now:
        return "MODIFIED", change.object
    if now:
        return "ADDED", change.object
    return ("DELETED", change.object) if before else None


def bookmark(resource: Resource, position: int, annotations: dict[str, str]) -> Object:
    metadata: Object = {"resourceVersion": str(position), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    item = {"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata}
    return {"type": "BOOKMARK", "object": item}

"""Watches: one thread per kind follows the API server; one queue holds what it told.

A watch ends every minute by itself and goes on from the last resourceVersion. When that is
too old (410 Gone) the kind is listed again, and the list replaces what was known of it.
"""

import json
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from runners.cluster.api import ApiError, Connection, Object, lines, path_of, request, stream

# Bookmarks come once a minute: a longer silence is a dead connection.
_WATCH_S = 60
_SILENCE_S = 75.0
_LONGEST_PAUSE_S = 5.0
_SLICE_S = 0.05


@dataclass(frozen=True)
class Wanted:
    """A kind to follow; version: where it is not the usual one of that kind."""

    kind: str
    selector: str | None = None
    version: str | None = None
    fields: str | None = None


@dataclass(frozen=True)
class Change:
    """What the API server told, or that it does not.

    type: of a watch; LISTED: `object["items"]` is all there is; TROUBLE: `error` says why
    nothing is known since; RECOVERED: it is again. at_s: on the connection's clock.
    """

    kind: str
    type: Literal["ADDED", "MODIFIED", "DELETED", "LISTED", "TROUBLE", "RECOVERED"]
    at_s: float
    object: Object = field(default_factory=dict)
    error: ApiError | None = None


class Watches:
    """Follows kinds while the context is open; `next` hands out changes in order of arrival."""

    def __init__(self, connection: Connection, wanted: Sequence[Wanted]) -> None:
        self.connection = connection
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._open: dict[str, Any] = {}
        self._threads = [
            threading.Thread(
                target=self._follow, args=(each,), name=f"watch {each.kind}", daemon=True
            )
            for each in wanted
        ]

    def __enter__(self) -> "Watches":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for response in list(self._open.values()):
            # Wakes the thread that reads it; it may have ended by itself meanwhile.
            with suppress(Exception):
                response.shutdown()
        for thread in self._threads:
            thread.join(2.0)

    def next(self, timeout_s: float) -> Change | None:
        """The next change; None when none came in time (real seconds)."""
        try:
            return self._changes.get(block=timeout_s > 0, timeout=timeout_s or None)
        except queue.Empty:
            return None

    def _put(self, change: Change) -> None:
        if not self._stop.is_set():
            self._changes.put(change)

    def _follow(self, wanted: Wanted) -> None:
        version: str | None = None
        troubled = False
        pause_s = 0.25
        while not self._stop.is_set():
            try:
                if version is None:
                    version = self._list(wanted)
                response = self._watch(wanted, version)
                if troubled:
                    self._put(Change(wanted.kind, "RECOVERED", self.connection.clock.now()))
                troubled, pause_s = False, 0.25
                version = self._read(wanted, response, version)
            except ApiError as error:
                if error.status == 410:
                    version = None
                    continue
                now = self.connection.clock.now()
                self._put(Change(wanted.kind, "TROUBLE", now, error=error))
                troubled = True
                self._pause(error.retry_after_s or pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        """Let time pass on the connection's clock, but no longer than the context is open."""
        clock = self.connection.clock
        until = clock.now() + seconds
        while clock.now() < until and not self._stop.wait(_SLICE_S):
            pass

    def _list(self, wanted: Wanted) -> str:
        """Tell all there is; returns the version to watch from. Raises ApiError."""
        path = path_of(self.connection, wanted.kind, version=wanted.version)
        answer = request(self.connection, "get", path, query=_query(wanted), patience_s=0.0)
        self._put(Change(wanted.kind, "LISTED", self.connection.clock.now(), answer))
        return str((answer.get("metadata") or {}).get("resourceVersion") or "0")

    def _watch(self, wanted: Wanted, version: str) -> Any:
        query = [
            *_query(wanted),
            ("watch", "true"),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(_WATCH_S)),
        ]
        path = path_of(self.connection, wanted.kind, version=wanted.version)
        return stream(self.connection, path, query, _SILENCE_S)

    def _read(self, wanted: Wanted, response: Any, version: str) -> str:
        """Hand on what a watch tells until it ends; returns the version to go on from.

        Raises ApiError for an ERROR event; a connection that breaks only ends the watch.
        """
        self._open[wanted.kind] = response
        try:
            for line in lines(response):
                event = json.loads(line)
                told = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(
                        told.get("code", 500), told.get("reason", ""), told.get("message", "")
                    )
                version = told["metadata"].get("resourceVersion", version)
                if event["type"] != "BOOKMARK":
                    now = self.connection.clock.now()
                    self._put(Change(wanted.kind, event["type"], now, told))
        except (ApiError, ValueError) as error:
            if isinstance(error, ApiError) and error.status is not None:
                raise
        finally:
            self._open.pop(wanted.kind, None)
            response.close()
            response.release_conn()
        return version


def _query(wanted: Wanted) -> list[tuple[str, str]]:
    selectors = (("labelSelector", wanted.selector), ("fieldSelector", wanted.fields))
    return [(key, value) for key, value in selectors if value]

"""When each pod reached each milestone of its start, and the phases between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runners.cluster.api import Object
from runners.cluster.seen import (
    engine_container,
    engine_status,
    event_time,
    involved,
    is_true,
    name_of,
    statuses,
)
from runners.cluster.watch import Change

# In the order in which a pod goes through them; a phase is named for the milestone it ends at.
MILESTONES = (
    "created",
    "scheduled",
    "initializer image pulled",
    "model downloaded",
    "image pulled",
    "container started",
    "weights loaded",
    "ready",
)
_LATE_S = 3.0


@dataclass(frozen=True)
class Phase:
    """A part of start-up, seconds on the connection's clock."""

    name: str
    start_s: float
    end_s: float


@dataclass
class Timeline:
    """Milestones of pods as they are first seen; missed ones by the server's stamps.

    The server's stamps are whole seconds of another clock; they are used only for what was
    seen late, after an outage, by the least lag ever seen between the two clocks.
    """

    started_s: float
    pods: dict[str, dict[str, float]] = field(default_factory=dict)
    _lag_s: float | None = None

    def take(self, change: Change, pods: Sequence[Object]) -> None:
        """Note what a change tells of the pods as they are now."""
        if change.kind == "Event" and change.type in ("ADDED", "MODIFIED", "LISTED"):
            told = change.object.get("items") if change.type == "LISTED" else [change.object]
            for event in told or ():
                self._pulled(event, pods, change.at_s)
        if change.kind == "Pod":
            for pod in pods:
                for name, stamp in reached(pod):
                    self._note(name_of(pod), name, change.at_s, stamp)

    def _pulled(self, event: Object, pods: Sequence[Object], at_s: float) -> None:
        if event.get("reason") != "Pulled":
            return
        about = involved(event)
        for pod in pods:
            container = (engine_container(pod) or {}).get("name")
            if about.get("name") == name_of(pod) and about.get("fieldPath") == (
                f"spec.containers{{{container}}}"
            ):
                self._note(name_of(pod), "image pulled", at_s, event_time(event))

    def _note(self, pod: str, milestone: str, at_s: float, stamp: str | None) -> None:
        known = self.pods.setdefault(pod, {})
        if milestone in known:
            return
        known[milestone] = at_s
        if stamp and (unix := _seconds(stamp)) is not None:
            lag = at_s - unix
            self._lag_s = lag if self._lag_s is None else min(lag, self._lag_s)
            if lag - self._lag_s > _LATE_S:
                known[milestone] = unix + self._lag_s

    def phases(self, pods: Sequence[str], count: int) -> list[Phase]:
        """Phases until `count` of the pods had reached each milestone, in order of time.

        A milestone that fewer reached (no initializer, no event of a pull) is left out.
        """
        known = [self.pods.get(pod, {}) for pod in pods]
        ends: list[tuple[float, str]] = []
        for name in MILESTONES:
            times = sorted(each[name] for each in known if name in each)
            if count and len(times) >= count:
                ends.append((times[count - 1], name))
        found, since = [], self.started_s
        for end, name in sorted(ends, key=lambda each: (each[0], MILESTONES.index(each[1]))):
            found.append(Phase(name, since, max(since, end)))
            since = max(since, end)
        return found


def reached(pod: Object) -> list[tuple[str, str | None]]:
    """(milestone, the server's stamp of it) that a pod's status shows."""
    found: list[tuple[str, str | None]] = [("created", pod["metadata"].get("creationTimestamp"))]
    if is_true(pod, "PodScheduled"):
        found.append(("scheduled", _transition(pod, "PodScheduled")))
    init = [status for is_init, status in statuses(pod) if is_init]
    if init:
        states = [status.get("state") or {} for status in init]
        begun = [s.get("running") or s.get("terminated") for s in states]
        if any(begun):
            first = next(each for each in begun if each)
            found.append(("initializer image pulled", first.get("startedAt")))
        ended = [s.get("terminated") or {} for s in states]
        if all(each.get("exitCode") == 0 for each in ended):
            found.append(("model downloaded", ended[-1].get("finishedAt")))
    status = engine_status(pod)
    running: dict[str, Any] | None = (status.get("state") or {}).get("running")
    if running is not None:
        found.append(("container started", running.get("startedAt")))
        if status.get("started"):
            found.append(("weights loaded", None))
        if is_true(pod, "Ready"):
            found.append(("ready", _transition(pod, "Ready")))
    return found


def _transition(pod: Object, kind: str) -> str | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    found = (each for each in conditions if each.get("type") == kind)
    return next((each.get("lastTransitionTime") for each in found), None)


def _seconds(stamp: str) -> float | None:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None

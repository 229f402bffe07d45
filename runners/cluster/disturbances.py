"""What happens to the served model while it is measured: restarts, scaling, roll-outs, deletion."""

import _thread
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from runners.cluster.api import Object
from runners.cluster.causes import Failure, failure
from runners.cluster.seen import Seen, engine_container, is_true, name_of, statuses
from runners.cluster.symptoms import ending
from runners.cluster.watch import Watches

_LOOK_S = 0.25
_OUTAGE_S = 5.0

# kind of a disturbance → what it does to the figures.
KINDS = {
    "deleted": "invalid",
    "restarted": "invalid",
    "pod lost": "invalid",
    "pod added": "degraded",
    "rolled out": "invalid",
    "not ready": "degraded",
    "api outage": "none",
}


class Disturbances:
    """Follows the watches on while the context is open; it never raises into the run.

    found: one dict per disturbance: unix_s, kind and level (see KINDS), text. When the service
    itself is deleted there is nothing left to measure: the main thread is interrupted, once.
    """

    def __init__(self, watches: Watches, seen: Seen, found: list[dict[str, Any]]) -> None:
        self._watches, self._seen, self.found = watches, seen, found
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disturbances", daemon=True)
        self._told: set[tuple[str, str]] = set()
        self._before = _snapshot(seen)
        self.fatal: Failure | None = None

    def __enter__(self) -> "Disturbances":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        clock = self._watches.connection.clock
        while not self._stop.is_set():
            change = self._watches.next(_LOOK_S)
            while change is not None:
                self._seen.take(change)
                if change.kind != "Event":
                    self._look(clock.unix())
                change = self._watches.next(0.0)
            self._look_for_outage(clock.now(), clock.unix())

    def _look(self, unix_s: float) -> None:
        after = _snapshot(self._seen)
        for kind, text in _differences(self._before, after):
            self._tell(unix_s, kind, text)
        self._before = after
        if self._seen.gone and self.fatal is None:
            goal = self._seen.goal
            self.fatal = failure("deleted", kind=goal.kind, service=goal.service)
            self._tell(unix_s, "deleted", self.fatal.text)
            _thread.interrupt_main()

    def _tell(self, unix_s: float, kind: str, text: str) -> None:
        at = round(unix_s, 3)
        self.found.append({"unix_s": at, "kind": kind, "level": KINDS[kind], "text": text})

    def _look_for_outage(self, now_s: float, unix_s: float) -> None:
        for kind, trouble in list(self._seen.trouble.items()):
            key = (kind, f"{trouble.since_s}")
            if now_s - trouble.since_s < _OUTAGE_S or key in self._told:
                continue
            self._told.add(key)
            text = f"the API server told nothing about {kind} any more: {trouble.error}"
            self._tell(unix_s, "api outage", text)


def _snapshot(seen: Seen) -> dict[str, Any]:
    """What matters of the picture, by pod and Deployment."""
    return {
        "pods": {name_of(pod): _pod(pod) for pod in seen.pods},
        "templates": {
            name_of(each): _template(each) for each in seen.deployments if each.get("spec")
        },
    }


def _pod(pod: Object) -> dict[str, Any]:
    return {
        "restarts": {status["name"]: status.get("restartCount", 0) for _, status in statuses(pod)},
        "why": {status["name"]: ending(status) for _, status in statuses(pod)},
        "ready": is_true(pod, "Ready"),
        "engine": (engine_container(pod) or {}).get("name"),
    }


def _template(deployment: Object) -> str:
    """The pods' description; a change of it is a roll-out, a change of replicas is not."""
    return repr((deployment["spec"].get("template") or {}).get("spec"))


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in before["pods"].keys() - after["pods"].keys():
        yield "pod lost", f"pod {name} went away during the load"
    for name in after["pods"].keys() - before["pods"].keys():
        yield "pod added", f"pod {name} was added during the load"
    for name, now in after["pods"].items():
        was = before["pods"].get(name)
        if was is None:
            continue
        for container, count in now["restarts"].items():
            if count > was["restarts"].get(container, 0):
                why = f" ({now['why'][container]})" if now["why"].get(container) else ""
                yield "restarted", f"container {container} of pod {name} was restarted{why}"
        if was["ready"] and not now["ready"]:
            yield "not ready", f"pod {name} stopped being ready during the load"
    for name, template in after["templates"].items():
        if before["templates"].get(name, template) != template:
            yield "rolled out", f"Deployment {name} was changed and rolled out during the load"

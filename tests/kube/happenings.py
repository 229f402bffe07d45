"""Event objects as the scheduler, the kubelet and the controllers write them."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.kube.errors import Object
from tests.kube.plane import Plane


@dataclass(frozen=True)
class Happening:
    """type: Normal or Warning. container: of which the event speaks, if of one."""

    reason: str
    message: str
    type: str = "Normal"
    component: str = "kubelet"
    container: str = ""
    init: bool = False


def record(plane: Plane, about: Object, what: Happening) -> None:
    """Write it, or count the same event again as an event recorder does.

    The scheduler writes the newer form: eventTime, no counts and no first and last time.
    """
    metadata = about["metadata"]
    for known in plane.all("events", metadata["namespace"]):
        same = known["involvedObject"]["uid"] == metadata["uid"]
        if same and (known["reason"], known["message"]) == (what.reason, what.message):
            plane.change("events", known, again(plane, known))
            return
    involved = {
        "kind": about["kind"],
        "apiVersion": about["apiVersion"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
    if what.container:
        field = "initContainers" if what.init else "containers"
        involved["fieldPath"] = f"spec.{field}{{{what.container}}}"
    event: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{secrets.token_hex(8)}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": involved,
        "reason": what.reason,
        "message": what.message,
        "type": what.type,
        "reportingComponent": what.component,
    }
    plane.create({**event, **stamps(plane, about, what)})


def stamps(plane: Plane, about: Object, what: Happening) -> Object:
    if what.component == "default-scheduler":
        return {
            "eventTime": micro_time(plane.now()),
            "action": "Scheduling",
            "firstTimestamp": None,
            "lastTimestamp": None,
            "reportingInstance": "default-scheduler-control-plane",
            "source": {},
        }
    source = {"component": what.component}
    host = about.get("spec", {}).get("nodeName")
    if what.component == "kubelet" and host:
        source["host"] = host
    return {
        "eventTime": None,
        "firstTimestamp": plane.timestamp(),
        "lastTimestamp": plane.timestamp(),
        "count": 1,
        "reportingInstance": host or "",
        "source": source,
    }


def again(plane: Plane, known: Object) -> Object:
    if known.get("eventTime"):
        count = known.get("series", {}).get("count", 1) + 1
        series = {"count": count, "lastObservedTime": micro_time(plane.now())}
        return {**known, "series": series}
    return {**known, "count": known["count"] + 1, "lastTimestamp": plane.timestamp()}


def micro_time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

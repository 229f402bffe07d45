"""What is known of one service in the cluster: a picture kept up to date by changes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runners.cluster.api import ApiError, Object
from runners.cluster.watch import Change, Wanted

ENGINE_CONTAINERS = ("kserve-container", "main", "worker-container")
SERVICE_LABEL = "serving.kserve.io/inferenceservice"


@dataclass(frozen=True)
class Goal:
    """The service that is waited for.

    kind: InferenceService or LLMInferenceService; version: the apiVersion to follow it under,
    where it is not the usual one. pods: how many have to be ready; 0 where
    it may be scaled to zero. uid: of the object that was created; None: whichever is there.
    timeout_s: from started_s, both on the connection's clock. before: names of pods of an
    earlier start, which prove nothing about this one.
    """

    service: str
    kind: str = "InferenceService"
    version: str | None = None
    mode: str = "Standard"
    pods: int = 1
    uid: str | None = None
    started_s: float = 0.0
    timeout_s: float = 1800.0
    uri: str = "the model"
    before: frozenset[str] = frozenset()

    @property
    def selector(self) -> str:
        """Labels of everything that KServe makes for it."""
        if self.kind == "LLMInferenceService":
            part = "app.kubernetes.io/part-of=llminferenceservice"
            return f"app.kubernetes.io/name={self.service},{part}"
        return f"{SERVICE_LABEL}={self.service}"

    def wanted(self) -> list[Wanted]:
        """What to watch."""
        return [
            Wanted(self.kind, version=self.version, fields=f"metadata.name={self.service}"),
            Wanted("Deployment", self.selector),
            Wanted("ReplicaSet", self.selector),
            Wanted("Pod", self.selector),
            Wanted("Event"),
        ]


@dataclass
class Trouble:
    """A kind that is not heard of since `since_s`."""

    since_s: float
    error: ApiError


@dataclass
class Seen:
    """Objects by kind and name, as last told; `gone`: the service was there and is not."""

    goal: Goal
    kinds: dict[str, dict[str, Object]] = field(default_factory=dict)
    trouble: dict[str, Trouble] = field(default_factory=dict)
    gone: bool = False

    def take(self, change: Change) -> None:
        """Bring the picture up to date."""
        if change.type == "TROUBLE":
            assert change.error is not None
            known = self.trouble.get(change.kind)
            since = known.since_s if known else change.at_s
            self.trouble[change.kind] = Trouble(since, change.error)
            return
        self.trouble.pop(change.kind, None)
        if change.type == "RECOVERED":
            return
        objects = self.kinds.setdefault(change.kind, {})
        if change.type == "LISTED":
            objects.clear()
            for item in change.object.get("items") or ():
                if self._concerns_us(change.kind, item):
                    objects[name_of(item)] = item
        elif not self._concerns_us(change.kind, change.object):
            return
        elif change.type == "DELETED":
            objects.pop(name_of(change.object), None)
        else:
            objects[name_of(change.object)] = change.object
        if change.kind == self.goal.kind:
            self._notice_deletion(change)

    def _concerns_us(self, kind: str, item: Object) -> bool:
        """Events cannot be selected by label; those of others would pile up for hours."""
        about = str(involved(item).get("name") or "") if kind == "Event" else ""
        ours = self.goal.service
        return kind != "Event" or about == ours or about.startswith(f"{ours}-")

    def _notice_deletion(self, change: Change) -> None:
        there = self.kinds[self.goal.kind].get(self.goal.service)
        ours = there is not None and self.goal.uid in (None, uid_of(there))
        if ours:
            self.gone = bool(there and there["metadata"].get("deletionTimestamp"))
        elif change.type != "LISTED" or self.goal.uid is not None:
            self.gone = True

    @property
    def service(self) -> Object | None:
        return self.kinds.get(self.goal.kind, {}).get(self.goal.service)

    @property
    def pods(self) -> list[Object]:
        """The engine's pods of this start that are not on their way out, oldest first."""
        pods = [
            pod
            for name, pod in self.kinds.get("Pod", {}).items()
            if not pod["metadata"].get("deletionTimestamp")
            and engine_container(pod)
            and _label(pod, "component") in (None, "predictor")  # not a transformer's
            and name not in self.goal.before
        ]
        return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    @property
    def deployments(self) -> list[Object]:
        return list(self.kinds.get("Deployment", {}).values())

    def events(self, of: Object | None = None) -> list[Object]:
        """Events about one object, or about all that is ours, oldest first."""
        if of is not None:
            uids = {uid_of(of)}
        else:
            ours = ("Deployment", "ReplicaSet", "Pod", self.goal.kind)
            uids = {uid_of(each) for kind in ours for each in self.kinds.get(kind, {}).values()}
        found = [
            event
            for event in self.kinds.get("Event", {}).values()
            if involved(event).get("uid") in uids
        ]
        return sorted(found, key=event_time)


def _label(item: Object, key: str) -> str | None:
    return (item["metadata"].get("labels") or {}).get(key)


def name_of(item: Object) -> str:
    return str(item["metadata"]["name"])


def uid_of(item: Object) -> str:
    return str(item["metadata"].get("uid"))


def involved(event: Object) -> Object:
    """The object that an event is about."""
    return event.get("involvedObject") or event.get("regarding") or {}


def event_time(event: Object) -> str:
    """When it happened last, as RFC 3339 (which sorts); empty where it does not tell."""
    return str(
        event.get("lastTimestamp")
        or (event.get("series") or {}).get("lastObservedTime")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def event_line(event: Object) -> str:
    """An event as one line of evidence."""
    about = involved(event)
    count = event.get("count") or 1
    often = f" (x{count})" if count > 1 else ""
    text = " ".join(str(event.get("message") or "").split())
    return (
        f"{event_time(event)} {event.get('type', 'Normal')} {event.get('reason', '')} "
        f"{about.get('kind', '')}/{about.get('name', '')}{often}: {text}"
    )


def condition(item: Object | None, kind: str) -> Object:
    """A condition of an object's status; empty where it is not there."""
    conditions = ((item or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def is_true(item: Object | None, kind: str) -> bool:
    return condition(item, kind).get("status") == "True"


def engine_container(pod: Object) -> Object | None:
    """The container of a pod's spec that runs the engine; None: it is no engine's pod."""
    containers = {each["name"]: each for each in pod["spec"].get("containers") or ()}
    return next((containers[name] for name in ENGINE_CONTAINERS if name in containers), None)


def statuses(pod: Object) -> Iterator[tuple[bool, Object]]:
    """(is an init container, its status) of each container that has one."""
    status = pod.get("status") or {}
    for each in status.get("initContainerStatuses") or ():
        yield True, each
    for each in status.get("containerStatuses") or ():
        yield False, each


def engine_status(pod: Object) -> Object:
    """Status of the engine's container; empty before there is one."""
    container = engine_container(pod)
    if container is None:
        return {}
    found = (each for init, each in statuses(pod) if not init and each["name"] == container["name"])
    return next(found, {})


def spec_of(pod: Object, container: str) -> Object:
    """A container's or init container's part of the pod's spec."""
    spec = pod["spec"]
    for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if each["name"] == container:
            return dict(each)
    return {}


def limit(pod: Object, container: str, resource: str) -> Any:
    """A container's limit as written; None where it has none."""
    resources = spec_of(pod, container).get("resources") or {}
    return (resources.get("limits") or {}).get(resource)

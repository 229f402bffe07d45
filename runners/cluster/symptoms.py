"""Symptoms of a service that will not come up: what is seen, and how long it may last.

Each function looks at one thing and yields what is wrong with it now. A symptom becomes
the failure once it has lasted for its grace; what heals within it was none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runners.cluster.api import Object
from runners.cluster.causes import Failure, failure
from runners.cluster.seen import (
    Seen,
    condition,
    engine_container,
    event_line,
    involved,
    limit,
    name_of,
    spec_of,
    statuses,
)

UNSCHEDULABLE_S = 60.0
VOLUME_S = 120.0
PULL_S = 90.0
CONFIG_S = 20.0
SANDBOX_S = 60.0
IDLE_S = 60.0
# A controller that has not yet seen the runtime just applied says so, and then sees it.
RUNTIME_S = 20.0
QUOTA_S = 20.0
# Between the kubelet's decision to kill and the end of the container, when its log is read.
KILLED_S = 45.0
AT_ONCE = 0.0

_FOR_GOOD = re.compile(
    r"not found|manifest unknown|unauthorized|authentication required|denied|forbidden"
    r"|invalid reference|no such host|does not exist|no match for platform",
    re.IGNORECASE,
)
_BEGUN = {"running", "terminated"}
_PULLS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_SPEC_REASONS = ("NoSupportingRuntime", "RuntimeNotRecognized", "RuntimeDisabled",
                 "InvalidPredictorSpec")  # fmt: skip


@dataclass(frozen=True)
class Symptom:
    """A failure to be, once it has lasted for grace_s."""

    failure: Failure
    grace_s: float

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        return self.failure.code, self.failure.subject, self.failure.container


@dataclass(frozen=True)
class Crash:
    """A container that ended while it should run, for the `failures`-th time."""

    pod: str
    container: str
    init: bool
    failures: int
    code: int
    previous: bool

    @property
    def key(self) -> tuple[str, str, int]:
        return self.pod, self.container, self.failures


# What logs said about crashes: the reason, and whether trying again is pointless.
Heard = dict[tuple[str, str, int], tuple[str, bool]]


def symptoms(seen: Seen, heard: Heard) -> Iterator[Symptom]:
    """Everything that is wrong now, the most telling first."""
    yield from _of_the_service(seen)
    for pod in seen.pods:
        events = seen.events(pod)
        yield from _evicted(pod)
        yield from _probes(pod, events, heard)
        yield from _memory(seen, pod)
        yield from _images(pod, events)
        yield from _configuration(pod)
        yield from _crashed(seen, pod, heard)
        yield from _stuck(pod, events)
        yield from _unscheduled(pod, events)
    yield from _refused_pods(seen)


def _of_the_service(seen: Seen) -> Iterator[Symptom]:
    goal, service = seen.goal, seen.service
    if seen.gone:
        yield Symptom(failure("deleted", kind=goal.kind, service=goal.service), AT_ONCE)
        return
    yield from _idle(seen)
    model = ((service or {}).get("status") or {}).get("modelStatus") or {}
    info = model.get("lastFailureInfo") or {}
    if model.get("transitionStatus") == "InvalidSpec" or info.get("reason") in _SPEC_REASONS:
        reason = info.get("reason") or "InvalidSpec"
        said = info.get("message") or condition(service, "PredictorReady").get("message") or reason
        yield Symptom(failure("no-runtime", reason=reason, said=said), RUNTIME_S)
    if goal.kind == "LLMInferenceService":
        presets = condition(service, "PresetsCombined")
        if presets.get("status") == "False":
            reason, said = presets.get("reason", ""), presets.get("message", "")
            yield Symptom(failure("llm-config", reason=reason, said=said), RUNTIME_S)
    if goal.mode == "Knative":
        predictor = condition(service, "PredictorReady")
        given_up = ("ProgressDeadlineExceeded", "RevisionFailed")
        if predictor.get("status") == "False" and predictor.get("reason") in given_up:
            said = predictor.get("message") or predictor["reason"]
            yield Symptom(failure("revision", said=said), AT_ONCE)


def _idle(seen: Seen) -> Iterator[Symptom]:
    """A controller that runs writes a status within a second."""
    if seen.service is not None and not seen.service.get("status") and not seen.deployments:
        goal = seen.goal
        told = failure("no-controller", kind=goal.kind, service=goal.service, seconds=f"{IDLE_S:g}")
        yield Symptom(told, IDLE_S)


def _evicted(pod: Object) -> Iterator[Symptom]:
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        said = f"{status['reason']}: {status.get('message') or 'no reason given'}"
        yield Symptom(failure("evicted", name_of(pod), pod=name_of(pod), said=said), AT_ONCE)


def _probes(pod: Object, events: list[Object], heard: Heard) -> Iterator[Symptom]:
    """The kubelet tells only by events that it was a probe that killed."""
    name = name_of(pod)
    for event in events:
        text = str(event.get("message") or "").lower()
        if event.get("reason") != "Killing" or "probe" not in text:
            continue
        container = str(_container_of(event) or (engine_container(pod) or {}).get("name", ""))
        words = next((words for (who, _, _), (words, _) in heard.items() if who == name), None)
        said, grace = words or "nothing", AT_ONCE if words else KILLED_S
        if "startup" in text:
            probe = spec_of(pod, container).get("startupProbe") or {}
            budget = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
            budget += probe.get("initialDelaySeconds", 0)
            told = failure("startup-probe", name, container, pod=name, budget_s=budget, said=said)
        else:
            told = failure("liveness-probe", name, container, pod=name, said=said)
        yield Symptom(told, grace)


def _container_of(event: Object) -> str | None:
    """The container that an event names by `spec.containers{name}`."""
    found = re.search(r"\{(.+)\}", str(involved(event).get("fieldPath") or ""))
    return found[1] if found else None


def _memory(seen: Seen, pod: Object) -> Iterator[Symptom]:
    name = name_of(pod)
    for init, status in statuses(pod):
        states = (status.get("state") or {}, status.get("lastState") or {})
        if not any((s.get("terminated") or {}).get("reason") == "OOMKilled" for s in states):
            continue
        container = status["name"]
        code = "initializer-out-of-memory" if init else "out-of-memory"
        asked = limit(pod, container, "memory") or "the node's memory"
        told = failure(
            code,
            name,
            container,
            pod=name,
            container=container,
            limit=asked,
            uri=seen.goal.uri,
        )
        yield Symptom(told, AT_ONCE)


def _images(pod: Object, events: list[Object]) -> Iterator[Symptom]:
    name = name_of(pod)
    for _, status in statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in _PULLS:
            continue
        container = status["name"]
        image = spec_of(pod, container).get("image") or status.get("image")
        said = _registry_said(events, container) or waiting.get("message") or waiting["reason"]
        final = waiting["reason"] == "InvalidImageName" or _FOR_GOOD.search(said)
        told = failure("image-pull", name, container, pod=name, image=image, said=said)
        yield Symptom(told, AT_ONCE if final else PULL_S)


def _registry_said(events: list[Object], container: str) -> str | None:
    """The pull's own error, of which the container's status may keep only 'Back-off'."""
    said = [
        str(event.get("message") or "")
        for event in events
        if event.get("reason") in ("Failed", "InspectFailed")
        and _container_of(event) in (container, None)
    ]
    # Not `Error: ImagePullBackOff`, which says nothing.
    telling = [text for text in said if text.startswith("Failed to")]
    return telling[-1] if telling else None


def _configuration(pod: Object) -> Iterator[Symptom]:
    name = name_of(pod)
    for _, status in statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _CONFIG:
            told = failure(
                "container-config", name, status["name"], container=status["name"], pod=name,
                reason=waiting["reason"], said=waiting.get("message") or "no reason given",
            )  # fmt: skip
            yield Symptom(told, CONFIG_S)


def crashes(pod: Object) -> Iterator[Crash]:
    """Containers that ended with an error, or ended though they should serve."""
    for init, status in statuses(pod):
        now = (status.get("state") or {}).get("terminated")
        before = (status.get("lastState") or {}).get("terminated")
        ended = now or before
        if not ended or (init and ended.get("exitCode") == 0):
            continue
        running = (status.get("state") or {}).get("running") is not None
        failures = int(status.get("restartCount") or 0) + (0 if running else 1)
        # The log of a running container begins anew; the one that ended is the previous.
        code = int(ended.get("exitCode", -1))
        yield Crash(name_of(pod), status["name"], init, failures, code, previous=running)


def _crashed(seen: Seen, pod: Object, heard: Heard) -> Iterator[Symptom]:
    for crash in crashes(pod):
        said, pointless = heard.get(crash.key, ("nothing was read from its log yet", False))
        # The second time the same way is not chance: a GPU not yet free is, the first time.
        grace = AT_ONCE if pointless or crash.failures >= 2 else float("inf")
        if crash.key not in heard:
            grace = max(grace, CONFIG_S)
        if crash.init:
            told = failure(
                "download", crash.pod, crash.container, container=crash.container, pod=crash.pod,
                uri=seen.goal.uri, said=said,
            )  # fmt: skip
        else:
            log = f"logs/{crash.pod}-{crash.container}.log"
            told = failure("engine", crash.pod, crash.container, pod=crash.pod, code=crash.code,
                           said=said, log=log)  # fmt: skip
        yield Symptom(told, grace)


# Event of a pod whose containers cannot even begin → the cause, and how long it may heal.
_BEFORE_CONTAINERS = {
    "FailedMount": ("volume", VOLUME_S),
    "FailedAttachVolume": ("volume", VOLUME_S),
    "FailedCreatePodSandBox": ("sandbox", SANDBOX_S),
}


def _stuck(pod: Object, events: list[Object]) -> Iterator[Symptom]:
    begun = [(status.get("state") or {}).keys() & _BEGUN for _, status in statuses(pod)]
    if any(begun):
        return
    name = name_of(pod)
    # Of several events the last one tells; each cause lasts from its first on.
    last = {
        _BEFORE_CONTAINERS[event["reason"]]: event
        for event in events
        if event.get("reason") in _BEFORE_CONTAINERS
    }
    for (cause, grace), event in last.items():
        told = failure(cause, name, pod=name, said=event.get("message"))
        yield Symptom(told, grace)


def _unscheduled(pod: Object, events: list[Object]) -> Iterator[Symptom]:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") == "SchedulingGated":
        return
    grace = UNSCHEDULABLE_S
    if any(event.get("reason") == "TriggeredScaleUp" for event in events):
        grace = float("inf")  # a node is being added; the deadline is ours
    name = name_of(pod)
    why = scheduling_text(str(scheduled.get("message") or "no reason given"))
    told = failure("unschedulable", name, pod=name, why=why, asks=asks(pod))
    yield Symptom(told, grace)


def scheduling_text(message: str) -> str:
    """The scheduler's message as: what is short on how many nodes, without preemption talk."""
    head = re.match(r"(\d+)/(\d+) nodes are available: (.*)", message, re.DOTALL)
    if head is None:
        return message
    total = int(head[2])
    if total == 0:
        return "the cluster has no nodes"
    reasons = re.split(r"\.? (?:preemption: )?0/\d+ nodes are available|\. ?preemption", head[3])[0]
    told = []
    for part in re.split(r", (?=\d+ )", reasons.strip(" .")):
        found = re.match(r"(\d+) (.*)", part, re.DOTALL)
        if found is None:
            told.append(part)
            continue
        count, why = found[1], found[2].strip(" .")
        why = re.sub(r"^Insufficient (\S+)", r"not enough \1", why)
        why = why.replace("node(s) ", "")
        told.append(f"{why} on {count} of {total} nodes")
    return "; ".join(told)


def asks(pod: Object) -> str:
    """What the engine's container asks a node for."""
    resources = (engine_container(pod) or {}).get("resources") or {}
    wanted = resources.get("requests") or resources.get("limits") or {}
    listed = (
        ", ".join(f"{name} {value}" for name, value in wanted.items()) or "nothing in particular"
    )
    selector = pod["spec"].get("nodeSelector") or {}
    placed = "".join(f", on a node with {key}={value}" for key, value in selector.items())
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for each in term.get("matchExpressions") or ():
            values = " or ".join(each.get("values") or ())
            placed += f", on a node with {each['key']} {each['operator']} {values}".rstrip()
    return listed + placed


def _refused_pods(seen: Seen) -> Iterator[Symptom]:
    """A ReplicaSet that may not make its pods tells so by events and by its condition."""
    said: list[str] = []
    for item in (*seen.deployments, *seen.kinds.get("ReplicaSet", {}).values()):
        stuck = condition(item, "ReplicaFailure")
        if stuck.get("status") == "True":
            said.append(str(stuck.get("message") or stuck.get("reason")))
    events = [event for event in seen.events() if event.get("reason") == "FailedCreate"]
    if len(seen.pods) < seen.goal.pods and events:
        said.append(str(events[-1].get("message") or ""))
    if said:
        told = max(said, key=len)
        code = "quota" if "exceeded quota" in told else "pods-refused"
        yield Symptom(failure(code, said=told), QUOTA_S)


# Events that are no warnings and prove something all the same.
_TELLING = ("Killing", "BackOff", "NotTriggerScaleUp", "TriggeredScaleUp", "Preempted")


def evidence(seen: Seen, about: Failure) -> tuple[str, ...]:
    """What proves it: how the pod's containers ended, then its events, the newest last.

    Events of everything that is ours, where none is about the pod.
    """
    told = [
        event
        for event in seen.events()
        if event.get("type") == "Warning" or event.get("reason") in _TELLING
    ]
    own = [e for e in told if about.subject and involved(e).get("name") == about.subject]
    ended = [
        f"Pod/{name_of(pod)} {status['name']}: {text}"
        for pod in seen.pods
        if name_of(pod) == about.subject
        for _, status in statuses(pod)
        if (text := ending(status))
    ]
    return (*ended, *(event_line(event) for event in (own or told)[-6:]))


def ending(status: Object) -> str:
    """How a container last ended badly; empty where it did not."""
    states = (status.get("state") or {}, status.get("lastState") or {})
    ended = next((state["terminated"] for state in states if state.get("terminated")), None)
    if not ended or ended.get("exitCode") == 0:
        return ""
    reason, restarts = ended.get("reason") or "ended", status.get("restartCount", 0)
    return f"{reason}, exit code {ended.get('exitCode')}, {restarts} restarts"

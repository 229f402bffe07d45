"""What happens to a pod: one function per word of a timeline, in the real shapes.

Each takes the pod and the step and returns the pod's new state; events and logs go to the
plane. Wordings are those of Kubernetes 1.36.
"""

import copy
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.kube.errors import Object
from tests.kube.happenings import Happening, record
from tests.kube.plane import Plane
from tests.kube.timeline import SERVING, Step

Play = Callable[[Plane, Object, Step], Object]
NODE = "gpu-node-1"


def condition(pod: Object, plane: Plane, kind: str, status: bool, **more: str) -> None:
    """Set one condition of a pod in place; the transition time follows the status."""
    conditions = pod["status"].setdefault("conditions", [])
    old = next((each for each in conditions if each["type"] == kind), None)
    value = "True" if status else "False"
    since = old["lastTransitionTime"] if old and old["status"] == value else plane.timestamp()
    new = {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since}
    kept = [each for each in conditions if each["type"] != kind]
    pod["status"]["conditions"] = [*kept, {**new, **more}]


def statuses(pod: Object) -> list[Object]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def of_container(pod: Object, name: str) -> Object:
    return next(each for each in statuses(pod) if each["name"] == name)


def is_init(pod: Object, name: str) -> bool:
    return any(each["name"] == name for each in pod["spec"].get("initContainers") or ())


def image_of(pod: Object, name: str) -> str:
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return str(next(each["image"] for each in containers if each["name"] == name))


def tell(plane: Plane, pod: Object, container: str, reason: str, message: str, bad: bool) -> None:
    kind = "Warning" if bad else "Normal"
    what = Happening(reason, message, kind, "kubelet", container, is_init(pod, container))
    record(plane, pod, what)


def unschedulable(plane: Plane, pod: Object, step: Step) -> Object:
    condition(pod, plane, "PodScheduled", False, reason="Unschedulable", message=step.text)
    record(plane, pod, Happening("FailedScheduling", step.text, "Warning", "default-scheduler"))
    return pod


def autoscaler(plane: Plane, pod: Object, step: Step) -> Object:
    kind = "TriggeredScaleUp" if step.do == "scale_up" else "NotTriggerScaleUp"
    record(plane, pod, Happening(kind, step.text, "Normal", "cluster-autoscaler"))
    return pod


def scheduled(plane: Plane, pod: Object, step: Step) -> Object:
    node = step.text or NODE
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    pod["spec"]["nodeName"] = node
    condition(pod, plane, "PodScheduled", True)
    said = f"Successfully assigned {namespace}/{name} to {node}"
    record(plane, pod, Happening("Scheduled", said, "Normal", "default-scheduler"))
    pod["status"].update(hostIP="10.0.0.11", startTime=plane.timestamp(), qosClass="Guaranteed")
    init = pod["spec"].get("initContainers") or []
    first = "PodInitializing" if init else "ContainerCreating"
    if init:
        pod["status"]["initContainerStatuses"] = [
            waiting_status(each, "PodInitializing") for each in init
        ]
    pod["status"]["containerStatuses"] = [
        waiting_status(each, first) for each in pod["spec"]["containers"]
    ]
    return summarised(plane, pod)


def waiting_status(container: Object, reason: str) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason}},
        "lastState": {},
    }


def summarised(plane: Plane, pod: Object) -> Object:
    """Phase and conditions, which follow from the containers."""
    status = pod["status"]
    init = status.get("initContainerStatuses", [])
    own = status.get("containerStatuses", [])
    unfinished = [
        each["name"] for each in init if each["state"].get("terminated", {}).get("exitCode") != 0
    ]
    unready = [each["name"] for each in own if not each["ready"]]
    if any("running" in each["state"] or each["restartCount"] for each in own):
        status["phase"] = "Running"
    if unfinished:
        why = f"containers with incomplete status: [{' '.join(unfinished)}]"
        condition(pod, plane, "Initialized", False, reason="ContainersNotInitialized", message=why)
    else:
        condition(pod, plane, "Initialized", True)
    for kind in ("ContainersReady", "Ready"):
        if unready:
            why = f"containers with unready status: [{' '.join(unready)}]"
            condition(pod, plane, kind, False, reason="ContainersNotReady", message=why)
        else:
            condition(pod, plane, kind, True)
    return pod


def waiting(pod: Object, name: str, reason: str, message: str) -> Object:
    found = of_container(pod, name)
    found["state"] = {"waiting": {"reason": reason, "message": message}}
    found["ready"] = found["started"] = False
    return pod


def pulling(plane: Plane, pod: Object, step: Step) -> Object:
    said = f'Pulling image "{image_of(pod, step.container)}"'
    tell(plane, pod, step.container, "Pulling", said, False)
    return pod


def pulled(plane: Plane, pod: Object, step: Step) -> Object:
    image, took = image_of(pod, step.container), step.text or "38.2s"
    said = (
        f'Successfully pulled image "{image}" in {took} ({took} including waiting). '
        "Image size: 9876543210 bytes."
    )
    tell(plane, pod, step.container, "Pulled", said, False)
    return pod


def image_id(image: str) -> str:
    """Registry, repository and digest, without the tag, as containerd tells it."""
    name, _, digest = image.partition("@")
    head, slash, last = name.rpartition("/")
    repository = head + slash + last.split(":")[0]
    if "." not in repository.split("/")[0]:
        repository = f"docker.io/{repository}"
    return f"{repository}@{digest or 'sha256:' + hashlib.sha256(image.encode()).hexdigest()}"


def present(plane: Plane, pod: Object, step: Step) -> Object:
    said = f'Container image "{image_of(pod, step.container)}" already present on machine'
    tell(plane, pod, step.container, "Pulled", said, False)
    return pod


def pull_failed(plane: Plane, pod: Object, step: Step) -> Object:
    image, name = image_of(pod, step.container), step.container
    error = step.text.format(image=image)
    tell(plane, pod, name, "Failed", f'Failed to pull image "{image}": {error}', True)
    tell(plane, pod, name, "Failed", "Error: ErrImagePull", True)
    return summarised(plane, waiting(pod, name, "ErrImagePull", error))


def pull_backoff(plane: Plane, pod: Object, step: Step) -> Object:
    image, name = image_of(pod, step.container), step.container
    error = step.text.format(image=image)
    tell(plane, pod, name, "BackOff", f'Back-off pulling image "{image}"', False)
    tell(plane, pod, name, "Failed", "Error: ImagePullBackOff", True)
    said = f'Back-off pulling image "{image}": ErrImagePull: {error}'
    return summarised(plane, waiting(pod, name, "ImagePullBackOff", said))


def invalid_image(plane: Plane, pod: Object, step: Step) -> Object:
    image, name = image_of(pod, step.container), step.container
    said = (
        f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
        "invalid reference format"
    )
    tell(plane, pod, name, "InspectFailed", said, True)
    tell(plane, pod, name, "Failed", "Error: InvalidImageName", True)
    return summarised(plane, waiting(pod, name, "InvalidImageName", said))


def config_error(plane: Plane, pod: Object, step: Step) -> Object:
    tell(plane, pod, step.container, "Failed", f"Error: {step.text}", True)
    failed = waiting(pod, step.container, "CreateContainerConfigError", step.text)
    return summarised(plane, failed)


def started(plane: Plane, pod: Object, step: Step) -> Object:
    """A container runs (again): its first start, or one after it died."""
    name = step.container
    found = of_container(pod, name)
    if "terminated" in found["state"] and not is_init(pod, name):
        found["lastState"] = {"terminated": found["state"]["terminated"]}
    died = bool(found["lastState"]) or "terminated" in found["state"]
    if died:
        plane.log_ends(pod, name, True)
        if "terminated" in found["state"]:
            found["lastState"] = {"terminated": found["state"]["terminated"]}
        found["restartCount"] += 1
    if not pod["status"].get("podIP"):
        address = f"10.244.1.{int(pod['metadata']['resourceVersion']) % 250 + 2}"
        pod["status"].update(podIP=address, podIPs=[{"ip": address}])
        condition(pod, plane, "PodReadyToStartContainers", True)
    found["state"] = {"running": {"startedAt": plane.timestamp()}}
    found["imageID"] = image_id(found["image"])
    found["containerID"] = f"containerd://{secrets.token_hex(32)}"
    found["started"] = not probed(pod, name, "startupProbe")
    tell(plane, pod, name, "Created", f"Created container: {name}", False)
    tell(plane, pod, name, "Started", f"Started container {name}", False)
    plane.log(pod, name, ())
    if not is_init(pod, name):
        start_sidecars(plane, pod, name)
    return summarised(plane, pod)


def start_sidecars(plane: Plane, pod: Object, name: str) -> None:
    """Containers that no timeline speaks of start with the one that serves."""
    for other in pod["status"]["containerStatuses"]:
        if other["name"] != name and "waiting" in other["state"]:
            other["state"] = {"running": {"startedAt": plane.timestamp()}}
            other["started"] = True


def probed(pod: Object, name: str, probe: str) -> bool:
    return any(each["name"] == name and each.get(probe) for each in pod["spec"]["containers"])


def finished(plane: Plane, pod: Object, step: Step) -> Object:
    """An init container ended well."""
    found = of_container(pod, step.container)
    found["state"] = {"terminated": ended(plane, found, 0, "Completed", "")}
    found["ready"] = True
    plane.log_ends(pod, step.container, False)
    return summarised(plane, pod)


def ended(plane: Plane, found: Object, code: int, reason: str, message: str) -> Object:
    since = found["state"].get("running", {}).get("startedAt", plane.timestamp())
    state = {
        "exitCode": code,
        "reason": reason,
        "startedAt": since,
        "finishedAt": plane.timestamp(),
        "containerID": found.get("containerID", ""),
    }
    return {**state, "message": message} if message else state


def died(plane: Plane, pod: Object, step: Step) -> Object:
    """A container ended badly; `back_off` or `started` follow."""
    found = of_container(pod, step.container)
    code = step.code if step.code is not None else 1
    reason = step.reason or "Error"
    found["state"] = {"terminated": ended(plane, found, code, reason, step.text)}
    found["ready"] = found["started"] = False
    plane.log_ends(pod, step.container, False)
    return summarised(plane, pod)


def back_off(plane: Plane, pod: Object, step: Step) -> Object:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    found = of_container(pod, step.container)
    if "terminated" in found["state"]:
        found["lastState"] = {"terminated": found["state"]["terminated"]}
    which = f"{name}_{namespace}({pod['metadata']['uid']})"
    said = f"Back-off restarting failed container {step.container} in pod {which}"
    tell(plane, pod, step.container, "BackOff", said, True)
    wait = step.text or "10s"
    why = f"back-off {wait} restarting failed container={step.container} pod={which}"
    return summarised(plane, waiting(pod, step.container, "CrashLoopBackOff", why))


def probe_failed(plane: Plane, pod: Object, step: Step) -> Object:
    said = step.text.format(ip=pod["status"].get("podIP", ""))
    tell(plane, pod, step.container, "Unhealthy", said, True)
    return pod


def probe_killed(plane: Plane, pod: Object, step: Step) -> Object:
    """A failed startup or liveness probe: killed, and started again at once."""
    probe = step.reason or "startup"
    said = f"Container {step.container} failed {probe} probe, will be restarted"
    tell(plane, pod, step.container, "Killing", said, False)
    killed = died(plane, pod, Step(0, "died", step.container, code=137))
    return started(plane, killed, step)


def ready(plane: Plane, pod: Object, step: Step) -> Object:
    for found in pod["status"]["containerStatuses"]:
        if found["name"] == step.container or "running" in found["state"]:
            found["ready"] = found["started"] = True
    return summarised(plane, pod)


def unready(plane: Plane, pod: Object, step: Step) -> Object:
    of_container(pod, step.container)["ready"] = False
    if step.text:
        tell(plane, pod, step.container, "Unhealthy", step.text, True)
    return summarised(plane, pod)


def log(plane: Plane, pod: Object, step: Step) -> Object:
    plane.log(pod, step.container, tuple(step.text.splitlines()))
    return pod


def warned(plane: Plane, pod: Object, step: Step) -> Object:
    """An event that changes no state: FailedMount, FailedCreatePodSandBox …"""
    tell(plane, pod, "", step.reason, step.text, True)
    return pod


def evicted(plane: Plane, pod: Object, step: Step) -> Object:
    record(plane, pod, Happening("Evicted", step.text, "Warning"))
    pod["status"].update(phase="Failed", reason="Evicted", message=step.text)
    for found in statuses(pod):
        found["ready"] = found["started"] = False
        if "terminated" not in found["state"]:
            found["state"] = {"terminated": ended(plane, found, 137, "Error", "")}
    return summarised_failed(plane, pod)


def summarised_failed(plane: Plane, pod: Object) -> Object:
    for kind in ("ContainersReady", "Ready"):
        condition(pod, plane, kind, False, reason="PodFailed")
    return pod


WORDS: dict[str, Play] = {
    "unschedulable": unschedulable,
    "scale_up": autoscaler,
    "no_scale_up": autoscaler,
    "scheduled": scheduled,
    "pulling": pulling,
    "pulled": pulled,
    "present": present,
    "pull_failed": pull_failed,
    "pull_backoff": pull_backoff,
    "invalid_image": invalid_image,
    "config_error": config_error,
    "started": started,
    "finished": finished,
    "died": died,
    "back_off": back_off,
    "probe_failed": probe_failed,
    "probe_killed": probe_killed,
    "ready": ready,
    "unready": unready,
    "log": log,
    "warned": warned,
    "evicted": evicted,
}


def stopping(plane: Plane, pod: Object) -> None:
    """The kubelet begins to end a pod that was deleted."""
    for each in pod["status"].get("containerStatuses", ()):
        if "running" in each["state"]:
            said = f"Stopping container {each['name']}"
            tell(plane, pod, each["name"], "Killing", said, False)


def play(plane: Plane, pod: Object, step: Step) -> Any:
    """Carry out one step on the pod as it stands now; nothing for a pod that has gone."""
    metadata = pod["metadata"]
    held = plane.find("pods", metadata["namespace"], metadata["name"])
    if held is None or "deletionTimestamp" in held["metadata"]:
        return None
    known = {each["name"] for each in all_containers(held)}
    if step.container == SERVING and SERVING not in known:
        step = replace(step, container=held["spec"]["containers"][0]["name"])
    if step.do == "deleted":
        plane.delete("pods", held)
        return None
    if step.container not in known and step.container not in ("", SERVING):
        return None  # a model without a storage initializer skips its steps
    return plane.change("pods", held, WORDS[step.do](plane, copy.deepcopy(held), step))


def all_containers(pod: Object) -> list[Object]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]

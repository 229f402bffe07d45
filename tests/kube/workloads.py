"""The Deployment and ReplicaSet controllers, as far as one predictor needs them."""

import copy
import hashlib
import json
from datetime import datetime

from tests.kube.admission import NAME_LETTERS, generated_name
from tests.kube.errors import Object
from tests.kube.happenings import Happening, record
from tests.kube.isvc_status import found_condition
from tests.kube.plane import Plane
from tests.kube.predictor import owner

REVISION = "deployment.kubernetes.io/revision"


def owned_by(plane: Plane, kind: str, item: Object) -> list[Object]:
    """Dependents that are not being deleted, oldest first."""
    found = [
        each
        for each in plane.all(kind, item["metadata"]["namespace"])
        if any(
            reference["uid"] == item["metadata"]["uid"]
            for reference in each["metadata"].get("ownerReferences", ())
        )
        and "deletionTimestamp" not in each["metadata"]
    ]
    return sorted(found, key=lambda each: int(each["metadata"]["resourceVersion"]))


def template_hash(deployment: Object) -> str:
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(NAME_LETTERS[byte % len(NAME_LETTERS)] for byte in digest[:10])


def reconcile_deployment(plane: Plane, deployment: Object, refused: str) -> None:
    """One ReplicaSet per template, pods up to `replicas`, and the status.

    refused: why the API server does not accept pods of this ReplicaSet ("" when it does).
    """
    wanted = deployment["spec"]["replicas"]
    name = f"{deployment['metadata']['name']}-{template_hash(deployment)}"
    sets = owned_by(plane, "replicasets.apps", deployment)
    current = next((each for each in sets if each["metadata"]["name"] == name), None)
    if current is None:
        current = plane.create(replica_set(deployment, name, len(sets) + 1))
        said = f"Scaled up replica set {name} from 0 to {wanted}"
        record(plane, deployment, Happening("ScalingReplicaSet", said, "Normal", CONTROLLER))
    old_pods = [pod for pod in matching_pods(plane, deployment) if not owned(pod, current)]
    if recreates(deployment) or ready_count(owned_by(plane, "pods", current)) >= wanted:
        for pod in old_pods:
            if "deletionTimestamp" not in pod["metadata"]:
                plane.delete("pods", pod)
    if not (recreates(deployment) and old_pods):
        scale(plane, current, wanted, refused)
    refresh(plane, deployment, current, refused)


CONTROLLER = "deployment-controller"


def recreates(deployment: Object) -> bool:
    """Old pods go before new ones come; else they stay until their successors are ready."""
    return bool(deployment["spec"]["strategy"].get("type") == "Recreate")


def ready_count(pods: list[Object]) -> int:
    return sum(found_condition(pod, "Ready").get("status") == "True" for pod in pods)


def owned(pod: Object, replica: Object) -> bool:
    references = pod["metadata"].get("ownerReferences", ())
    return any(each["uid"] == replica["metadata"]["uid"] for each in references)


def matching_pods(plane: Plane, deployment: Object) -> list[Object]:
    """Pods of the selector, those that are being deleted too."""
    wanted = deployment["spec"]["selector"]["matchLabels"].items()
    namespace = deployment["metadata"]["namespace"]
    return [
        pod
        for pod in plane.all("pods", namespace)
        if wanted <= (pod["metadata"].get("labels") or {}).items()
    ]


def replica_set(deployment: Object, name: str, revision: int) -> Object:
    hashed = {"pod-template-hash": name.rsplit("-", 1)[-1]}
    template = copy.deepcopy(deployment["spec"]["template"])
    template["metadata"]["labels"] = {**template["metadata"]["labels"], **hashed}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: str(revision)},
            "ownerReferences": owner(deployment),
        },
        "spec": {
            "replicas": deployment["spec"]["replicas"],
            "selector": {
                "matchLabels": {**deployment["spec"]["selector"]["matchLabels"], **hashed}
            },
            "template": template,
        },
    }


def scale(plane: Plane, replica: Object, wanted: int, refused: str) -> None:
    pods = [
        pod
        for pod in owned_by(plane, "pods", replica)
        if pod["status"].get("phase") not in ("Failed", "Succeeded")
    ]
    for pod in pods[wanted:]:
        plane.delete("pods", pod)
    for _ in range(wanted - len(pods)):
        name = generated_name(replica["metadata"]["name"] + "-")
        if refused:
            said = f'Error creating: pods "{name}" is forbidden: {refused}'
            what = Happening("FailedCreate", said, "Warning", "replicaset-controller")
            record(plane, replica, what)
            return
        template = copy.deepcopy(replica["spec"]["template"])
        plane.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **template["metadata"],
                    "name": name,
                    "generateName": replica["metadata"]["name"] + "-",
                    "namespace": replica["metadata"]["namespace"],
                    "ownerReferences": owner(replica),
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            }
        )
        said = f"Created pod: {name}"
        what = Happening("SuccessfulCreate", said, "Normal", "replicaset-controller")
        record(plane, replica, what)


def refresh(plane: Plane, deployment: Object, replica: Object, refused: str) -> None:
    """Counts and conditions of the ReplicaSet and the Deployment."""
    present = [
        pod
        for pod in matching_pods(plane, deployment)
        if pod["status"].get("phase") not in ("Failed", "Succeeded")
        and "deletionTimestamp" not in pod["metadata"]
    ]
    active = [pod for pod in present if owned(pod, replica)]
    updated_ready, ready = ready_count(active), ready_count(present)
    counts = {"replicas": len(present), "readyReplicas": ready, "availableReplicas": ready}
    shown = {key: value for key, value in counts.items() if value}
    held = plane.find(
        "replicasets.apps", replica["metadata"]["namespace"], replica["metadata"]["name"]
    )
    if held is not None:
        seen = {"observedGeneration": held["metadata"]["generation"], "replicas": len(active)}
        wanted = {**held["spec"], "replicas": deployment["spec"]["replicas"]}
        if updated_ready:
            seen |= {"readyReplicas": updated_ready, "availableReplicas": updated_ready}
        plane.change("replicasets.apps", held, {**held, "spec": wanted, "status": seen})
    latest = plane.find(
        "deployments.apps", deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    )
    if latest is None:
        return
    status = {
        "observedGeneration": latest["metadata"]["generation"],
        **shown,
        "updatedReplicas": len(active),
        "unavailableReplicas": max(latest["spec"]["replicas"] - ready, 0),
        "conditions": conditions(plane, latest, replica, (updated_ready, ready), refused),
    }
    status = {key: value for key, value in status.items() if value != 0}
    revision = {REVISION: replica["metadata"]["annotations"][REVISION]}
    metadata = {
        **latest["metadata"],
        "annotations": {**latest["metadata"].get("annotations", {}), **revision},
    }
    plane.change("deployments.apps", latest, {**latest, "metadata": metadata, "status": status})


def conditions(
    plane: Plane, deployment: Object, replica: Object, ready: tuple[int, int], refused: str
) -> list[Object]:
    """ready: pods of the newest template that are, and all pods that are."""
    now, wanted = plane.timestamp(), deployment["spec"]["replicas"]
    may_lack = 0 if recreates(deployment) else wanted // 4
    enough = ready[1] >= wanted - may_lack
    found = [
        ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else (
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    ]
    found.append(progress(plane, deployment, replica, ready[0] >= wanted))
    if refused:
        name = generated_name(replica["metadata"]["name"] + "-")
        old = found_condition(deployment, "ReplicaFailure").get("message")
        said = old or f'pods "{name}" is forbidden: {refused}'
        found.append(("ReplicaFailure", "True", "FailedCreate", said))
    shown = []
    for kind, status, reason, message in found:
        old = found_condition(deployment, kind)
        same_status = old.get("status") == status
        same = same_status and old.get("reason") == reason and old.get("message") == message
        shown.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": old["lastTransitionTime"] if same_status else now,
                "lastUpdateTime": old["lastUpdateTime"] if same else now,
            }
        )
    return shown


def progress(
    plane: Plane, deployment: Object, replica: Object, complete: bool
) -> tuple[str, str, str, str]:
    """Progressing: times out after progressDeadlineSeconds without a change, and heals."""
    said = f'ReplicaSet "{replica["metadata"]["name"]}"'
    if complete:
        message = f"{said} has successfully progressed."
        return "Progressing", "True", "NewReplicaSetAvailable", message
    started = replica["metadata"]["creationTimestamp"]
    old = found_condition(deployment, "Progressing")
    if old.get("reason") == "NewReplicaSetAvailable" and said in old.get("message", ""):
        return "Progressing", old["status"], old["reason"], old["message"]
    if seconds_between(started, plane.timestamp()) >= deadline_s(deployment):
        message = f"{said} has timed out progressing."
        return "Progressing", "False", "ProgressDeadlineExceeded", message
    return "Progressing", "True", "ReplicaSetUpdated", f"{said} is progressing."


def deadline_s(deployment: Object) -> int:
    return int(deployment["spec"].get("progressDeadlineSeconds", 600))


def seconds_between(one: str, other: str) -> float:
    return (datetime.fromisoformat(other) - datetime.fromisoformat(one)).total_seconds()

"""The status that KServe gives an InferenceService in Standard mode, from what it sees."""

from tests.kube.errors import Object
from tests.kube.predictor import Unsupported
from tests.kube.timeline import INITIALIZER, SERVING

LOCAL = "networking.kserve.io/visibility"
DOMAIN = "example.com"
STANDARD = ("IngressReady", "PredictorReady")


def found_condition(item: Object | None, kind: str) -> Object:
    listed = (item or {}).get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})


class Conditions:
    """Knative's living condition set: Ready follows the conditions that it depends on."""

    def __init__(self, before: Object, now: str, dependents: tuple[str, ...] = STANDARD) -> None:
        self._dependents = dependents
        listed = before.get("status", {}).get("conditions", [])
        self._before = {each["type"]: each for each in listed}
        self._held: dict[str, Object] = {}
        self._now = now

    def mark(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        condition = {"type": kind, "status": status}
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        old = self._before.get(kind, {})
        changed = {key: old.get(key) for key in ("status", "reason", "message")} != {
            key: condition.get(key) for key in ("status", "reason", "message")
        }
        condition["lastTransitionTime"] = self._now if changed else old["lastTransitionTime"]
        self._held[kind] = condition

    def finish(self) -> list[Object]:
        dependents = [self._held[kind] for kind in self._dependents]
        failed = next((each for each in dependents if each["status"] == "False"), None)
        unknown = next((each for each in dependents if each["status"] != "True"), None)
        worst = failed or unknown
        if worst is None:
            self.mark("Ready", "True")
        else:
            reason, message = worst.get("reason", ""), worst.get("message", "")
            self.mark("Ready", worst["status"], reason, message)
        return [self._held[kind] for kind in sorted(self._held)]


def predictor_condition(deployment: Object) -> tuple[str, str, str]:
    """(status, reason, message): a replica failure, then a stalled rollout, then availability."""
    available = found_condition(deployment, "Available")
    progressing = found_condition(deployment, "Progressing")
    failure = found_condition(deployment, "ReplicaFailure")
    if failure.get("status") == "True":
        return "False", failure["reason"], failure["message"]
    if progressing.get("status") == "False" and progressing.get("message"):
        return "False", progressing["reason"], progressing["message"]
    if available.get("status") == "False":
        return "False", available["reason"], available["message"]
    if available.get("status") == "True":
        return "True", "", ""
    return "Unknown", progressing.get("reason", ""), progressing.get("message", "")


def service_status(
    service: Object, deployment: Object | None, pods: list[Object], stopped: bool, now: str
) -> Object:
    """Status once the Deployment was asked for (None: not there, because it is stopped)."""
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    local = (service["metadata"].get("labels") or {}).get(LOCAL) == "cluster-local"
    conditions = Conditions(service, now)
    inside = f"http://{name}-predictor.{namespace}.svc.cluster.local"
    outside = f"http://{name}-{namespace}.{'svc.cluster.local' if local else DOMAIN}"
    status: Object = {"deploymentMode": "Standard"}
    if stopped or deployment is None:
        conditions.mark("PredictorReady", "False", "Stopped")
        conditions.mark("IngressReady", "False", "Stopped")
        conditions.mark("Stopped", "True")
        status["conditions"] = conditions.finish()
        return status
    ready, reason, message = predictor_condition(deployment)
    conditions.mark("PredictorReady", ready, reason, message)
    if ready == "True" or local:
        conditions.mark("IngressReady", "True")
        status.update(url=outside, address={"url": inside})
    else:
        conditions.mark("IngressReady", "False", "Predictor ingress not created")
    conditions.mark("Stopped", "False")
    revision = deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    component = {"latestCreatedRevision": revision}
    if ready == "True":
        component["url"] = f"http://{name}-predictor-{namespace}.{DOMAIN}"
    status["components"] = {"predictor": component}
    status["observedGeneration"] = deployment.get("status", {}).get("observedGeneration", 0)
    status["conditions"] = conditions.finish()
    all_ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    model = dict(service.get("status", {}).get("modelStatus", {}))
    status["modelStatus"] = model_status(model, pods, all_ready["status"] == "True")
    return status


def model_status(before: Object, pods: list[Object], ready: bool) -> Object:
    """modelStatus from the first pod. A failure that healed stays in lastFailureInfo."""
    copies = sum(found_condition(pod, "Ready").get("status") == "True" for pod in pods)
    status = {**before, "copies": {"failedCopies": 0, "totalCopies": copies}}
    states = {"activeModelState": "", **before.get("states", {})}
    target, failure = target_state(pods, ready)
    states["targetModelState"] = target
    if target == "Loaded":
        states["activeModelState"] = "Loaded"
    transitions = {"Loaded": "UpToDate", "FailedToLoad": "BlockedByFailedLoad"}
    status["transitionStatus"] = transitions.get(target, "InProgress")
    status["states"] = states
    if failure is not None:
        status["lastFailureInfo"] = failure
    return status


def target_state(pods: list[Object], ready: bool) -> tuple[str, Object | None]:
    if not pods:
        return "Pending", None
    first = pods[0].get("status", {})
    for found in first.get("initContainerStatuses", ()):
        if found["name"] == INITIALIZER:
            failure = load_failure(found)
            if failure is not None:
                return "FailedToLoad", failure
            if "running" in found["state"]:
                return "Loading", None
    if ready:
        return "Loaded", None
    for found in first.get("containerStatuses", ()):
        if found["name"] == SERVING and load_failure(found) is not None:
            return "FailedToLoad", load_failure(found)
    return "Pending", None


def load_failure(found: Object) -> Object | None:
    """lastFailureInfo of a container; OOMKilled alone does not count for KServe."""
    ended = found["state"].get("terminated")
    if ended is not None and ended.get("reason") != "Error":
        return None
    if found["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff":
        ended = found["lastState"].get("terminated", {})
    if not ended:
        return None
    info = {"reason": "ModelLoadFailed", "exitCode": ended["exitCode"]}
    return {**info, "message": ended["message"]} if ended.get("message") else info


def invalid_status(service: Object, why: Unsupported, now: str) -> Object:
    """Status for a spec that cannot be served; nothing was created."""
    conditions = Conditions(service, now)
    conditions.mark("PredictorReady", "Unknown")
    conditions.mark("IngressReady", "Unknown")
    return {
        "deploymentMode": "Standard",
        "conditions": conditions.finish(),
        "modelStatus": {
            "transitionStatus": "InvalidSpec",
            "states": {"activeModelState": "", "targetModelState": "FailedToLoad"},
            "lastFailureInfo": {"reason": why.reason, "message": str(why), "time": now},
        },
    }

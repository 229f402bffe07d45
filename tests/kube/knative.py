"""InferenceServices in Knative mode: Service, Configuration, Revision, and their status."""

from tests.kube.errors import Object
from tests.kube.isvc_status import DOMAIN, Conditions, found_condition, model_status
from tests.kube.predictor import deployment_of, owner

SERVING = "serving.knative.dev"
DEADLINE = "serving.knative.dev/progress-deadline"
KNATIVE = ("IngressReady", "PredictorReady")
QUEUE_PROXY = {
    "name": "queue-proxy",
    "image": "gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1.21.1",
    "ports": [{"name": "http-queueadm", "containerPort": 8022, "protocol": "TCP"}],
    "resources": {"requests": {"cpu": "25m"}},
}


def is_knative(service: Object) -> bool:
    annotations = service["metadata"].get("annotations") or {}
    return annotations.get("serving.kserve.io/deploymentMode") in ("Knative", "Serverless")


def part(service: Object, kind: str, name: str, above: Object, spec: Object) -> Object:
    return {
        "apiVersion": f"{SERVING}/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": service["metadata"]["namespace"],
            "labels": {"serving.kserve.io/inferenceservice": service["metadata"]["name"]},
            "ownerReferences": owner(above),
        },
        "spec": spec,
    }


def chain(service: Object) -> list[tuple[str, str]]:
    """(kind, name) from the Knative Service down to the Revision."""
    name = f"{service['metadata']['name']}-predictor"
    return [("Service", name), ("Configuration", name), ("Revision", f"{name}-00001")]


def revision_deployment(service: Object, runtime: Object, revision: Object) -> Object:
    """The Deployment of a revision: the predictor's pod with Knative's sidecar."""
    made = deployment_of(service, runtime)
    name = revision["metadata"]["name"]
    made["metadata"]["name"] = f"{name}-deployment"
    made["metadata"]["ownerReferences"] = owner(revision)
    labels = {
        **made["metadata"]["labels"],
        "app": name,
        f"{SERVING}/service": name.removesuffix("-00001"),
        f"{SERVING}/configuration": name.removesuffix("-00001"),
        f"{SERVING}/revision": name,
    }
    made["metadata"]["labels"] = labels
    made["spec"]["selector"]["matchLabels"] = {f"{SERVING}/revision": name}
    made["spec"]["replicas"] = max(service["spec"]["predictor"].get("minReplicas", 1), 1)
    made["spec"]["progressDeadlineSeconds"] = progress_deadline_s(service)
    template = made["spec"]["template"]
    template["metadata"]["labels"] = labels
    template["spec"]["containers"].append(dict(QUEUE_PROXY))
    return made


def progress_deadline_s(service: Object) -> int:
    predictor = service["spec"]["predictor"].get("annotations") or {}
    annotations = {**(service["metadata"].get("annotations") or {}), **predictor}
    return int(str(annotations.get(DEADLINE, "600s")).removesuffix("s"))


def failed(deployment: Object) -> bool:
    """The revision gave up: for Knative the progress deadline is the end."""
    return found_condition(deployment, "Progressing").get("status") == "False"


def revision_status(revision: Object, deployment: Object, was_ready: bool, now: str) -> Object:
    conditions = Conditions(revision, now, ("ContainerHealthy", "ResourcesAvailable"))
    active = deployment["spec"]["replicas"] > 0
    available = found_condition(deployment, "Available").get("status") == "True"
    gave_up = found_condition(revision, "ResourcesAvailable")
    if gave_up.get("status") == "False":
        wanted = ("False", str(gave_up["reason"]), str(gave_up["message"]))
    elif failed(deployment) and not was_ready:
        found = found_condition(deployment, "Progressing")
        wanted = ("False", "ProgressDeadlineExceeded", str(found.get("message", "")))
    elif was_ready or (available and active):
        wanted = ("True", "", "")
    else:
        wanted = ("Unknown", "Deploying", "")
    conditions.mark("ContainerHealthy", wanted[0] if wanted[0] != "False" else "Unknown")
    conditions.mark("ResourcesAvailable", *wanted)
    if not active and was_ready:
        conditions.mark("Active", "False", "NoTraffic", "The target is not receiving traffic.")
    else:
        conditions.mark("Active", "True" if available else "Unknown")
    replicas = deployment.get("status", {}).get("readyReplicas", 0)
    return {
        "observedGeneration": 1,
        "conditions": conditions.finish(),
        "actualReplicas": replicas,
        "desiredReplicas": deployment["spec"]["replicas"],
    }


def service_conditions(
    item: Object, revision: Object, now: str
) -> tuple[list[Object], tuple[str, str, str]]:
    """Conditions of a Knative Service, and its Ready as (status, reason, message)."""
    found = found_condition(revision, "Ready")
    name, latest = item["metadata"]["name"], revision["metadata"]["name"]
    conditions = Conditions(item, now, ("ConfigurationsReady", "RoutesReady"))
    if found.get("status") == "True":
        ready = ("True", "", "")
    elif found.get("status") == "False":
        said = f'Revision "{latest}" failed with message: {found.get("message", "")}.'
        ready = ("False", "RevisionFailed", said)
    else:
        said = f'Configuration "{name}" is waiting for a Revision to become ready.'
        ready = ("Unknown", "RevisionMissing", said)
    conditions.mark("ConfigurationsReady", *ready)
    conditions.mark("RoutesReady", *ready)
    return conditions.finish(), ready


def inference_status(
    service: Object, revision: Object, pods: list[Object], ready: tuple[str, str, str], now: str
) -> Object:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    conditions = Conditions(service, now, KNATIVE)
    for kind in ("LatestDeploymentReady", "PredictorConfigurationReady", "PredictorReady"):
        conditions.mark(kind, *ready)
    for kind in ("PredictorRouteReady", "RoutesReady"):
        conditions.mark(kind, *ready)
    conditions.mark("Stopped", "False")
    latest = revision["metadata"]["name"]
    component: Object = {"latestCreatedRevision": latest}
    status: Object = {"deploymentMode": "Knative", "observedGeneration": 1}
    if ready[0] == "True":
        conditions.mark("IngressReady", "True")
        status["url"] = f"http://{name}-{namespace}.{DOMAIN}"
        status["address"] = {"url": f"http://{name}.{namespace}.svc.cluster.local"}
        traffic = {"latestRevision": True, "percent": 100, "revisionName": latest}
        component.update(latestReadyRevision=latest, traffic=[traffic])
    else:
        conditions.mark("IngressReady", ready[0], "Predictor ingress not created")
    status["components"] = {"predictor": component}
    status["conditions"] = conditions.finish()
    model = dict(service.get("status", {}).get("modelStatus", {}))
    status["modelStatus"] = model_status(model, pods, ready[0] == "True")
    return status

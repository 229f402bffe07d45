"""What KServe makes of an LLMInferenceService: one Deployment of vLLM, its Service and status."""

import copy

from tests.kube.errors import Object
from tests.kube.isvc_status import Conditions, predictor_condition
from tests.kube.predictor import owner, with_model

IMAGE = "ghcr.io/llm-d/llm-d-cuda:v0.9.0"
PART_OF = "llminferenceservice"
PORT = 8000


def labels_of(service: Object) -> dict[str, str]:
    return {
        "app.kubernetes.io/component": "llminferenceservice-workload",
        "app.kubernetes.io/name": service["metadata"]["name"],
        "app.kubernetes.io/part-of": PART_OF,
        "kserve.io/component": "workload",
        "llm-d.ai/role": "decode" if service["spec"].get("prefill") else "both",
    }


def pod_spec(service: Object, workload: Object) -> Object:
    """The preset's container `main`, over which the template of the service is laid."""
    spec: Object = copy.deepcopy(workload.get("template") or {})
    given: Object = next(
        (each for each in spec.get("containers", ()) if each["name"] == "main"), {}
    )
    preset = {
        "name": "main",
        "image": IMAGE,
        "command": ["vllm", "serve", "/mnt/models"],
        "args": ["--port", str(PORT)],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": {"httpGet": {"path": "/health", "port": PORT}, "failureThreshold": 60},
    }
    others = [each for each in spec.get("containers", ()) if each["name"] != "main"]
    spec["containers"] = [{**preset, **given}, *others]
    with_model(spec, service["spec"]["model"]["uri"])
    return spec


def deployments_of(service: Object) -> list[Object]:
    """The main workload, and the one of prefill where the service asks for it."""
    spec, labels = service["spec"], labels_of(service)
    found = [deployment(service, spec, "kserve", labels)]
    if spec.get("prefill"):
        prefill = {**labels, "llm-d.ai/role": "prefill"}
        found.append(deployment(service, spec["prefill"], "kserve-prefill", prefill))
    return found


def deployment(service: Object, workload: Object, suffix: str, labels: dict[str, str]) -> Object:
    metadata = service["metadata"]
    own = {**(metadata.get("labels") or {}), **labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": own,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "ownerReferences": owner(service),
        },
        "spec": {
            "replicas": workload.get("replicas", 1),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": own}, "spec": pod_spec(service, workload)},
        },
    }


def service_of(service: Object) -> Object:
    name, labels = service["metadata"]["name"], labels_of(service)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{name}-kserve-workload-svc",
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": owner(service),
        },
        "spec": {"selector": labels, "ports": [{"name": "https", "port": PORT}]},
    }


def status_of(service: Object, deployments: list[Object], now: str) -> Object:
    """Ready follows PresetsCombined, WorkloadsReady and RouterReady."""
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    kinds = ("PresetsCombined", "RouterReady", "WorkloadsReady")
    conditions = Conditions(service, now, kinds)
    conditions.mark("PresetsCombined", "True")
    conditions.mark("RouterReady", "True")
    worst = ("True", "", "")
    for kind, each in zip(("MainWorkloadReady", "PrefillWorkloadReady"), deployments, strict=False):
        found = predictor_condition(each)
        conditions.mark(kind, *found)
        worst = found if found[0] != "True" else worst
    conditions.mark("WorkloadsReady", *worst)
    inside = f"http://{name}-kserve-workload-svc.{namespace}.svc.cluster.local:{PORT}"
    return {
        "observedGeneration": service["metadata"].get("generation", 1),
        "url": inside,
        "addresses": [{"url": inside}],
        "conditions": conditions.finish(),
    }

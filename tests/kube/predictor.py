"""What KServe makes of an InferenceService and its ServingRuntime: Deployment and Service.

Standard mode, predictor.model with a namespaced or cluster runtime, merged as KServe up to
0.20 merges: arguments are concatenated, environment and mounts merged by key.
"""

import copy
import json
from typing import Any

from tests.kube.errors import Object
from tests.kube.plane import Plane
from tests.kube.timeline import INITIALIZER, SERVING

GROUP = "serving.kserve.io"
RUNTIMES = f"servingruntimes.{GROUP}"
CLUSTER_RUNTIMES = f"clusterservingruntimes.{GROUP}"
FROM_RUNTIME = (
    "volumes",
    "nodeSelector",
    "affinity",
    "tolerations",
    "imagePullSecrets",
    "hostIPC",
    "schedulerName",
)
FROM_PREDICTOR = (
    *FROM_RUNTIME,
    "runtimeClassName",
    "serviceAccountName",
    "securityContext",
    "terminationGracePeriodSeconds",
    "initContainers",
    "priorityClassName",
)
NOT_OF_CONTAINERS = ("modelFormat", "runtime", "storageUri", "protocolVersion", "storage", "name")


class Unsupported(Exception):
    """The spec cannot be served: `reason` and message of lastFailureInfo."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def runtime_of(plane: Plane, service: Object) -> Object:
    """Raises Unsupported as KServe's predictor reconciler does."""
    model = service["spec"]["predictor"].get("model", {})
    namespace, wanted = service["metadata"]["namespace"], model.get("runtime")
    wanted_format = model.get("modelFormat", {}).get("name")
    own = plane.all(RUNTIMES, namespace)
    shared = plane.all(CLUSTER_RUNTIMES)
    if wanted:
        named = [each for each in (*own, *shared) if each["metadata"]["name"] == wanted]
        if not named:
            raise Unsupported("RuntimeNotRecognized", "Waiting for runtime to become available")
        check_runtime(named[0], model, wanted_format)
        return named[0]
    for each in (*own, *shared):
        spec = each["spec"]
        fits = (
            entry.get("name") == wanted_format and entry.get("autoSelect")
            for entry in spec.get("supportedModelFormats", ())
        )
        if any(fits) and not spec.get("disabled"):
            return each
    raise Unsupported(
        "NoSupportingRuntime", "No runtime found to support specified framework/version"
    )


def check_runtime(runtime: Object, model: Object, wanted_format: str | None) -> None:
    spec, said = runtime["spec"], "Specified runtime does not support specified"
    if spec.get("disabled"):
        raise Unsupported("RuntimeDisabled", "Specified runtime is disabled")
    protocol = model.get("protocolVersion")
    if protocol and protocol not in spec.get("protocolVersions", ()):
        raise Unsupported("NoSupportingRuntime", f"{said} protocol version")
    formats = [each.get("name") for each in spec.get("supportedModelFormats", ())]
    if wanted_format not in formats:
        raise Unsupported("NoSupportingRuntime", f"{said} framework/version")


def serving_container(service: Object, runtime: Object) -> Object:
    model = service["spec"]["predictor"].get("model", {})
    containers = runtime["spec"]["containers"]
    base = next((each for each in containers if each["name"] == SERVING), containers[0])
    container = copy.deepcopy(base)
    for key, value in model.items():
        if key in NOT_OF_CONTAINERS:
            continue
        if key == "args":
            container["args"] = [*container.get("args", ()), *value]
        elif key in ("env", "volumeMounts", "ports"):
            container[key] = by_name(container.get(key, []), value, key)
        elif key == "resources":
            container["resources"] = {
                part: {**container.get("resources", {}).get(part, {}), **amounts}
                for part, amounts in value.items()
            }
        else:
            container[key] = value
    return executed(container, service)


def by_name(base: list[Object], added: list[Object], field: str) -> list[Object]:
    key = {"env": "name", "volumeMounts": "mountPath", "ports": "containerPort"}[field]
    merged = {each[key]: each for each in base}
    merged.update({each[key]: each for each in added})
    return list(merged.values())


def executed(container: Object, service: Object) -> Object:
    """KServe runs the container as a Go template over the service's metadata."""
    metadata = service["metadata"]
    text = json.dumps(container)
    for name, value in (("Name", metadata["name"]), ("Namespace", metadata["namespace"])):
        text = text.replace("{{." + name + "}}", value)
    for key, value in (metadata.get("labels") or {}).items():
        text = text.replace("{{.Labels." + key + "}}", value)
    result: Object = json.loads(text)
    return result


def pod_spec(service: Object, runtime: Object) -> Object:
    predictor = service["spec"]["predictor"]
    spec: Object = {"containers": [serving_container(service, runtime)]}
    for key in FROM_PREDICTOR:
        value = predictor.get(key)
        if value is None and key in FROM_RUNTIME:
            value = runtime["spec"].get(key)
        elif key in ("volumes", "tolerations") and runtime["spec"].get(key):
            value = [*runtime["spec"][key], *predictor[key]] if value else runtime["spec"][key]
        if value is not None:
            spec[key] = copy.deepcopy(value)
    with_model(spec, predictor.get("model", {}).get("storageUri", ""))
    return spec


def with_model(spec: Object, uri: str) -> None:
    """Where the model comes from: a volume, an image, or the storage initializer's download."""
    if not uri:
        return
    mount = {"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": True}
    if uri.startswith("pvc://"):
        claim, _, path = uri.removeprefix("pvc://").partition("/")
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}}
        volume = {"name": "kserve-pvc-source", **source}
        mount = {**mount, "name": "kserve-pvc-source", "subPath": path}
    else:
        volume = {"name": "kserve-provision-location", "emptyDir": {}}
        spec.setdefault("initContainers", []).append(
            {
                "name": INITIALIZER,
                "image": "kserve/storage-initializer:v0.20.0",
                "args": [uri, "/mnt/models"],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "100Mi"},
                    "limits": {"cpu": "1", "memory": "1Gi"},
                },
                "volumeMounts": [{"name": volume["name"], "mountPath": "/mnt/models"}],
            }
        )
    spec.setdefault("volumes", []).append(volume)
    spec["containers"][0].setdefault("volumeMounts", []).append(mount)


def owner(item: Object) -> list[Object]:
    return [
        {
            "apiVersion": item["apiVersion"],
            "kind": item["kind"],
            "name": item["metadata"]["name"],
            "uid": item["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def labels_of(service: Object) -> dict[str, str]:
    name = service["metadata"]["name"]
    return {
        **(service["metadata"].get("labels") or {}),
        "app": f"isvc.{name}-predictor",
        "component": "predictor",
        "serving.kserve.io/inferenceservice": name,
    }


def annotations_of(service: Object) -> dict[str, str]:
    own = service["metadata"].get("annotations") or {}
    kept = {key: value for key, value in own.items() if "last-applied" not in key}
    uri = service["spec"]["predictor"].get("model", {}).get("storageUri")
    source = "internal.serving.kserve.io/storage-initializer-sourceuri"
    return {**kept, source: uri} if uri else kept


def deployment_of(service: Object, runtime: Object) -> Object:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    predictor, labels = service["spec"]["predictor"], labels_of(service)
    spec: Object = {
        "replicas": predictor.get("minReplicas", 1),
        "selector": {"matchLabels": {"app": labels["app"]}},
        "template": {
            "metadata": {"labels": labels, "annotations": annotations_of(service)},
            "spec": pod_spec(service, runtime),
        },
    }
    if predictor.get("deploymentStrategy"):
        spec["strategy"] = predictor["deploymentStrategy"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{name}-predictor",
            "namespace": namespace,
            "labels": labels,
            "annotations": {
                **annotations_of(service),
                "deployment.kubernetes.io/revision": "1",
            },
            "ownerReferences": owner(service),
        },
        "spec": spec,
    }


def service_of(service: Object, deployment: Object) -> Object:
    """ClusterIP on port 80 to the container's first port."""
    ports = deployment["spec"]["template"]["spec"]["containers"][0].get("ports") or [{}]
    first = ports[0].get("containerPort", 8080)
    listed = [{"name": "http", "port": 80, "targetPort": first, "protocol": "TCP"}]
    for each in ports[1:]:
        number = each["containerPort"]
        listed.append({"name": each.get("name", f"port-{number}"), "port": number})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": deployment["metadata"]["name"],
            "namespace": deployment["metadata"]["namespace"],
            "labels": labels_of(service),
            "ownerReferences": owner(service),
        },
        "spec": {"selector": deployment["spec"]["selector"]["matchLabels"], "ports": listed},
    }

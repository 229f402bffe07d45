"""What the API server adds to an object on its way in: defaults, addresses, generation."""

import base64
import copy
import random

from tests.kube.errors import Object
from tests.kube.resources import Resource
from tests.kube.storage import Store

NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
WITHOUT_SPEC = ("configmaps", "secrets", "events", "endpoints", "serviceaccounts")


def generated_name(prefix: str) -> str:
    return prefix + "".join(random.choices(NAME_LETTERS, k=5))


def complete(store: Store, resource: Resource, item: Object) -> Object:
    """A copy with the defaults of its kind. Only what readers of these kinds rely on."""
    filled = copy.deepcopy(item)
    defaults = {
        "services": service_defaults,
        "pods": pod_defaults,
        "secrets": secret_defaults,
        "deployments.apps": deployment_defaults,
        "jobs.batch": job_defaults,
        "namespaces": namespace_defaults,
    }.get(resource.full_name)
    if defaults is not None:
        defaults(store, filled)
    return filled


def service_defaults(store: Store, service: Object) -> None:
    spec = service.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if "clusterIP" not in spec and kind != "ExternalName":
        taken = store.revision
        spec["clusterIP"] = f"10.96.{taken // 250 % 250}.{taken % 250 + 1}"
        spec["clusterIPs"] = [spec["clusterIP"]]
    for index, port in enumerate(spec.get("ports", ())):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
        if kind in ("NodePort", "LoadBalancer"):
            port.setdefault("nodePort", 30000 + (store.revision + index) % 2767)
    service.setdefault("status", {"loadBalancer": {}})


def pod_defaults(store: Store, pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    pod.setdefault("status", {}).setdefault("phase", "Pending")


def secret_defaults(store: Store, secret: Object) -> None:
    data = secret.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    if encoded:
        secret["data"] = {**secret.get("data", {}), **encoded}
    secret.setdefault("type", "Opaque")


def deployment_defaults(store: Store, deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    spec.setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": rolling})


def job_defaults(store: Store, job: Object) -> None:
    spec = job.setdefault("spec", {})
    for key, value in (("backoffLimit", 6), ("completions", 1), ("parallelism", 1)):
        spec.setdefault(key, value)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    if "selector" not in spec:
        uid = job["metadata"]["uid"]
        labels = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": job["metadata"]["name"],
        }
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        template = spec.setdefault("template", {}).setdefault("metadata", {})
        template["labels"] = {**(template.get("labels") or {}), **labels}


def namespace_defaults(store: Store, namespace: Object) -> None:
    namespace.setdefault("status", {"phase": "Active"})
    namespace.setdefault("spec", {"finalizers": ["kubernetes"]})


def with_generation(resource: Resource, item: Object, before: Object | None) -> Object:
    """Counts changes of anything but metadata and status."""
    if resource.plural in WITHOUT_SPEC:
        item["metadata"].pop("generation", None)
    elif before is None:
        item["metadata"]["generation"] = 1
    else:
        old = before["metadata"].get("generation", 1)
        item["metadata"]["generation"] = old + (desired(item) != desired(before))
    return item


def desired(item: Object) -> Object:
    kept = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    deleted = item["metadata"].get("deletionTimestamp") is not None
    return {**kept, "deleted": deleted}

"""Which kinds the API server double serves, and its discovery documents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

Object = dict[str, Any]

EVERY_VERB = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True)
class Resource:
    """One row of discovery. `versions`: preferred one first; "" is the core group."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = EVERY_VERB

    @property
    def full_name(self) -> str:
        """The name that messages use: pods, inferenceservices.serving.kserve.io."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def custom(self) -> bool:
        """Defined by a CustomResourceDefinition."""
        return self.group in CUSTOM_GROUPS

    def api_version(self, version: str = "") -> str:
        chosen = version or self.versions[0]
        return f"{self.group}/{chosen}" if self.group else chosen


CUSTOM_GROUPS = (
    "serving.kserve.io",
    "serving.knative.dev",
    "keda.sh",
    "gateway.networking.k8s.io",
)
_V1 = ("v1",)
_STATUS = ("status",)

CORE = (
    Resource("", _V1, "configmaps", "ConfigMap", short_names=("cm",)),
    Resource("", _V1, "endpoints", "Endpoints", short_names=("ep",)),
    Resource("", _V1, "events", "Event", short_names=("ev",)),
    Resource("", _V1, "limitranges", "LimitRange", short_names=("limits",)),
    Resource("", _V1, "namespaces", "Namespace", False, ("ns",), ("status", "finalize")),
    Resource("", _V1, "nodes", "Node", False, ("no",), _STATUS),
    Resource("", _V1, "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), _STATUS),
    Resource("", _V1, "persistentvolumes", "PersistentVolume", False, ("pv",), _STATUS),
    Resource("", _V1, "pods", "Pod", True, ("po",), ("status", "log", "portforward")),
    Resource("", _V1, "resourcequotas", "ResourceQuota", True, ("quota",), _STATUS),
    Resource("", _V1, "secrets", "Secret"),
    Resource("", _V1, "serviceaccounts", "ServiceAccount", short_names=("sa",)),
    Resource("", _V1, "services", "Service", True, ("svc",), _STATUS),
    Resource("apps", _V1, "deployments", "Deployment", True, ("deploy",), _STATUS),
    Resource("apps", _V1, "replicasets", "ReplicaSet", True, ("rs",), _STATUS),
    Resource("apps", _V1, "statefulsets", "StatefulSet", True, ("sts",), _STATUS),
    Resource("batch", _V1, "jobs", "Job", True, (), _STATUS),
    Resource("batch", _V1, "cronjobs", "CronJob", True, ("cj",), _STATUS),
    Resource(
        "autoscaling",
        ("v2",),
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        True,
        ("hpa",),
        _STATUS,
    ),
    Resource("networking.k8s.io", _V1, "ingresses", "Ingress", True, ("ing",), _STATUS),
    Resource("discovery.k8s.io", _V1, "endpointslices", "EndpointSlice"),
    Resource("node.k8s.io", _V1, "runtimeclasses", "RuntimeClass", False),
    Resource("scheduling.k8s.io", _V1, "priorityclasses", "PriorityClass", False, ("pc",)),
    Resource("storage.k8s.io", _V1, "storageclasses", "StorageClass", False, ("sc",)),
    Resource("coordination.k8s.io", _V1, "leases", "Lease"),
    Resource("rbac.authorization.k8s.io", _V1, "roles", "Role"),
    Resource("rbac.authorization.k8s.io", _V1, "rolebindings", "RoleBinding"),
    Resource(
        "apiextensions.k8s.io",
        _V1,
        "customresourcedefinitions",
        "CustomResourceDefinition",
        False,
        ("crd", "crds"),
        _STATUS,
    ),
    Resource(
        "authorization.k8s.io",
        _V1,
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        False,
        verbs=("create",),
    ),
    Resource(
        "authorization.k8s.io",
        _V1,
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        False,
        verbs=("create",),
    ),
    Resource(
        "authentication.k8s.io",
        _V1,
        "selfsubjectreviews",
        "SelfSubjectReview",
        False,
        verbs=("create",),
    ),
)

KNATIVE = (
    Resource("serving.knative.dev", _V1, "services", "Service", True, ("ksvc",), _STATUS),
    Resource("serving.knative.dev", _V1, "revisions", "Revision", True, ("rev",), _STATUS),
    Resource("serving.knative.dev", _V1, "routes", "Route", True, ("rt",), _STATUS),
    Resource("serving.knative.dev", _V1, "configurations", "Configuration", True, (), _STATUS),
)
KEDA = (
    Resource("keda.sh", ("v1alpha1",), "scaledobjects", "ScaledObject", True, ("so",), _STATUS),
)
GATEWAY = (
    Resource("gateway.networking.k8s.io", _V1, "gateways", "Gateway", True, ("gtw",), _STATUS),
    Resource("gateway.networking.k8s.io", _V1, "httproutes", "HTTPRoute", True, (), _STATUS),
)
EXTRAS = {"knative": KNATIVE, "keda": KEDA, "gateway": GATEWAY}


def kserve_resources(version: str) -> tuple[Resource, ...]:
    """What KServe of that version adds; LLMInferenceService came with 0.16."""
    group, minor = "serving.kserve.io", int(version.split(".")[1])
    found = [
        Resource(
            group, ("v1beta1",), "inferenceservices", "InferenceService", True, ("isvc",), _STATUS
        ),
        Resource(group, ("v1alpha1",), "servingruntimes", "ServingRuntime"),
        Resource(group, ("v1alpha1",), "clusterservingruntimes", "ClusterServingRuntime", False),
        Resource(
            group, ("v1alpha1",), "clusterstoragecontainers", "ClusterStorageContainer", False
        ),
    ]
    if minor >= 16:
        served = ("v1alpha2", "v1alpha1") if minor >= 17 else ("v1alpha1",)
        llm = Resource(group, served, "llminferenceservices", "LLMInferenceService")
        found.append(replace(llm, short_names=("llmisvc",), subresources=_STATUS))
    return tuple(found)


def served_resources(kserve: str | None, extras: Iterable[str] = ()) -> tuple[Resource, ...]:
    """Every resource of a cluster with that KServe (None: not installed)."""
    added = tuple(each for name in extras for each in EXTRAS[name])
    return CORE + (kserve_resources(kserve) if kserve else ()) + added


def find(served: Sequence[Resource], group: str, version: str, plural: str) -> Resource | None:
    for each in served:
        if each.group == group and each.plural == plural and version in each.versions:
            return each
    return None


def group_versions(served: Sequence[Resource]) -> dict[str, list[str]]:
    """Group → its versions, the most stable first."""
    found: dict[str, list[str]] = {}
    for each in served:
        versions = found.setdefault(each.group, [])
        versions.extend(new for new in each.versions if new not in versions)
    for versions in found.values():
        versions.sort(key=stability, reverse=True)
    return found


def stability(version: str) -> tuple[int, str]:
    """v1 over v1beta1 over v1alpha2 over v1alpha1."""
    rank = 0 if "alpha" in version else 1 if "beta" in version else 2
    return rank, version


def group_document(group: str, versions: Sequence[str]) -> Object:
    listed = [{"groupVersion": f"{group}/{each}", "version": each} for each in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def group_list(served: Sequence[Resource]) -> Object:
    groups = [
        group_document(group, versions)
        for group, versions in group_versions(served).items()
        if group
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def resource_list(served: Sequence[Resource], group: str, version: str) -> Object | None:
    """The APIResourceList of one group and version; None where nothing is served."""
    rows: list[Object] = []
    for each in served:
        if each.group != group or version not in each.versions:
            continue
        row: Object = {
            "name": each.plural,
            "singularName": each.kind.lower(),
            "namespaced": each.namespaced,
            "kind": each.kind,
            "verbs": list(each.verbs),
        }
        if each.short_names:
            row["shortNames"] = list(each.short_names)
        rows.append(row)
        rows.extend(subresource_row(each, name) for name in each.subresources)
    if not rows:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": rows,
    }


def subresource_row(resource: Resource, name: str) -> Object:
    verbs = {"log": ["get"], "portforward": ["create", "get"], "finalize": ["update"]}
    return {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs.get(name, ["get", "patch", "update"]),
    }

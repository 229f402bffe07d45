"""What rendered objects need of a cluster: resources, and other objects that they name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from runners.cluster.api import Object
from runners.cluster.quantity import quantity

SERVICES = ("InferenceService", "LLMInferenceService")


@dataclass(frozen=True)
class Named:
    """An object that has to be there; where: the path of the mention."""

    kind: str
    name: str
    where: str


@dataclass(frozen=True)
class Need:
    """What the pods of one part of a service ask for; amounts are per pod.

    selector, products: labels that a node must have; products: of nvidia.com/gpu.product,
    any of them.
    """

    part: str
    pods: int
    requests: Mapping[str, Decimal]
    limits: Mapping[str, Decimal]
    selector: Mapping[str, str]
    products: tuple[str, ...] = ()

    @property
    def devices(self) -> dict[str, Decimal]:
        """Extended resources: GPUs, MIG slices."""
        return {name: amount for name, amount in self.limits.items() if "/" in name and amount}


def needs(objects: Iterable[Object]) -> list[Need]:
    """Pods and their resources, of each service among the objects."""
    found: list[Need] = []
    for each in objects:
        if each["kind"] == "InferenceService":
            found += _of_inference_service(each)
        elif each["kind"] == "LLMInferenceService":
            found += _of_llm_service(each)
    return found


def _of_inference_service(service: Object) -> Iterator[Need]:
    predictor = service["spec"]["predictor"]
    count = max(int(predictor.get("minReplicas", 1)), 1)
    containers = [predictor["model"]] if predictor.get("model") else predictor.get("containers", [])
    if containers:
        yield _need("predictor", count, containers[0], predictor)
    worker = predictor.get("workerSpec")
    if worker and worker.get("containers"):
        nodes = int(worker.get("pipelineParallelSize") or 2)
        yield _need("worker", count * (nodes - 1), worker["containers"][0], worker)


def _of_llm_service(service: Object) -> Iterator[Need]:
    spec = service["spec"]
    for part, inner in (("decode", spec), ("prefill", spec.get("prefill"))):
        template = (inner or {}).get("template") or {}
        if template.get("containers"):
            count = int((inner or {}).get("replicas", 1))
            yield _need(part, count, template["containers"][0], template)


def _need(part: str, pods: int, container: Object, pod: Object) -> Need:
    resources = container.get("resources") or {}
    limits = _amounts(resources.get("limits"))
    return Need(
        part=part,
        pods=pods,
        requests={**limits, **_amounts(resources.get("requests"))},
        limits=limits,
        selector=pod.get("nodeSelector") or {},
        products=tuple(_products(pod)),
    )


def _amounts(resources: Any) -> dict[str, Decimal]:
    return {name: quantity(value) for name, value in (resources or {}).items()}


def _products(pod: Object) -> Iterator[str]:
    affinity = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    for term in (affinity or {}).get("nodeSelectorTerms") or ():
        for each in term.get("matchExpressions") or ():
            if each.get("key") == "nvidia.com/gpu.product" and each.get("operator") == "In":
                yield from each.get("values") or ()


def named_objects(objects: Mapping[str, Object]) -> list[Named]:
    """Everything that the objects refer to by name and that is not one of them."""
    own = {(each["kind"], each["metadata"]["name"]) for each in objects.values()}
    found = {
        (named.kind, named.name): named
        for each in objects.values()
        for named in _mentioned(each.get("spec") or {}, each["kind"])
        if (named.kind, named.name) not in own
    }
    return list(found.values())


def _mentioned(value: Any, where: str) -> Iterator[Named]:
    if isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _mentioned(inner, f"{where}[{position}]")
    if not isinstance(value, Mapping):
        return
    yield from _by_field(value, where)
    for key, inner in value.items():
        yield from _mentioned(inner, f"{where}.{key}")


# Field that holds a reference → (kind, the key of the name inside it).
_REFERENCES = {
    "secretKeyRef": ("Secret", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "configMap": ("ConfigMap", "name"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}
_NAMES = {
    "serviceAccountName": "ServiceAccount",
    "runtimeClassName": "RuntimeClass",
    "storageClassName": "StorageClass",
}


def _by_field(value: Mapping[str, Any], where: str) -> Iterator[Named]:
    for key, inner in value.items():
        place = f"{where}.{key}"
        if key in _REFERENCES and isinstance(inner, Mapping) and not inner.get("optional"):
            kind, field = _REFERENCES[key]
            if inner.get(field):
                yield Named(kind, inner[field], place)
        elif key in _NAMES and isinstance(inner, str):
            yield Named(_NAMES[key], inner, place)
        elif key == "imagePullSecrets":
            yield from (Named("Secret", each["name"], place) for each in inner or ())
        elif key in ("storageUri", "uri") and str(inner).startswith("pvc://"):
            claim = str(inner).removeprefix("pvc://").partition("/")[0]
            yield Named("PersistentVolumeClaim", claim, place)

"""What KServe would make of our objects: the pods, as far as we decide them; and their faults."""

import re
from collections.abc import Iterator
from typing import Any

Pod = dict[str, Any]
_KINDS = ("InferenceService", "LLMInferenceService")
_POD_KEYS = frozenset(
    {
        "nodeSelector",
        "tolerations",
        "affinity",
        "runtimeClassName",
        "serviceAccountName",
        "imagePullSecrets",
    }
)


def service(objects: dict[str, Any]) -> dict[str, Any]:
    """The InferenceService or LLMInferenceService."""
    (found,) = (each for each in objects.values() if each["kind"] in _KINDS)
    return dict(found)


def pods(objects: dict[str, Any]) -> dict[str, Pod]:
    """Role → pod: head (and worker) of a runtime with its service laid over, or llm-d's two."""
    served = service(objects)
    spec = served["spec"]
    if served["kind"] == "LLMInferenceService":
        roles = {"decode": spec["template"]}
        if "prefill" in spec:
            roles["prefill"] = spec["prefill"]["template"]
        return roles
    predictor = spec["predictor"]
    (runtime,) = (each for each in objects.values() if each["kind"] == "ServingRuntime")
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"]
    found = {"head": _merged(runtime["spec"], predictor, predictor["model"]["resources"])}
    if "workerSpec" in predictor:
        worker = predictor["workerSpec"]
        (given,) = worker["containers"]
        found["worker"] = _merged(runtime["spec"]["workerSpec"], worker, given["resources"])
    return found


def _merged(runtime: dict[str, Any], service: dict[str, Any], resources: dict[str, Any]) -> Pod:
    (container,) = runtime["containers"]
    place = {key: value for key, value in service.items() if key in _POD_KEYS}
    containers = [{**container, "resources": resources}]
    return {"containers": containers, "volumes": runtime["volumes"], **place}


def as_object(pod: Pod) -> dict[str, Any]:
    """A Pod that Kubernetes' own schema can judge."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}


def faults(objects: dict[str, Any]) -> Iterator[str]:
    """What no schema sees and the cluster would refuse or the engine stumble over."""
    for file, each in objects.items():
        yield from _metadata_faults(file, each["metadata"])
    maps = {each["metadata"]["name"] for each in objects.values() if each["kind"] == "ConfigMap"}
    for role, pod in pods(objects).items():
        (container,) = pod["containers"]
        yield from _repeated(f"{role}: variable", [each["name"] for each in container["env"]])
        names = [each["name"] for each in pod["volumes"]]
        yield from _repeated(f"{role}: volume", names)
        mounts = container["volumeMounts"]
        yield from _repeated(f"{role}: mount", [each["mountPath"] for each in mounts])
        missing = {each["name"] for each in mounts} ^ set(names)
        yield from (f"{role}: volume {name} without mount or the reverse" for name in missing)
        for volume in pod["volumes"]:
            if "configMap" in volume and volume["configMap"]["name"] not in maps:
                yield f"{role}: there is no ConfigMap {volume['configMap']['name']}"
        yield from _resource_faults(role, container["resources"])
        flags = [word.partition("=")[0] for word in container.get("args", []) if word[:2] == "--"]
        yield from _repeated(f"{role}: flag", flags)
        ports = [each["containerPort"] for each in container.get("ports", [])]
        yield from _repeated(f"{role}: port", ports)
        for each in pod.get("tolerations", []):
            if each["operator"] == "Equal" and "key" not in each:
                yield f"{role}: a toleration without a key"
    served = service(objects)
    accounts = {each["metadata"]["name"] for each in objects.values()} & {
        pod.get("serviceAccountName") for pod in pods(objects).values()
    }
    if any(each["kind"] == "ServiceAccount" for each in objects.values()) and not accounts:
        yield "a ServiceAccount that no pod uses"
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", served["metadata"]["name"]):
        yield f"{served['metadata']['name']} is no service's name"


def _metadata_faults(file: str, metadata: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"]):
        yield f"{file}: the name {metadata['name']}"
    for key, value in metadata["labels"].items():
        if not re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", value):
            yield f"{file}: the label {key}: {value}"
        if len(value) > 63 or len(key.rpartition("/")[2]) > 63:
            yield f"{file}: the label {key} is too long"
    for key, value in metadata["annotations"].items():
        if not isinstance(value, str):
            yield f"{file}: the annotation {key} is no text"


def _resource_faults(role: str, resources: dict[str, Any]) -> Iterator[str]:
    requests, limits = resources["requests"], resources["limits"]
    for name in {*requests, *limits}:
        if name.startswith("nvidia.com/"):
            if requests.get(name) != limits.get(name):
                yield f"{role}: {name} requested and limited differently"
            if not re.fullmatch(r"[1-9]\d*", str(limits.get(name))):
                yield f"{role}: {name} is {limits.get(name)}"
    for name in ("cpu", "memory"):
        if name not in requests or name not in limits:
            yield f"{role}: {name} is not given"


def _repeated(what: str, names: list[Any]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{what} {name} twice"


def gpus(pod: Pod) -> int:
    """GPUs (or slices) of a pod."""
    limits = pod["containers"][0]["resources"]["limits"]
    return sum(int(count) for name, count in limits.items() if name.startswith("nvidia.com/"))


def ranks(arguments: list[str]) -> int:
    """Tensor × pipeline × data parallel size on a vLLM command line."""
    sizes = 1
    for name in ("tensor", "pipeline", "data"):
        flag = f"--{name}-parallel-size"
        if flag in arguments:
            sizes *= int(arguments[arguments.index(flag) + 1])
    return sizes

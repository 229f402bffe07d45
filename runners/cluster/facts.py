"""What the cluster tells about what is measured: nodes, GPUs, images, the engine's own log."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from runners.cluster.api import ApiError, Connection, Object, find, request
from runners.cluster.logs import read_log
from runners.cluster.preflight import kserve_version
from runners.cluster.seen import engine_container, engine_status, name_of
from runners.engines import vllm

# Labels of GPU feature discovery and of the machine's kind.
_NODE_LABELS = (
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.memory",
    "nvidia.com/mig.strategy",
    "nvidia.com/cuda.driver-version.full",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)


def cluster_facts(connection: Connection, pods: Sequence[Object]) -> dict[str, Any]:
    """Versions, and per pod its node, image and GPUs; a missing key could not be seen."""
    facts: dict[str, Any] = {"context": connection.context, "namespace": connection.namespace}
    with suppress(ApiError):
        facts["kubernetes_version"] = request(connection, "get", "/version").get("gitVersion")
    if version := kserve_version(connection):
        facts["kserve_version"] = version
    facts["pods"] = [_pod(pod) for pod in pods]
    if nodes := _nodes(connection, pods):
        facts["nodes"] = nodes
    return facts


def _pod(pod: Object) -> dict[str, Any]:
    container, status = engine_container(pod) or {}, engine_status(pod)
    limits = (container.get("resources") or {}).get("limits") or {}
    return {
        "name": name_of(pod),
        "node": pod["spec"].get("nodeName"),
        "image": container.get("image"),
        "image_digest": str(status.get("imageID") or "").rpartition("//")[2] or None,
        "limits": dict(limits),
    }


def _nodes(connection: Connection, pods: Sequence[Object]) -> dict[str, Any]:
    """Labels of the pods' nodes that tell of GPU and machine; empty where we may not look."""
    found: dict[str, Any] = {}
    for name in sorted({pod["spec"].get("nodeName") or "" for pod in pods} - {""}):
        try:
            node = find(connection, "Node", name)
        except ApiError:
            return {}
        labels = ((node or {}).get("metadata") or {}).get("labels") or {}
        found[name] = {key: labels[key] for key in _NODE_LABELS if key in labels}
    return found


def engine_facts(connection: Connection, pod: Object) -> dict[str, Any]:
    """What the engine's start-up log tells, and the arguments of its container."""
    container = engine_container(pod) or {}
    facts: dict[str, Any] = {}
    with suppress(ApiError):
        facts = vllm.startup_facts(read_log(connection, name_of(pod), container["name"]))
    arguments = [*(container.get("command") or ()), *(container.get("args") or ())]
    return {**facts, "engine_arguments": arguments}

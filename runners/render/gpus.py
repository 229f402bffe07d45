"""How the machines that a profile names are asked for: resources, tolerations, nodes."""

from typing import Any

from runners.checks import tables
from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.profiles.serving_section import Gpu
from runners.render.templates import Object


def node_products(gpu: Gpu) -> list[str]:
    """Values of the node label nvidia.com/gpu.product that satisfy `gpu`; empty: any.

    A type is a short name (H100: every form of it) or one label value (NVIDIA-H100-PCIe).
    Raises UsageError for a name that is neither.
    """
    if gpu.type is None or gpu.count == 0:
        return []
    known = tables.gpu(gpu.type)
    if gpu.type.startswith(("NVIDIA-", "Tesla-", "Quadro-")):
        return [gpu.type]
    if known is None:
        raise UsageError(
            f"resources.gpu.type: {gpu.type} is not known; give one of "
            f"{', '.join(tables.gpu_names())} or the value of the node label "
            "nvidia.com/gpu.product"
        )
    if not known.products:
        raise UsageError(
            f"resources.gpu.type: {gpu.type} is not an NVIDIA GPU, and only those are rendered; "
            "deploy it yourself and give --url, or --existing NAME"
        )
    return list(known.products)


def resource_name(gpu: Gpu) -> str:
    """The extended resource: nvidia.com/gpu, or the MIG profile's (`+me` is spelled `.me`)."""
    if gpu.mig is None:
        return "nvidia.com/gpu"
    return f"nvidia.com/mig-{gpu.mig.replace('+', '.')}"


def resources(profile: Profile, gpu: Gpu | None = None) -> dict[str, str]:
    """Requests and limits alike: a replica that can borrow is not the same in every run."""
    gpu = gpu or profile.resources.gpu
    asked = {"cpu": profile.resources.cpu, "memory": profile.resources.memory}
    if gpu.count:
        asked[resource_name(gpu)] = str(gpu.count)
    return asked


def placement(profile: Profile, gpu: Gpu | None = None) -> Object:
    """Keys of a pod's specification that say where it may run and as whom."""
    serving, gpu = profile.serving, gpu or profile.resources.gpu
    tolerations: list[dict[str, Any]] = []
    if gpu.count:
        tolerations.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    for given in serving.tolerations:
        if given.value is not None and given.operator == "Exists":
            raise UsageError(
                "serving.tolerations: a value goes with operator Equal; add it, or drop the value"
            )
        if given.key is None and given.operator == "Equal":
            raise UsageError("serving.tolerations: operator Equal needs a key; add it")
        tolerations.append(given.model_dump(exclude_none=True))
    products = node_products(gpu)
    expression = {"key": "nvidia.com/gpu.product", "operator": "In", "values": products}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": term}
    keys: Object = {
        "nodeSelector": dict(serving.node_selector),
        "tolerations": tolerations,
        "affinity": {"nodeAffinity": required} if products else {},
        "runtimeClassName": serving.runtime_class,
        "serviceAccountName": serving.service_account,
        "imagePullSecrets": [{"name": name} for name in serving.image_pull_secrets],
    }
    return {key: value for key, value in keys.items() if value}

"""How a GPU that a profile names is asked for on a node."""

from runners.errors import UsageError
from runners.profiles.serving_section import Gpu

# The label nvidia.com/gpu.product as GPU feature discovery writes it. Time-sliced GPUs
# (suffix -SHARED) are left out: a neighbour's load would be measured too.
PRODUCTS = {
    "T4": ("Tesla-T4",),
    "V100": ("Tesla-V100-SXM2-16GB", "Tesla-V100-SXM2-32GB", "Tesla-V100-PCIE-16GB"),
    "A10": ("NVIDIA-A10",),
    "A10G": ("NVIDIA-A10G",),
    "A100": (
        "NVIDIA-A100-SXM4-40GB",
        "NVIDIA-A100-SXM4-80GB",
        "NVIDIA-A100-PCIE-40GB",
        "NVIDIA-A100-80GB-PCIe",
    ),
    "L4": ("NVIDIA-L4",),
    "L40": ("NVIDIA-L40",),
    "L40S": ("NVIDIA-L40S",),
    "H100": ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
    "H200": ("NVIDIA-H200", "NVIDIA-H200-NVL"),
    "B200": ("NVIDIA-B200",),
}


def node_products(gpu: Gpu) -> list[str]:
    """Values of the node label nvidia.com/gpu.product that satisfy `gpu`; empty: any.

    A type is a short name (H100: every form of it) or one label value (NVIDIA-H100-PCIe).
    Raises UsageError for a name that is neither.
    """
    if gpu.type is None or gpu.count == 0:
        return []
    if gpu.type.startswith(("NVIDIA-", "Tesla-")):
        return [gpu.type]
    if (known := PRODUCTS.get(gpu.type.upper())) is None:
        raise UsageError(
            f"resources.gpu.type: {gpu.type} is not known; give one of {', '.join(PRODUCTS)} or "
            "the value of the node label nvidia.com/gpu.product"
        )
    return list(known)


def resource_name(gpu: Gpu) -> str:
    """The extended resource: nvidia.com/gpu, or the MIG profile's (`+me` is spelled `.me`)."""
    if gpu.mig is None:
        return "nvidia.com/gpu"
    return f"nvidia.com/mig-{gpu.mig.replace('+', '.')}"

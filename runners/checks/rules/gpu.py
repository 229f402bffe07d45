"""The GPU that a profile names, or that it does without."""

from collections.abc import Iterator
from difflib import get_close_matches

from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule
from runners.checks.tables import gpu_names

TYPE, COUNT = "resources.gpu.type", "resources.gpu.count"
# The beginnings of node labels, which may be written in place of a short name.
_LABELS = ("NVIDIA-", "Tesla-", "Quadro-")


@rule(
    "gpu.unknown-type",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="The type becomes a node selector on the label nvidia.com/gpu.product of GPU feature "
    "discovery; with a name that no node has, pods stay Pending.",
    engines=(),
    targets=("kserve", "local"),
)
def unknown_type(case: Case) -> Iterator[Hit]:
    """The GPU's type is a short name known here, or a node's label nvidia.com/gpu.product."""
    named = case.profile.resources.gpu.type
    if named is None or case.on_cpu or case.gpu is not None:
        return
    known = gpu_names()
    if named.startswith(_LABELS):
        why = f"{named} is not known here, so no rule can tell what fits or runs on it."
        yield Hit(TYPE, why, f"Known are {', '.join(known)}.", severity="info")
        return
    close = get_close_matches(named.upper(), [name.upper() for name in known], n=1, cutoff=0.6)
    best = next((name for name in known if close and name.upper() == close[0]), None)
    fix = f"resources.gpu.type: {best}" if best else f"One of {', '.join(known)}."
    elsewhere = case.profile.target != "kserve"
    why = f"there is no GPU {named!r} in the table."
    yield Hit(TYPE, why, fix, severity="warning" if elsewhere else None)


@rule(
    "gpu.not-nvidia",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="Pods ask for nvidia.com/gpu, which AMD's nodes do not offer.",
    engines=(),
    targets=("kserve",),
)
def not_nvidia(case: Case) -> Iterator[Hit]:
    """On KServe, GPUs are NVIDIA's."""
    if case.gpu is not None and case.gpu.capability is None:
        why = f"pods ask for nvidia.com/gpu, and a {case.gpu.name} is something else."
        yield Hit(TYPE, why, "Serve it yourself and measure it with target: url.")


@rule(
    "gpu.too-old",
    severity="error",
    fails="after loading",
    basis="documents",
    evidence="vLLM's installation page asks for compute capability 7.0, from 0.20 on for 7.5; the "
    "images are built for these and newer (torch_cuda_arch_list in docker/Dockerfile).",
)
def too_old(case: Case) -> Iterator[Hit]:
    """vLLM needs compute capability 7.0, and from 0.20 on 7.5."""
    gpu = case.gpu
    if gpu is None or gpu.capability is None:
        return
    floor = 75 if case.at_least(0, 20) else 70
    if gpu.capability < floor:
        why = (
            f"vLLM {case.version} is built for compute capability {floor / 10} and higher;"
            f" a {gpu.name} has {gpu.sm}."
        )
        own = case.profile.engine.image is not None
        fix = "Take a T4 or newer." if gpu.capability < 70 else "Take vLLM 0.19, or a T4 or newer."
        yield Hit(TYPE, why, fix, severity="warning" if own else None)


@rule(
    "gpu.no-cpu-image",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="vLLM publishes a CPU image from 0.19 on and KServe's Hugging Face server has one; "
    "those of TGI, TensorRT-LLM and Triton need a GPU driver.",
    engines=(),
    targets=("kserve",),
)
def no_cpu_image(case: Case) -> Iterator[Hit]:
    """Without a GPU, the engine's image must be one for CPUs."""
    if not case.on_cpu or case.profile.engine.image is not None:
        return
    if case.backend == "vllm-huggingface" or (case.backend == "vllm" and case.at_least(0, 19)):
        return
    older = f" {case.version}" if case.backend == "vllm" else ""
    why = f"{COUNT} is 0, and there is no image of {case.backend}{older} for CPUs."
    yield Hit(COUNT, why, "Set engine.image to a CPU image, or give the pod a GPU.")


@rule(
    "gpu.type-without-gpu",
    severity="warning",
    fails="silently",
    basis="arithmetic",
    evidence="With a count of 0 no GPU is asked for, and the type selects no node.",
    engines=(),
)
def type_without_gpu(case: Case) -> Iterator[Hit]:
    """A GPU type or slice means nothing with a count of 0."""
    gpu = case.profile.resources.gpu
    for key, value in ((TYPE, gpu.type), ("resources.gpu.mig", gpu.mig)):
        if case.on_cpu and value is not None:
            yield Hit(
                key, f"{COUNT} is 0, so no {value} is used.", f"{COUNT}: 1, or remove the line."
            )


@rule(
    "gpu.cpu-image",
    severity="warning",
    fails="in the results",
    basis="documents",
    evidence="Images for CPUs carry cpu in their names (vllm-cpu-release-repo, …-cpu) and do not "
    "see the GPU that the pod reserves.",
    engines=(),
    targets=("kserve",),
)
def cpu_image(case: Case) -> Iterator[Hit]:
    """An image for CPUs leaves the pod's GPU idle."""
    image = case.profile.engine.image
    if image is None or case.on_cpu:
        return
    words = image.rpartition("@")[0] or image
    if "cpu" in words.replace("/", "-").replace(":", "-").replace("_", "-").lower().split("-"):
        count = case.profile.resources.gpu.count
        why = f"the image {image} is for CPUs, and the pod reserves {count} GPU."
        yield Hit(
            "engine.image",
            why,
            f"{COUNT}: 0, or an image for GPUs.",
            (Change(COUNT, 0, "the image is for CPUs"),),
        )


@rule(
    "gpu.several-forms",
    severity="info",
    fails="in the results",
    basis="documents",
    evidence="NVIDIA sells a GPU of one name with different memory; the node labels differ.",
    engines=(),
)
def several_forms(case: Case) -> Iterator[Hit]:
    """A name that stands for GPUs of very different memory does not say which is measured."""
    gpu = case.gpu
    if gpu is not None and gpu.memory_gib < 0.6 * gpu.largest_gib:
        why = f"{gpu.name} stands for GPUs of {gpu.memory_gib:g} to {gpu.largest_gib:g} GiB."
        yield Hit(TYPE, why, f"Write {gpu.name}-{gpu.memory_gib:g}, or the node's label.")

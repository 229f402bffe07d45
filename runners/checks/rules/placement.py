"""GPUs of a replica against what the engine uses: counts, MIG slices, the namespace's quota."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runners.checks.amounts import whole
from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule
from runners.profiles.serving_section import Gpu

COUNT, MIG = "resources.gpu.count", "resources.gpu.mig"


@dataclass(frozen=True)
class Side:
    """One kind of pod: the replicas, or the prefill side of a disaggregated service.

    ranks: processes of the engine that want a GPU each, over all nodes of a replica; None
    where a size is no number.
    """

    where: str
    gpu: Gpu
    nodes: int
    replicas: int
    ranks: int | None

    @property
    def count(self) -> int:
        """GPUs or slices of one replica."""
        return self.gpu.count * self.nodes


def sides(case: Case) -> Iterator[Side]:
    """The profile's own side and, where there is one, the prefill side."""
    serving, gpu = case.profile.serving, case.profile.resources.gpu
    yield Side(COUNT, gpu, serving.nodes, _replicas(case), _ranks(case.args))
    prefill = serving.prefill
    if prefill is not None:
        both = {**case.args, **{k.replace("-", "_"): v for k, v in prefill.args.items()}}
        where = COUNT if prefill.gpu is None else "serving.prefill.gpu.count"
        yield Side(where, prefill.gpu or gpu, serving.nodes, prefill.replicas, _ranks(both))


def _replicas(case: Case) -> int:
    scaling = case.profile.serving.autoscaling
    if scaling.autoscaler == "none":
        return case.profile.serving.replicas
    return scaling.max_replicas


def _ranks(args: Mapping[str, Any]) -> int | None:
    """TP × PP × context ranks × the data-parallel copies that run in one replica."""
    names = ("tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")
    sizes = [whole(args.get(name) or 1) for name in names]
    copies = whole(args.get("data_parallel_size_local") or args.get("data_parallel_size") or 1)
    if args.get("data_parallel_rank") is not None or args.get("data_parallel_external_lb") is True:
        copies = 1
    product = 1
    for size in (*sizes, copies):
        if size is None or size < 1:
            return None
        product *= size
    return product


@rule(
    "parallel.gpus-missing",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="vLLM, ParallelConfig: 'World size (…) is larger than the number of available GPUs'; "
    "before 0.13 it waits for a Ray cluster that is not there.",
    engines=("vllm", "tensorrt-llm"),
    targets=("kserve",),
)
def gpus_missing(case: Case) -> Iterator[Hit]:
    """A replica needs as many GPUs as the engine has ranks: TP x PP x copies."""
    for side in sides(case):
        if side.ranks is None or side.count == 0 or side.ranks <= side.count or side.gpu.mig:
            continue
        each = -(-side.ranks // side.nodes)
        nodes = f" on {side.nodes} nodes" if side.nodes > 1 else ""
        wanted = f"{side.ranks} GPUs ({_product(case)})"
        why = f"the engine wants {wanted}, the replica has {side.count}{nodes}."
        changes = (Change(side.where, each, "one GPU for each rank"),) if each <= 8 else ()
        yield Hit(side.where, why, f"{side.where}: {each}", changes)


def _product(case: Case) -> str:
    """The parallel sizes above 1 as a product in words."""
    sizes = {
        "tensor": case.tensor_parallel,
        "pipeline": case.pipeline_parallel,
        "data": case.data_parallel,
    }
    return (
        " x ".join(f"{kind} {size}" for kind, size in sizes.items() if size > 1) or "prefill side"
    )


@rule(
    "parallel.gpus-idle",
    severity="warning",
    fails="in the results",
    basis="arithmetic",
    evidence="The pod reserves its GPUs and the cost counts them; the engine starts one process "
    "for each rank and leaves the others alone.",
    targets=("kserve",),
)
def gpus_idle(case: Case) -> Iterator[Hit]:
    """GPUs that the engine does not use are paid for all the same."""
    for side in sides(case):
        if side.ranks is None or side.ranks >= side.count:
            continue
        idle, each = side.count - side.ranks, max(1, -(-side.ranks // side.nodes))
        why = f"the engine uses {side.ranks} of {side.count} GPUs; {idle} would stand idle."
        times = side.count // side.ranks
        more = f", or {times} times the tensor_parallel_size" if times > 1 else ""
        fix = f"{side.where}: {each}{more}."
        yield Hit(side.where, why, fix)


@rule(
    "parallel.mig-joined",
    severity="error",
    fails="after loading",
    basis="documents",
    evidence="NVIDIA's MIG guide: no peer-to-peer between slices, over PCIe or NVLink; NCCL "
    "refuses two ranks on one GPU. vLLM's maintainers call it out of scope (vllm#6551, #7211).",
    engines=("vllm", "tgi", "tensorrt-llm"),
)
def mig_joined(case: Case) -> Iterator[Hit]:
    """MIG slices cannot be joined: tensor and pipeline parallel sizes stay 1."""
    size = case.tensor_parallel * case.pipeline_parallel
    if size <= 1:
        return
    for side in sides(case):
        if side.gpu.mig is not None:
            why = f"{size} slices of {side.gpu.mig} cannot exchange data as GPUs do."
            fix = "Take a larger slice with tensor_parallel_size: 1, or whole GPUs."
            yield Hit(MIG if side.where == COUNT else "serving.prefill.gpu.mig", why, fix)


@rule(
    "parallel.mig-profile",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="NVIDIA's MIG user guide, supported profiles; a resource that no node offers leaves "
    "the pod Pending.",
    engines=(),
    targets=("kserve",),
)
def mig_profile(case: Case) -> Iterator[Hit]:
    """The MIG profile must be one that the GPU can be divided into."""
    from runners.checks.tables import gpu as known_gpu

    for side in sides(case):
        slice_name = side.gpu.mig
        facts = known_gpu(side.gpu.type) if slice_name and side.gpu.type else None
        if slice_name is None or facts is None or facts.mig is None:
            continue
        key = MIG if side.where == COUNT else "serving.prefill.gpu.mig"
        if not facts.mig:
            why = f"a {facts.name} cannot be divided into slices."
            yield Hit(key, why, "Remove the line, or take an A30, A100, H100 or newer.")
        elif slice_name.removesuffix("+me") not in facts.mig:
            profiles = ", ".join(facts.mig)
            why = f"a {facts.name} has no slices of {slice_name}."
            yield Hit(key, why, f"One of {profiles}.")


@rule(
    "parallel.mig-by-uuid",
    severity="warning",
    fails="at start-up",
    basis="documents",
    evidence="A slice's UUID in CUDA_VISIBLE_DEVICES ended vLLM 0.20.1 (vllm#41848); the device "
    "plugin's resource nvidia.com/mig-… chooses the slice by itself.",
    targets=("kserve",),
)
def mig_by_uuid(case: Case) -> Iterator[Hit]:
    """Slices are chosen by resources.gpu.mig, not by CUDA_VISIBLE_DEVICES."""
    if "MIG-" in case.environment.get("CUDA_VISIBLE_DEVICES", ""):
        key = "engine.env.CUDA_VISIBLE_DEVICES"
        why = "a slice's UUID holds for one node only, and vLLM has failed on it."
        yield Hit(key, why, "Remove the line and write resources.gpu.mig.")


@rule(
    "parallel.quota",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="Kubernetes: a pod above the namespace's ResourceQuota is refused; the Deployment "
    "shows ReplicaFailure and no pod appears.",
    engines=(),
    targets=("kserve",),
)
def quota(case: Case) -> Iterator[Hit]:
    """Replicas x GPUs must be within what the namespace's quota still allows."""
    from runners.render.gpus import resource_name

    if case.cluster is None or not case.cluster.free or case.profile.serving.existing is not None:
        return
    wanted: dict[str, int] = {}
    for side in sides(case):
        name = resource_name(side.gpu)
        wanted[name] = wanted.get(name, 0) + side.count * side.replicas
    for name, need in wanted.items():
        free = case.cluster.free.get(name, case.cluster.free.get(f"requests.{name}"))
        if free is not None and need > free:
            why = f"{need} x {name} are wanted, and the namespace's quota allows {free:g} more."
            yield Hit(COUNT, why, "Fewer replicas or GPUs, or another namespace.")

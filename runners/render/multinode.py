"""One replica over several nodes: what the first node and the workers are started with.

vLLM spreads its own processes (executor mp); Ray is not in its image since 0.19. KServe
runs the workers as a Deployment, names the first node's address in HEAD_SVC and, from 0.18,
the workers' in WORKER_SVC.
"""

from dataclasses import dataclass, field

from runners.checks.tables import vllm_release
from runners.data import folder
from runners.engines.arguments import backend_of
from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render.metadata import kserve_version
from runners.render.storage import Storage
from runners.render.templates import Object

_KEY = "serving.nodes"


@dataclass(frozen=True)
class SeveralNodes:
    """head: further arguments of the first node. command, worker: of the others. by_kserve:
    whether KServe can be told that vLLM spreads itself. All empty on a single node."""

    head: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    worker: list[str] = field(default_factory=list)
    environment: dict[str, Object] = field(default_factory=dict)
    by_kserve: bool = False


def several_nodes(profile: Profile, stored: Storage) -> SeveralNodes:
    """Raises UsageError for what KServe's webhook or the engine would refuse."""
    nodes = profile.serving.nodes
    if nodes == 1:
        return SeveralNodes()
    _refuse(profile, stored)
    by_kserve = kserve_version(profile) >= (0, 18)
    group = ["--nnodes", str(nodes), "--master-addr"]
    own = {"VLLM_HOST_IP": {"fieldRef": {"fieldPath": "status.podIP"}}}
    worker = ["serve", stored.model_path, "--headless", *group, "$(HEAD_SVC)"]
    if nodes == 2:
        command, worker = ["vllm"], [*worker, "--node-rank", "1"]
    else:
        text = (folder("manifests") / "vllm" / "worker.py").read_text(encoding="utf-8")
        command, worker = ["python3", "-c", text], [str(nodes - 1), *worker]
    head = [*group, "$(VLLM_HOST_IP)", "--node-rank", "0"]
    return SeveralNodes(head, command, worker, own, by_kserve)


def _refuse(profile: Profile, stored: Storage) -> None:
    serving, gpu = profile.serving, profile.resources.gpu
    if backend_of(profile) != "vllm" or serving.kind != "InferenceService":
        raise UsageError(f"{_KEY}: only backend vllm as an InferenceService is rendered over nodes")
    pinned = serving.autoscaling.autoscaler == "none" and serving.replicas == 1
    if serving.mode != "Standard" or not pinned:
        raise UsageError(f"{_KEY}: several nodes need mode Standard, one replica and no autoscaler")
    if gpu.count == 0 or gpu.mig is not None:
        raise UsageError(f"{_KEY}: several nodes need whole GPUs; set resources.gpu")
    if "nnodes" not in vllm_release(profile.engine.version).flags:
        raise UsageError(
            f"{_KEY}: vLLM {profile.engine.version} spreads over nodes with Ray only; use a newer"
        )
    if serving.nodes > 2 and kserve_version(profile) < (0, 18):
        raise UsageError(f"{_KEY}: more than two nodes need KServe 0.18; use at most 2")
    if stored.storage_uri is None or not stored.storage_uri.startswith(("pvc://", "oci://")):
        raise UsageError(
            "model.uri: over several nodes KServe takes pvc:// or oci:// only, and fetches nothing "
            "beside it; put the model on a claim that every node can read"
        )
    _refuse_other_sizes(profile)


def _refuse_other_sizes(profile: Profile) -> None:
    nodes, gpus, ranks = profile.serving.nodes, profile.resources.gpu.count, 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        size = profile.engine.args.get(name, 1)
        if not isinstance(size, int) or isinstance(size, bool):
            raise UsageError(f"engine.args.{name}: it must be a whole number; mend it")
        ranks *= size
    if ranks != nodes * gpus:
        raise UsageError(
            f"engine.args.tensor_parallel_size: {ranks} ranks for {nodes} nodes of {gpus} GPUs; "
            f"let tensor × pipeline × data parallel be {nodes * gpus}"
        )

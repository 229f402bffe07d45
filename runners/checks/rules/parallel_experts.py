"""Experts and copies of a model among GPUs."""

from collections.abc import Iterator

from runners.checks import formats
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

EXPERTS = "engine.args.enable_expert_parallel"
BALANCED = "engine.args.enable_eplb"
EXCHANGE = "engine.args.all2all_backend"


def _on(case: Case, name: str) -> bool:
    return case.args.get(name) is True


def _dense(case: Case) -> bool:
    """Whether the model is known to have no experts."""
    return case.model is not None and bool(case.model.layers) and not case.model.experts


@rule(
    "parallel.experts-of-dense",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on a Llama: 'Number of experts in the model must be greater than 0 when "
    "expert parallelism is enabled'.",
    versions=">=0.8.3",
)
def experts_of_dense(case: Case) -> Iterator[Hit]:
    """Expert parallelism needs a model with experts."""
    if _on(case, "enable_expert_parallel") and _dense(case):
        why = "this model has no experts to distribute."
        yield Hit(EXPERTS, why, "Remove the line.", (Change(EXPERTS, REMOVE),))


@rule(
    "parallel.balanced-experts",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'enable_expert_parallel must be True to use EPLB', 'EPLB requires "
    "tensor, prefill-context, or data parallelism', and it is refused on a CPU.",
    versions=">=0.10",
)
def balanced_experts(case: Case) -> Iterator[Hit]:
    """Balancing experts needs GPUs, expert parallelism and more than one rank."""
    if not _on(case, "enable_eplb"):
        return
    ranks = case.tensor_parallel * case.data_parallel
    ranks *= case.number("prefill_context_parallel_size", 1) or 1
    if case.on_cpu:
        yield Hit(BALANCED, "a CPU does not balance experts.", "Remove the line.", _off(BALANCED))
    elif not _on(case, "enable_expert_parallel"):
        why = "enable_eplb balances experts over ranks, and enable_expert_parallel is not set."
        yield Hit(BALANCED, why, "enable_expert_parallel: true", (Change(EXPERTS, True),))
    elif ranks <= 1:
        why = "there is one rank only, so there is nothing to balance."
        yield Hit(BALANCED, why, "Remove the line.", _off(BALANCED))


def _off(key: str) -> tuple[Change, ...]:
    return (Change(key, REMOVE),)


@rule(
    "parallel.redundant-experts",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'num_redundant_experts is set to 2 but EPLB is not enabled'.",
    versions=">=0.10.2",
)
def redundant_experts(case: Case) -> Iterator[Hit]:
    """Redundant experts need enable_eplb."""
    count = (case.section("eplb_config") or {}).get("num_redundant_experts", 0)
    if count not in (0, False) and not _on(case, "enable_eplb"):
        why = "num_redundant_experts is set, and enable_eplb is not."
        fix = "enable_eplb: true, or remove num_redundant_experts."
        yield Hit("engine.args.eplb_config", why, fix)


@rule(
    "parallel.elastic-experts",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'Elastic EP is only supported with enable_eplb=True'; its check of the "
    "pipeline size was read.",
    versions=">=0.17",
)
def elastic_experts(case: Case) -> Iterator[Hit]:
    """Elastic expert parallelism needs enable_eplb and no pipeline."""
    if not _on(case, "enable_elastic_ep"):
        return
    key = "engine.args.enable_elastic_ep"
    if not _on(case, "enable_eplb"):
        change = (Change(BALANCED, True),)
        yield Hit(key, "it works with balanced experts only.", "enable_eplb: true", change)
    elif case.pipeline_parallel > 1:
        yield Hit(key, "it does not work with a pipeline.", "pipeline_parallel_size: 1")


@rule(
    "parallel.local-copies",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'data_parallel_size_local (3) must be <= data_parallel_size (2)'.",
    versions=">=0.9.2",
)
def local_copies(case: Case) -> Iterator[Hit]:
    """There cannot be more local data-parallel copies than copies."""
    local = case.number("data_parallel_size_local")
    if local is not None and local > case.data_parallel >= 1:
        key = "engine.args.data_parallel_size_local"
        why = f"{local} of {case.data_parallel} copies cannot be on this node."
        yield Hit(key, why, f"data_parallel_size_local: {case.data_parallel}, or remove the line.")


@rule(
    "parallel.external-dense",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on a Llama with data_parallel_rank: 'Non-MoE models do not support "
    "external data parallel mode'.",
    versions=">=0.21",
)
def external_dense(case: Case) -> Iterator[Hit]:
    """Data parallelism balanced from outside needs a model with experts."""
    name = next(
        (n for n in ("data_parallel_rank", "data_parallel_external_lb") if n in case.args), ""
    )
    if not name or case.args[name] is False or case.data_parallel <= 1 or not _dense(case):
        return
    why = "copies of a model without experts share nothing; vLLM wants them as separate servers."
    fix = "Remove the data_parallel lines and raise serving.replicas."
    yield Hit(f"engine.args.{name}", why, fix)


@rule(
    "parallel.two-balancers",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: '`--data-parallel-hybrid-lb` and `--data-parallel-external-lb` cannot be "
    "enabled together'.",
    versions=">=0.27",
)
def two_balancers(case: Case) -> Iterator[Hit]:
    """Load is balanced from outside or in hybrid, not both."""
    if _on(case, "data_parallel_hybrid_lb") and _on(case, "data_parallel_external_lb"):
        key = "engine.args.data_parallel_hybrid_lb"
        yield Hit(key, "data_parallel_external_lb is on too.", "Remove one of the two.")


@rule(
    "parallel.external-rank",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: '`--data-parallel-external-lb` requires a data-parallel rank'.",
    versions=">=0.27",
)
def external_rank(case: Case) -> Iterator[Hit]:
    """Balancing from outside needs each server's data_parallel_rank, or nodes to infer it from."""
    nodes = case.number("nnodes", 1) or 1
    if not _on(case, "data_parallel_external_lb") or "data_parallel_rank" in case.args:
        return
    if case.data_parallel <= 1 or nodes <= 1:
        why = "each server has to know which of the copies it is."
        yield Hit("engine.args.data_parallel_external_lb", why, "Add data_parallel_rank.")


@rule(
    "parallel.engine-nodes",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: nnodes must divide the world size, needs the data-parallel backend mp, an "
    "executor other than ray, and a node_rank below nnodes.",
    versions=">=0.27",
)
def engine_nodes(case: Case) -> Iterator[Hit]:
    """Several nodes without Ray need sizes that divide, the backend mp and a rank that exists."""
    nodes = case.number("nnodes", 1) or 1
    if nodes <= 1:
        return
    world = case.tensor_parallel * case.pipeline_parallel * case.data_parallel
    world *= case.number("prefill_context_parallel_size", 1) or 1
    rank, key = case.number("node_rank", 0) or 0, "engine.args.nnodes"
    executor = case.args.get("distributed_executor_backend")
    if world % nodes:
        yield Hit(
            key, f"{world} ranks cannot be dealt out to {nodes} nodes.", "Change one of them."
        )
    if not 0 <= rank < nodes:
        fix = f"node_rank: 0 to {nodes - 1}"
        yield Hit("engine.args.node_rank", f"the {nodes} nodes are counted from 0.", fix)
    if case.args.get("data_parallel_backend", "mp") != "mp":
        why, changed = "nnodes works with mp only.", "engine.args.data_parallel_backend"
        yield Hit(changed, why, "data_parallel_backend: mp", (Change(changed, "mp"),))
    if executor == "ray":
        changed = "engine.args.distributed_executor_backend"
        fix = "distributed_executor_backend: mp"
        yield Hit(changed, "nnodes works without Ray only.", fix, (Change(changed, "mp"),))


# The exchanges between experts that can overlap two batches; the last came with 0.18.
_OVERLAPPING = ("deepep_low_latency", "deepep_high_throughput", "nixl_ep")


@rule(
    "parallel.dual-batch",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="vLLM, VllmConfig: 'Microbatching currently only supports the deepep_low_latency, "
    "deepep_high_throughput, and nixl_ep all2all backends' (not checked on a CPU, which turns it "
    "off).",
    versions=">=0.11",
)
def dual_batch(case: Case) -> Iterator[Hit]:
    """Overlapping two batches (DBO) needs a DeepEP or NIXL exchange between experts."""
    if not _on(case, "enable_dbo") or case.on_cpu:
        return
    name = case.args.get("all2all_backend")
    known = _OVERLAPPING[: 3 if case.at_least(0, 18) else 2]
    if name in known or (name is None and "VLLM_ALL2ALL_BACKEND" in case.environment):
        return
    key = EXCHANGE if name is not None else "engine.args.enable_dbo"
    why = f"the exchange {name or 'that vLLM takes by default'} cannot overlap two batches."
    yield Hit(key, why, f"all2all_backend: {' or '.join(known)}, or remove enable_dbo.")


@rule(
    "parallel.removed-exchange",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="vLLM 0.32 on pplx: \"The 'pplx' all2all backend has been removed. Falling back to "
    "'allgather_reducescatter'\".",
    versions=">=0.17",
)
def removed_exchange(case: Case) -> Iterator[Hit]:
    """The exchanges pplx and naive were removed; another one runs in their place."""
    name = case.args.get("all2all_backend")
    if name in ("pplx", "naive"):
        new = "allgather_reducescatter"
        why = f"{name} was removed, and vLLM runs {new} in its place."
        yield Hit(EXCHANGE, why, f"all2all_backend: {new}", (Change(EXCHANGE, new),))


@rule(
    "parallel.moonep",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'The moonep all2all backend currently supports unquantized BF16 models "
    "only'.",
    versions=">=0.31",
)
def moonep(case: Case) -> Iterator[Hit]:
    """The exchange moonep takes plain bfloat16 models, and no balanced experts."""
    if case.args.get("all2all_backend") != "moonep":
        return
    fix = "Take another all2all_backend."
    method, dtype = formats.method(case), formats.dtype(case)
    if method is not None:
        yield Hit(EXCHANGE, f"moonep exchanges plain weights' results, not {method}.", fix)
    elif dtype not in (None, "bfloat16"):
        yield Hit(EXCHANGE, f"moonep works in bfloat16, not in {dtype}.", fix)
    elif _on(case, "enable_eplb"):
        yield Hit(EXCHANGE, "moonep cannot move experts between ranks (enable_eplb).", fix)


@rule(
    "parallel.loading-workers",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="vLLM 0.32: 'max_parallel_loading_workers is currently not supported and will be "
    "ignored'.",
    versions=">=0.11.2",
)
def loading_workers(case: Case) -> Iterator[Hit]:
    """max_parallel_loading_workers has no effect."""
    if "max_parallel_loading_workers" in case.args:
        key = "engine.args.max_parallel_loading_workers"
        yield Hit(key, "vLLM ignores it.", "Remove the line.", (Change(key, REMOVE),))

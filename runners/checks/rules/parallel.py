"""How a model is divided among GPUs: heads, layers, experts, copies."""

from collections.abc import Iterator

from runners.checks import formats
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

TP, PP, DP = (f"engine.args.{kind}_parallel_size" for kind in ("tensor", "pipeline", "data"))
EXPERTS = "engine.args.enable_expert_parallel"
BALANCED = "engine.args.enable_eplb"
CONTEXT = "engine.args.decode_context_parallel_size"
EXCHANGE = "engine.args.all2all_backend"


def _on(case: Case, name: str) -> bool:
    return case.args.get(name) is True


def _dense(case: Case) -> bool:
    """Whether the model is known to have no experts."""
    return case.model is not None and bool(case.model.layers) and not case.model.experts


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is not above `most`."""
    return next(d for d in range(min(most, number), 0, -1) if number % d == 0)


@rule(
    "parallel.heads",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32, 8 heads with 3 and 16 ranks: 'Total number of attention heads must be "
    "divisible by tensor parallel size'.",
)
def heads(case: Case) -> Iterator[Hit]:
    """The tensor parallel size must divide the number of attention heads."""
    size, total = case.tensor_parallel, case.model.attention_heads if case.model else None
    if size <= 1 or not total or total % size == 0:
        return
    best = _divisor(total, size)
    why = f"{total} attention heads cannot be dealt out evenly to {size} GPUs."
    yield Hit(TP, why, f"tensor_parallel_size: {best}, which divides {total}.")


@rule(
    "parallel.kv-heads",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, model_executor/models/llama.py and most others assert that KV heads and "
    "tensor parallel size divide one another.",
)
def kv_heads(case: Case) -> Iterator[Hit]:
    """KV heads and tensor parallel size must divide one another."""
    size, model = case.tensor_parallel, case.model
    if size <= 1 or model is None or not model.kv_heads or model.latent_attention:
        return
    if model.attention_heads is None or model.attention_heads % size:
        return
    kept = model.kv_heads
    if max(kept, size) % min(kept, size):
        best = max(d for d in range(1, size + 1) if not (max(kept, d) % min(kept, d)))
        why = f"{kept} KV heads can be neither dealt out to {size} GPUs nor copied evenly."
        yield Hit(TP, why, f"tensor_parallel_size: {best}.")


@rule(
    "parallel.kv-heads-copied",
    severity="info",
    fails="in the results",
    basis="executed",
    evidence="vLLM 0.32, 2 KV heads with 4 ranks: accepted; each rank keeps max(1, heads / TP).",
)
def kv_heads_copied(case: Case) -> Iterator[Hit]:
    """With fewer KV heads than GPUs, each GPU keeps a whole head and the cache stops shrinking."""
    size, model = case.tensor_parallel, case.model
    if size <= 1 or model is None or not model.kv_heads or model.latent_attention:
        return
    if model.kv_heads < size:
        times = size // model.kv_heads
        why = f"{model.kv_heads} KV heads on {size} GPUs: the cache of each token is kept {times} times."
        yield Hit(TP, why, f"tensor_parallel_size: {model.kv_heads} holds as many tokens per GPU.")


@rule(
    "parallel.layers",
    severity="error",
    fails="after loading",
    basis="executed",
    evidence="vLLM 0.32, 8 stages with 4 layers: the configuration passes, and then stages "
    "without a layer are built.",
)
def layers(case: Case) -> Iterator[Hit]:
    """There cannot be more pipeline stages than layers."""
    total = case.model.layers if case.model else None
    if total and case.pipeline_parallel > total:
        why = f"{case.pipeline_parallel} pipeline stages for {total} layers leave some empty."
        yield Hit(PP, why, f"pipeline_parallel_size: {_divisor(total, case.pipeline_parallel)}")


@rule(
    "parallel.pipeline-executor",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 with uni: 'Pipeline Parallelism without Ray distributed executor or "
    "multiprocessing executor or external launcher is not supported'.",
    versions=">=0.8.3",
)
def pipeline_executor(case: Case) -> Iterator[Hit]:
    """Pipeline parallelism needs the executor mp, ray or external_launcher."""
    key = "engine.args.distributed_executor_backend"
    if case.pipeline_parallel > 1 and case.args.get("distributed_executor_backend") == "uni":
        why = f"uni runs one process, and {case.pipeline_parallel} stages need as many."
        yield Hit(key, why, "distributed_executor_backend: mp", (Change(key, "mp"),))


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
    name = next((n for n in ("data_parallel_rank", "data_parallel_external_lb") if n in case.args), "")
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
        yield Hit(key, f"{world} ranks cannot be dealt out to {nodes} nodes.", "Change one of them.")
    if not 0 <= rank < nodes:
        fix = f"node_rank: 0 to {nodes - 1}"
        yield Hit("engine.args.node_rank", f"the {nodes} nodes are counted from 0.", fix)
    if case.args.get("data_parallel_backend", "mp") != "mp":
        why, changed = "nnodes works with mp only.", "engine.args.data_parallel_backend"
        yield Hit(changed, why, "data_parallel_backend: mp", (Change(changed, "mp"),))
    if executor in ("ray", "mp", "uni", "external_launcher", None):
        if executor == "ray":
            why, changed = "nnodes works without Ray only.", "engine.args.distributed_executor_backend"
            yield Hit(changed, why, "distributed_executor_backend: mp", (Change(changed, "mp"),))


@rule(
    "parallel.decode-context",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'tp_size=4 must be divisible by dcp_size=3', 'Decode context parallelism "
    "for GQA/MQA requires', 'exceeds the maximum supported value'.",
    versions=">=0.11.2",
)
def decode_context(case: Case) -> Iterator[Hit]:
    """Decode context parallelism divides the tensor parallel ranks that would copy KV heads."""
    size, shards, model = case.tensor_parallel, case.number(CONTEXT[12:], 1) or 1, case.model
    if shards <= 1 or size < 1 or (case.number("prefill_context_parallel_size", 1) or 1) > 1:
        return
    if size % shards:
        why = f"{size} tensor parallel ranks cannot form groups of {shards}."
        yield Hit(CONTEXT, why, f"decode_context_parallel_size: {_divisor(size, shards)}")
        return
    if model is None or model.latent_attention or not model.kv_heads:
        return
    most, kept = size // model.kv_heads, model.kv_heads
    if size <= kept or shards > most:
        why = f"{kept} KV heads on {size} GPUs are kept {max(1, most)} times, which is all it can split."
        fix = f"decode_context_parallel_size: {max(1, most)}"
        yield Hit(CONTEXT, why, fix, (Change(CONTEXT, max(1, most), "as many as there are copies"),))
    elif model.attention_heads and model.attention_heads // kept % shards:
        why = f"the {model.attention_heads // kept} query heads of each KV head do not divide by {shards}."
        yield Hit(CONTEXT, why, "Lower decode_context_parallel_size.")


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


@rule(
    "parallel.pipeline-async",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="vLLM, VllmConfig: 'Model Runner V1 does not support: pipeline parallelism with async "
    "scheduling'.",
    versions=">=0.31",
)
def pipeline_async(case: Case) -> Iterator[Hit]:
    """A pipeline with async scheduling needs the second model runner."""
    if case.pipeline_parallel <= 1 or not _on(case, "async_scheduling"):
        return
    if case.environment.get("VLLM_USE_V2_MODEL_RUNNER") == "0":
        key = "engine.env.VLLM_USE_V2_MODEL_RUNNER"
        why = "the first model runner cannot schedule a pipeline asynchronously."
        yield Hit(key, why, "Remove the line.", (Change(key, REMOVE),))

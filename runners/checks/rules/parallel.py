"""How a model is divided among GPUs: heads, layers, context."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

TP, PP = (f"engine.args.{kind}_parallel_size" for kind in ("tensor", "pipeline"))
CONTEXT = "engine.args.decode_context_parallel_size"


def _on(case: Case, name: str) -> bool:
    return case.args.get(name) is True


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is not above `most`."""
    return next(d for d in range(min(most, number, 4096), 0, -1) if number % d == 0)


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
        why = f"{model.kv_heads} KV heads on {size} GPUs: each token is cached {times} times."
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
    size, shards, model = (
        case.tensor_parallel,
        case.number("decode_context_parallel_size", 1) or 1,
        case.model,
    )
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
        why = f"{kept} KV heads on {size} GPUs are kept {max(1, most)} times: no more to split."
        fix = f"decode_context_parallel_size: {max(1, most)}"
        yield Hit(
            CONTEXT, why, fix, (Change(CONTEXT, max(1, most), "as many as there are copies"),)
        )
    elif model.attention_heads and model.attention_heads // kept % shards:
        each = model.attention_heads // kept
        why = f"the {each} query heads of each KV head do not divide by {shards}."
        yield Hit(CONTEXT, why, "Lower decode_context_parallel_size.")


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

"""Whether weights, the longest request and the load's concurrency fit into the GPU."""

import math
from collections.abc import Iterator

from runners.checks import amounts, formats
from runners.checks import memory_fit as fit
from runners.checks.case import Case
from runners.checks.models import ModelFacts
from runners.checks.rule import Hit, rule

NEAR = 0.1  # an estimate may be off by so much, as a share of what the engine may use
_NO_DRAFT_CACHE = ("ngram", "ngram_gpu", "suffix", "medusa", "mlp_speculator")
_BASIS = "weights by the block sizes of their format, KV cache as in v1/kv_cache_interface.py, "
_BASIS += "and max(1.5 GiB, 4 % of the GPU) for activations and graphs"


def gpu_memory(case: Case, *, largest: bool = False) -> float | None:
    """Nominal memory of one GPU or slice; where a name stands for several forms, the smallest."""
    if case.gpu is None:
        return None
    slice_name = case.profile.resources.gpu.mig
    if slice_name is not None:
        from runners.checks.tables import mig_memory_gb

        return mig_memory_gb(slice_name) * float(fit.GIB)
    return (case.gpu.largest_gib if largest else case.gpu.memory_gib) * float(fit.GIB)


def weights_of(case: Case) -> float | None:
    """Weights of the target model on one GPU; None where the model or its format is not known."""
    model, sizes, dtype = case.model, _sizes(case), formats.dtype(case)
    if model is None or sizes is None or dtype is None:
        return None
    method = _stored(case, model)
    online = formats.flag(case) is not None and formats.checkpoint_method(model) is None
    if method is None and (online or model.weight_bytes is None):
        return None
    held = fit.weight_bytes(
        model,
        _UNSIZED if method is None else method or None,
        dtype,
        online=online,
        tensor_parallel=sizes[0],
        pipeline_parallel=sizes[1],
        expert_copies=sizes[2] if model.experts else 1,
    )
    offloaded = amounts.number(case.args.get("cpu_offload_gb")) or 0.0
    return None if held is None else max(0.0, held - offloaded * fit.GIB)


# They shrink experts only; on a dense model weights stay as they are.
_EXPERTS_ONLY = ("experts_int8", "int8_per_channel_weight_only", "nvfp4_per_token")
_UNSIZED = "a method of which the files alone tell the size"


def _stored(case: Case, model: ModelFacts) -> str | None:
    """The method whose bytes count, by the flag, config.json or, last, the name; empty for
    plain weights, None where the method does not say how large they are."""
    name = formats.method(case) or next(iter(formats.named_methods(case)), "")
    if not name:
        return None if formats.mark(case) else ""
    if name in _EXPERTS_ONLY and not model.experts:
        return ""
    return None if fit.parameter_bytes(name, "") is None else name


def _sizes(case: Case) -> tuple[int, int, int] | None:
    """(TP, PP, DP), where all of them are at least 1."""
    sizes = case.tensor_parallel, case.pipeline_parallel, case.data_parallel
    return sizes if min(sizes) >= 1 else None


def fit_of(case: Case, *, largest: bool = False) -> fit.Fit | None:
    """What one GPU has for KV cache; None where model, GPU or a format is not known."""
    memory = gpu_memory(case, largest=largest)
    if memory is None or case.on_cpu:
        return None
    weights = weights_of(case)
    share = amounts.number(
        case.args.get("gpu_memory_utilization", case.release.default("gpu_memory_utilization"))
    )
    if weights is None or share is None or not 0 < share <= 1:
        return None
    model = case.model
    assert model is not None
    rows = amounts.whole(case.args.get("max_num_seqs")) or 256
    reserve = fit.allowance(memory, max(0, min(rows, 4096)), model.vocab_size or 0)
    fixed = amounts.whole(case.args.get("kv_cache_memory_bytes"))
    return fit.Fit(memory, share, weights, _draft_weights(case), reserve, fixed)


def _draft_weights(case: Case) -> float:
    """Weights of a draft model on one GPU; 0 where there is none, or it is not known."""
    draft, asked = case.draft, case.speculation
    if draft is None or draft.parameters is None or not asked:
        return 0.0
    ranks = amounts.whole(asked.get("draft_tensor_parallel_size")) or case.tensor_parallel
    method = formats.checkpoint_method(draft)
    held = fit.weight_bytes(draft, method, "bfloat16", tensor_parallel=max(1, ranks))
    return held or 0.0


def sequence_of(case: Case, tokens: float) -> float | None:
    """KV cache of one sequence on one GPU, the draft's included; None where not known."""
    model, sizes, dtype = case.model, _sizes(case), formats.dtype(case)
    if model is None or sizes is None or dtype is None or tokens <= 0:
        return None
    stored = case.args.get("kv_cache_dtype", "auto")
    if not isinstance(stored, str):
        return None
    each = fit.value_bytes(stored, dtype, model.head_dim)
    shards = case.number("decode_context_parallel_size", 1) or 1
    block = case.number("block_size") or fit.BLOCK_TOKENS
    if each is None or block < 1 or shards < 1:
        return None
    size = fit.sequence_bytes(
        model,
        tokens,
        each,
        tensor_parallel=sizes[0],
        pipeline_parallel=sizes[1],
        context_parallel=shards,
        block_tokens=block,
    )
    return None if size is None else size + _draft_sequence(case, tokens, each, size)


def _draft_sequence(case: Case, tokens: float, each: float, target: float) -> float:
    """KV cache of the draft's own layers: of the draft model, or one layer like the target's."""
    drafting, model = case.drafting, case.model
    if drafting is None or drafting.method in _NO_DRAFT_CACHE or model is None:
        return 0.0
    if case.draft is not None and drafting.method == "draft_model":
        return fit.sequence_bytes(case.draft, tokens, each) or 0.0
    return target / (model.layers or 1)


def longest(case: Case) -> int | None:
    """max_model_len in tokens: the argument's, else what the model allows."""
    written = case.args.get("max_model_len")
    if written is None:
        return case.model.max_length if case.model else None
    tokens = amounts.whole(written)
    return tokens if tokens is not None and tokens > 0 else None


@rule(
    "memory.weights",
    severity="error",
    fails="after loading",
    basis="arithmetic",
    evidence=f"The engine loads the weights and then finds no memory for a cache; {_BASIS}.",
)
def weights(case: Case) -> Iterator[Hit]:
    """The weights alone must fit into the share of the GPU that the engine may use."""
    found, roomiest = fit_of(case), fit_of(case, largest=True)
    if found is None or roomiest is None or found.weights <= found.limit or found.given:
        return
    why = (
        f"the weights take {fit.gib(found.weights)} of each GPU{_how(case)}, but"
        f" {found.utilization:g} x {fit.gib(found.memory)} = {fit.gib(found.limit)} may be used."
    )
    sure = roomiest.weights > roomiest.limit
    yield Hit("model.uri", why, _roomier(case, found), severity=None if sure else "warning")


def _how(case: Case) -> str:
    """How the weights were reckoned, in brackets."""
    model, sizes = case.model, _sizes(case)
    if model is None or sizes is None or model.parameters is None:
        return ""
    method = _stored(case, model)
    each = fit.parameter_bytes(method or None, formats.dtype(case) or "")
    if method is None or each is None:
        return ""
    ranks = sizes[0] * sizes[1] * (sizes[2] if model.experts else 1)
    shared = f" / {ranks} GPUs" if ranks > 1 else ""
    kind = f"{method} " if method else ""
    return f" ({model.parameters / 1e9:.1f} B parameters x {each:.3g} {kind}bytes{shared})"


def _roomier(case: Case, found: fit.Fit) -> str:
    """The smallest tensor parallel size that brings the weights below 80 % of the limit."""
    heads = case.model.attention_heads if case.model else None
    for times in (2, 4, 8, 16):
        size = case.tensor_parallel * times
        if heads and heads % size == 0 and found.weights / times <= 0.8 * found.limit:
            whole = "slices cannot be joined; take whole GPUs: "
            start = whole if case.profile.resources.gpu.mig else ""
            return (
                f"{start}tensor_parallel_size: {size} with resources.gpu.count:"
                f" {size * case.pipeline_parallel}, a larger GPU, or a quantized checkpoint."
            )
    return "Take a larger GPU, more of them, or a quantized checkpoint."


@rule(
    "memory.longest-request",
    severity="warning",
    fails="after loading",
    basis="arithmetic",
    evidence="vLLM, _check_enough_kv_cache_memory: 'To serve at least one request with the "
    f"model's max seq len … KV cache is needed'; {_BASIS}.",
)
def longest_request(case: Case) -> Iterator[Hit]:
    """The KV cache should hold one request of max_model_len tokens."""
    found, tokens = fit_of(case), longest(case)
    if found is None or tokens is None or found.weights > found.limit:
        return
    need = sequence_of(case, tokens)
    if need is None or need <= found.cache:
        return
    fitting = _fitting(case, found.cache, tokens, need)
    why = (
        f"one request of {tokens} tokens takes {fit.gib(need)}, but {found.line()},"
        f" enough for {fitting} tokens."
    )
    written = "max_model_len" in case.args
    key = "engine.args.max_model_len" if written else "engine.args"
    fix = f"max_model_len: {fitting}, or a larger GPU." if fitting else "Take a larger GPU."
    yield Hit(key, why, fix)


def _fitting(case: Case, cache: float, tokens: int, need: float) -> int:
    """The longest request that a cache holds, in whole hundreds."""
    low, high = 0, tokens
    while high - low > 50:
        middle = (low + high) // 2
        fits = (sequence_of(case, middle) or need) <= cache
        low, high = (middle, high) if fits else (low, middle)
    return low // 100 * 100


@rule(
    "memory.near-limit",
    severity="warning",
    fails="after loading",
    basis="arithmetic",
    evidence=f"A plan: {_BASIS}; the engine's profile run decides.",
)
def near_limit(case: Case) -> Iterator[Hit]:
    """Within 10 % of what the GPU holds, the engine's own measurement decides whether it fits."""
    found, tokens = fit_of(case), longest(case)
    if found is None or tokens is None or found.given is not None:
        return
    need = sequence_of(case, tokens)
    if need is None or not found.cache - NEAR * found.limit < need <= found.cache:
        return
    why = (
        f"{found.line()}, and one request of {tokens} tokens takes {fit.gib(need)}:"
        " closer than this estimate is sure of."
    )
    fix = "Lower max_model_len, raise gpu_memory_utilization, or take a larger GPU."
    yield Hit("resources.gpu", why, fix)


@rule(
    "memory.concurrency",
    severity="warning",
    fails="in the results",
    basis="arithmetic",
    evidence="Requests that find no free block wait or are preempted and computed again; "
    f"{_BASIS}.",
)
def concurrency(case: Case) -> Iterator[Hit]:
    """More requests in flight than the KV cache holds measure waiting and preemption."""
    load, work = case.profile.load, case.profile.workload
    if load.concurrency is None or load.rate is not None or not work.has_made_lengths:
        return
    if load.pattern not in (None, "closed"):
        return
    found = fit_of(case)
    if found is None or found.weights > found.limit:
        return
    # A request in flight holds its prompt and, on average over its life, half its answer.
    mean = work.mean_input_tokens() + work.mean_max_tokens() / 2
    if work.shared_prefix is not None:
        mean = max(1.0, mean - work.shared_prefix.tokens)
    held = fit.concurrent(found.cache, sequence_of(case, mean))
    admitted = amounts.whole(case.args.get("max_num_seqs"))
    if held is None or (admitted is not None and admitted <= held):
        return
    copies = max(1, case.data_parallel) * _replicas(case)
    each = math.ceil(load.concurrency / copies)
    if each > held:
        why = (
            f"{each} requests in flight on each engine, but {found.line()}, which holds {held} of"
            f" {mean:g} tokens."
        )
        fix = f"concurrency: {held * copies}  # or say that you measure an overloaded engine"
        if not held:
            fix = _roomier(case, found)
        yield Hit("load.concurrency", why, fix)


def _replicas(case: Case) -> int:
    serving = case.profile.serving
    if case.profile.target != "kserve":
        return 1
    if serving.autoscaling.autoscaler == "none":
        return serving.replicas
    return serving.autoscaling.max_replicas


@rule(
    "memory.pod",
    severity="error",
    fails="after loading",
    basis="arithmetic",
    evidence="On a CPU, weights and KV cache (VLLM_CPU_KVCACHE_SPACE, in GiB) lie in the pod's "
    "memory; above its limit the kernel ends the engine (OOMKilled).",
    targets=("kserve",),
)
def pod(case: Case) -> Iterator[Hit]:
    """Served by a CPU, weights and KV cache must fit into the pod's memory."""
    if not case.on_cpu:
        return
    limit, model, dtype = amounts.gib(case.profile.resources.memory), case.model, None
    if model is not None:
        dtype = formats.dtype(case)
    if limit is None or model is None or dtype is None:
        return
    method = _stored(case, model)
    held = None if method is None else fit.weight_bytes(model, method or None, dtype)
    if held is None:
        return
    cache = amounts.whole(case.environment.get("VLLM_CPU_KVCACHE_SPACE")) or 0
    need = held + cache * fit.GIB
    if need <= limit * fit.GIB:
        return
    alone = held > limit * fit.GIB
    plus = f" + {cache} GiB KV cache" if cache else ""
    why = (
        f"{fit.gib(held)} weights{_how(case)}{plus} are more than the pod's memory of"
        f" {fit.gib(limit * fit.GIB)}."
    )
    fix = f"resources.memory: {math.ceil(need / fit.GIB * 1.25)}Gi"
    yield Hit("resources.memory", why, fix, severity=None if alone else "warning")

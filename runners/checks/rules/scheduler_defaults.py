"""vLLM's scheduler: what changes with the GPU or the version when a profile leaves it open."""

from collections.abc import Iterator

from runners.checks.amounts import whole
from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule
from runners.checks.rules.scheduler import count, is_on


def batch_defaults(case: Case) -> tuple[int, int] | None:
    """(max_num_batched_tokens, max_num_seqs) that vLLM takes on this GPU; None: not known."""
    gpu = case.gpu
    if gpu is None or not case.at_least(0, 10):
        return None
    smallest, largest = (
        _defaults(size, gpu.name.upper()) for size in (gpu.memory_gib, gpu.largest_gib)
    )
    return smallest if smallest == largest else None


def _defaults(memory_gib: float, name: str) -> tuple[int, int]:
    if memory_gib >= 160:
        return 16384, 1024
    if memory_gib >= 70 and not name.startswith(("A100", "NVIDIA-A100")):
        return 8192, 1024
    return 2048, 256


@rule(
    "scheduler.unpinned",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="EngineArgs.get_batch_defaults: 2048 tokens and 256 sequences on small GPUs and the "
    "A100, 8192 and 1024 from 70 GiB, 16384 and 1024 from 160 GiB.",
)
def unpinned(case: Case) -> Iterator[Hit]:
    """Unset, max_num_seqs and max_num_batched_tokens follow the GPU, and runs do not compare."""
    if case.on_cpu:
        return
    known = batch_defaults(case)
    for place, name in enumerate(("max_num_batched_tokens", "max_num_seqs")):
        if name in case.args:
            continue
        key = f"engine.args.{name}"
        if known is None:
            yield Hit(
                key,
                f"{name} is not set, and its default changes with the GPU and the version.",
                f"{name}: {(2048, 256)[place]}  # or what suits your GPU",
            )
            continue
        gpu = case.profile.resources.gpu.type
        value = known[place]
        yield Hit(
            key,
            f"{name} is not set: vLLM takes {value} on {gpu} and something else on another GPU.",
            f"{name}: {value}",
            (Change(key, value, f"vLLM's default on {gpu}"),),
        )


@rule(
    "scheduler.multi-step",
    severity="warning",
    fails="silently",
    basis="history",
    evidence="EngineArgs up to 0.10.0: num_scheduler_steps is no feature of the V1 engine "
    "(_raise_or_fallback) and is refused beside speculation; removed in 0.10.1 "
    "(vllm-project/vllm#22138).",
    versions="<0.10.1",
)
def multi_step(case: Case) -> Iterator[Hit]:
    """Multi-step scheduling, in vLLM up to 0.10.0, runs the older engine and no speculation.

    Older documents forbid it without max_tokens. That concerned num_scheduler_steps above 1
    in these versions only, not chunked prefill or use_v2_block_manager, and the toolkit sends
    max_tokens with every request.
    """
    steps = whole(case.args.get("num_scheduler_steps"))
    if steps is None or steps <= 1:
        return
    key = "engine.args.num_scheduler_steps"
    if case.speculation is not None or "speculative_model" in case.args:
        yield Hit(
            key,
            f"multi-step scheduling ({steps} steps) and speculative decoding exclude each other.",
            "Remove num_scheduler_steps.",
            severity="error",
        )
    elif case.at_least(0, 8):
        yield Hit(
            key,
            f"multi-step scheduling ({steps} steps) makes vLLM {case.version} fall back to its "
            "older engine (V0); the trouble with requests without max_tokens that older documents "
            "tell of cannot happen, because every request here has workload.max_tokens.",
            "Remove num_scheduler_steps, unless the older engine is what you measure.",
        )
    else:
        yield Hit(
            key,
            f"multi-step scheduling ({steps} steps) hands out tokens {steps} at a time, so the "
            "time between tokens is measured in steps; vLLM 0.10.1 removed it.",
            "Remove num_scheduler_steps, unless it is what you measure.",
        )


@rule(
    "scheduler.multi-step-chunked",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="EngineArgs.create_engine_config up to 0.10.0: multi-step chunked prefill is not "
    "supported for pipeline-parallel-size > 1.",
    versions="<0.10.1",
)
def multi_step_chunked(case: Case) -> Iterator[Hit]:
    """Multi-step scheduling with chunked prefill does not run over pipeline stages."""
    steps = whole(case.args.get("num_scheduler_steps"))
    if steps is None or steps <= 1 or case.pipeline_parallel <= 1:
        return
    if is_on(case, "enable_chunked_prefill"):
        yield Hit(
            "engine.args.num_scheduler_steps",
            f"{steps} steps with chunked prefill cannot run over {case.pipeline_parallel} "
            "pipeline stages.",
            "Remove num_scheduler_steps.",
        )


@rule(
    "scheduler.queue-limit",
    severity="warning",
    fails="on each request",
    basis="source",
    evidence="AsyncLLM admission control raises QueueOverflowError and the server answers 503 "
    "once so many requests are in flight.",
    versions=">=0.29",
)
def queue_limit(case: Case) -> Iterator[Hit]:
    """Requests above max_num_queued_reqs in flight are answered with 503."""
    limit = count(case, "max_num_queued_reqs")
    wanted = case.profile.load.concurrency
    if limit is None or wanted is None or limit < 0:
        return
    replicas = max(1, case.profile.serving.replicas)
    if wanted > limit * replicas:
        yield Hit(
            "engine.args.max_num_queued_reqs",
            f"the load keeps up to {wanted} requests in flight, but the engine answers 503 above "
            f"{limit} for each of {replicas} replica(s).",
            f"max_num_queued_reqs: {wanted}, or load.concurrency: {limit * replicas}",
        )

"""vLLM on the CPU: what it ignores, and how it is told how much memory to take."""

from collections.abc import Iterator

from runners.checks.amounts import gib, number
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.scheduler import count, is_on

SPACE = "VLLM_CPU_KVCACHE_SPACE"
SPACE_KEY = f"engine.env.{SPACE}"


def cache_space(case: Case) -> int | None:
    """GiB of KV cache that the environment asks for; None where it does not, or wrongly."""
    text = case.environment.get(SPACE, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


@rule(
    "cpu.async-scheduling",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="CpuPlatform.check_and_update_config sets async_scheduling to False and switches "
    "dual-batch overlap off with a warning.",
)
def async_scheduling(case: Case) -> Iterator[Hit]:
    """The CPU backend never schedules asynchronously and never overlaps two batches."""
    if not case.on_cpu:
        return
    for name in ("async_scheduling", "enable_dbo"):
        if is_on(case, name):
            yield Hit(
                f"engine.args.{name}",
                f"the CPU backend turns {name} off.",
                "Remove the line.",
                (Change(f"engine.args.{name}", REMOVE),),
            )


@rule(
    "cpu.cache-space",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="CpuPlatform reads int() of VLLM_CPU_KVCACHE_SPACE: 4Gi or 0.5 ends it with a "
    "ValueError.",
)
def integer_space(case: Case) -> Iterator[Hit]:
    """VLLM_CPU_KVCACHE_SPACE is a whole number of GiB, without a unit."""
    text = case.environment.get(SPACE)
    if text is None or not case.on_cpu or not text.strip():
        return
    try:
        int(text)
    except ValueError:
        size = gib(text.strip().removesuffix("B"))
        meant = max(1, round(size)) if size is not None and size >= 0.5 else 4
        yield Hit(
            SPACE_KEY,
            f"{text!r} is no whole number; the engine reads it as GiB and exits.",
            f'{SPACE}: "{meant}"',
            (Change(SPACE_KEY, str(meant), "in GiB"),),
        )


@rule(
    "cpu.cache-space-overrides",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="CpuPlatform writes VLLM_CPU_KVCACHE_SPACE over kv_cache_memory_bytes.",
)
def space_overrides(case: Case) -> Iterator[Hit]:
    """VLLM_CPU_KVCACHE_SPACE wins over kv_cache_memory_bytes."""
    if case.on_cpu and "kv_cache_memory_bytes" in case.args and cache_space(case) is not None:
        yield Hit(
            "engine.args.kv_cache_memory_bytes",
            f"{SPACE} is set too and wins.",
            "Keep one of them.",
            (Change("engine.args.kv_cache_memory_bytes", REMOVE),),
        )


@rule(
    "cpu.memory-share",
    severity="warning",
    fails="after loading",
    basis="source",
    evidence="CPUWorker: available memory on a NUMA node at start-up is less than the desired "
    "share; on the CPU gpu_memory_utilization is a share of the machine's memory.",
)
def memory_share(case: Case) -> Iterator[Hit]:
    """On the CPU gpu_memory_utilization is a share of the machine's memory, not of the pod's."""
    if not case.on_cpu or case.profile.target != "kserve":
        return
    share = number(case.args.get("gpu_memory_utilization"))
    if share is None or "kv_cache_memory_bytes" in case.args or SPACE in case.environment:
        return
    yield Hit(
        "engine.args.gpu_memory_utilization",
        f"{share:.0%} of the node's memory is asked for, where the pod may use "
        f"{case.profile.resources.memory}.",
        f'engine.env: {{{SPACE}: "4"}} (GiB of KV cache), and remove the line',
        (
            Change(SPACE_KEY, "4", "4 GiB of KV cache"),
            Change("engine.args.gpu_memory_utilization", REMOVE),
        ),
    )


@rule(
    "cpu.cache-above-memory",
    severity="error",
    fails="after loading",
    basis="arithmetic",
    evidence="Weights and KV cache both live in the pod's memory; above its limit the kernel "
    "kills the engine.",
    targets=("kserve",),
)
def cache_above_memory(case: Case) -> Iterator[Hit]:
    """On the CPU, the KV cache alone must fit into the pod's memory, whatever the model."""
    memory = gib(case.profile.resources.memory)
    if not case.on_cpu or memory is None or case.model is not None:
        return
    space = cache_space(case)
    if space is not None and space >= memory:
        yield Hit(
            SPACE_KEY,
            f"a KV cache of {space} GiB does not fit into the pod's {memory:g} GiB.",
            f'{SPACE}: "{max(1, int(memory / 2))}", or more resources.memory',
        )


@rule(
    "cpu.block-size",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="CpuPlatform warns: CPU backend prefers block_size is multiples of 32, otherwise "
    "the performance is not optimized.",
)
def block_size(case: Case) -> Iterator[Hit]:
    """On the CPU, blocks of the KV cache should be a multiple of 32 tokens."""
    if not case.on_cpu:
        return
    size = count(case, "block_size")
    if size is not None and size > 0 and size % 32:
        yield Hit(
            "engine.args.block_size",
            f"blocks of {size} tokens are slow on the CPU; multiples of 32 are not.",
            "Remove the line: the default is 128.",
            (Change("engine.args.block_size", REMOVE, "128, the default"),),
        )


@rule(
    "cpu.attention-backend",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="CpuPlatform.get_attn_backend_cls always takes CPU_ATTN.",
)
def attention_backend(case: Case) -> Iterator[Hit]:
    """The CPU has one attention backend and ignores the flag."""
    named = case.args.get("attention_backend")
    if case.on_cpu and isinstance(named, str) and named.upper() != "CPU_ATTN":
        yield Hit(
            "engine.args.attention_backend",
            f"the CPU backend always uses CPU_ATTN, not {named}.",
            "Remove the line.",
            (Change("engine.args.attention_backend", REMOVE),),
        )


@rule(
    "cpu.graphs",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="CpuPlatform empties cudagraph_capture_sizes.",
)
def graphs(case: Case) -> Iterator[Hit]:
    """There are no CUDA graphs on the CPU."""
    if not case.on_cpu:
        return
    for name in ("cudagraph_capture_sizes", "max_cudagraph_capture_size"):
        if name in case.args:
            yield Hit(
                f"engine.args.{name}",
                "there are no CUDA graphs on the CPU, so it sets nothing.",
                "Remove the line.",
                (Change(f"engine.args.{name}", REMOVE),),
            )

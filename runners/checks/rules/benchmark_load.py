"""Loads and workloads that measure something else than they say."""

from collections.abc import Iterator

from runners.checks.amounts import whole
from runners.checks.case import Case
from runners.checks.entries import entries_of
from runners.checks.rule import Change, Hit, rule
from runners.checks.rules.structured import asks

EVERYWHERE = ("kserve", "local", "url", "simulator")
ENGINES = ("vllm", "tgi", "tensorrt-llm")
# Requests behind a p99 that more than ten of them decide.
_FOR_P99 = 1000
# Where a load says neither requests nor seconds (runners.load.schedule).
_DEFAULT_REQUESTS = 200


def known_requests(case: Case) -> int | None:
    """Measured requests, where the load says how many; None: the server's speed decides."""
    load = case.profile.load
    offered = None
    if load.rate is not None and load.duration_s is not None:
        offered = int(load.rate * load.duration_s)
    if load.requests is None:
        limited = load.duration_s is not None or load.resolved_pattern() in ("stages", "trace")
        return offered if limited else _DEFAULT_REQUESTS
    return load.requests if offered is None else min(load.requests, offered)


def block_tokens(case: Case) -> int:
    """Tokens of a block of the KV cache, the unit in which prefixes are found again."""
    given = whole(case.args.get("block_size"))
    if given is not None and given > 0:
        return given
    if case.engine == "tensorrt-llm":
        return 32
    if case.engine == "tgi":
        return 1
    return 128 if case.on_cpu else 16


@rule(
    "benchmark.no-warm-up",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="Kernels that are compiled on first use, allocators, connections and caches make the "
    "first requests slow; graphs are captured before, for batch sizes only.",
    engines=(),
    targets=EVERYWHERE,
)
def no_warm_up(case: Case) -> Iterator[Hit]:
    """The first requests pay for what is made on first use, so they should not be measured."""
    load = case.profile.load
    if load.warmup is None:
        return
    slots = load.concurrency or 1
    if 0 in (load.warmup.requests, load.warmup.seconds):
        yield Hit(
            "load.warmup",
            "without warm-up, kernels that are compiled on first use are part of what is measured.",
            f"warmup: {{requests: {2 * slots}}}, or {{seconds: 15}}",
        )
    elif load.warmup.requests is not None and load.warmup.requests < slots:
        yield Hit(
            "load.warmup.requests",
            f"{load.warmup.requests} warm-up requests never fill the {slots} slots of the load, so "
            "a full batch is met first inside the measurement.",
            f"warmup: {{requests: {2 * slots}}}",
            (Change("load.warmup.requests", 2 * slots, "two rounds of the concurrency"),),
        )


@rule(
    "benchmark.whole-window",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="load.window none measures warm-up and drain, in which fewer requests are in flight "
    "than the load says.",
    engines=(),
    targets=EVERYWHERE,
)
def whole_window(case: Case) -> Iterator[Hit]:
    """A window over everything measures ramp-up and drain too."""
    if case.profile.load.window == "none":
        yield Hit(
            "load.window",
            "warm-up and drain are measured too, with fewer requests in flight than the load says.",
            "window: detect",
            (Change("load.window", "detect", "the settled part"),),
        )


@rule(
    "benchmark.few-for-percentile",
    severity="warning",
    fails="in the results",
    basis="arithmetic",
    evidence="The p99 of n requests is decided by the slowest n/100: below 1,000 requests fewer "
    "than ten, below 100 it is the maximum.",
    engines=(),
    targets=EVERYWHERE,
)
def few_for_percentile(case: Case) -> Iterator[Hit]:
    """A p99 that is held against a limit needs at least 1,000 requests."""
    slo = case.profile.slo
    if slo.ttft_ms is None and slo.tpot_ms is None and slo.e2e_latency_ms is None:
        return
    count = known_requests(case)
    if count is None or count >= _FOR_P99:
        return
    load = case.profile.load
    key = "load.requests" if load.requests is not None else "load.duration_s"
    fix = (
        f"duration_s: {round(_FOR_P99 / load.rate + 0.5)}"
        if load.requests is None and load.rate
        else f"requests: {_FOR_P99}"
    )
    decided = f"the {count // 100} slowest" if count >= 100 else "the slowest request alone"
    yield Hit(
        key,
        f"of {count} requests the p99 is decided by {decided}, and limits (slo) are given.",
        fix,
    )


@rule(
    "benchmark.fewer-than-slots",
    severity="warning",
    fails="in the results",
    basis="arithmetic",
    evidence="A closed load of n requests never has more than n in flight.",
    engines=(),
    targets=EVERYWHERE,
)
def fewer_than_slots(case: Case) -> Iterator[Hit]:
    """A load needs more requests than it keeps in flight, or it never reaches them."""
    load = case.profile.load
    if load.requests is None or load.concurrency is None:
        return
    if load.resolved_pattern() == "closed" and load.requests < 2 * load.concurrency:
        yield Hit(
            "load.requests",
            f"{load.requests} requests are fewer than two rounds of {load.concurrency} slots: the "
            "load ends before it is steady.",
            f"requests: {max(10 * load.concurrency, 100)}",
        )


@rule(
    "benchmark.prefix-below-block",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="Prefix caches find whole blocks again: 16 tokens in vLLM on a GPU, 128 on the CPU, "
    "32 in TensorRT-LLM.",
    engines=ENGINES,
)
def prefix_below_block(case: Case) -> Iterator[Hit]:
    """A shared prefix shorter than a block of the cache is never found again."""
    shared = case.profile.workload.shared_prefix
    if shared is None:
        return
    block = block_tokens(case)
    if shared.tokens < block:
        yield Hit(
            "workload.shared_prefix.tokens",
            f"{shared.tokens} shared tokens do not fill a block of {block}, so no prompt finds "
            "them in the cache.",
            f"tokens: {4 * block}",
            (Change("workload.shared_prefix.tokens", 4 * block, "four blocks"),),
        )


@rule(
    "benchmark.prefix-caching-off",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="workload.shared_prefix exercises the prefix cache, which the engine's arguments "
    "turn off.",
    engines=ENGINES,
)
def prefix_caching_off(case: Case) -> Iterator[Hit]:
    """Shared prefixes without a prefix cache measure nothing but longer prompts."""
    if case.profile.workload.shared_prefix is None:
        return
    blocks = case.args.get("kv_cache_config")
    reuse = blocks.get("enable_block_reuse") if isinstance(blocks, dict) else None
    off = case.args.get("enable_prefix_caching") is False or reuse is False
    if off or case.environment.get("PREFIX_CACHING") in ("0", "false"):
        key = "engine.args.enable_prefix_caching"
        yield Hit(
            key if "enable_prefix_caching" in case.args else "workload.shared_prefix",
            "prompts share beginnings, but prefix caching is off.",
            "Remove enable_prefix_caching: false, or workload.shared_prefix.",
        )


@rule(
    "benchmark.prefix-groups",
    severity="warning",
    fails="in the results",
    basis="arithmetic",
    evidence="With as many groups as requests each prefix is asked once.",
    engines=(),
    targets=EVERYWHERE,
)
def prefix_groups(case: Case) -> Iterator[Hit]:
    """A prefix that only one request has is never found in the cache."""
    shared, count = case.profile.workload.shared_prefix, known_requests(case)
    if shared is not None and count is not None and shared.groups * 2 > count:
        yield Hit(
            "workload.shared_prefix.groups",
            f"{count} requests over {shared.groups} prefixes ask most of them once.",
            f"groups: {max(1, count // 10)}",
        )


@rule(
    "benchmark.repeated-prompts",
    severity="info",
    fails="in the results",
    basis="practice",
    evidence="Prompts of a list are asked in turn; from the second time on their prefill comes "
    "from the prefix cache.",
    engines=(),
    targets=EVERYWHERE,
)
def repeated_prompts(case: Case) -> Iterator[Hit]:
    """Prompts that are asked again come from the prefix cache."""
    prompts, count = case.profile.workload.prompts, known_requests(case)
    if count is None or case.args.get("enable_prefix_caching") is False:
        return
    different, key = len(set(prompts)), "workload.prompts"
    if (read := entries_of(case)) is not None:
        different, key = read.requests, "workload.dataset"
    if 1 < different < count:
        yield Hit(
            key,
            f"{count} requests ask {different} prompts, each about {count // different} times; "
            "TTFT is that of a warm cache.",
            "More prompts, or engine.args.enable_prefix_caching: false.",
        )


@rule(
    "benchmark.length-spread",
    severity="warning",
    fails="in the results",
    basis="arithmetic",
    evidence="Lengths are drawn from a normal distribution and cut off at 1 token, which raises "
    "their mean.",
    engines=(),
    targets=EVERYWHERE,
)
def length_spread(case: Case) -> Iterator[Hit]:
    """A spread above half of the mean length cuts many prompts off at one token."""
    work = case.profile.workload
    if work.has_made_lengths and work.input_tokens_stdev > work.input_tokens / 2:
        yield Hit(
            "workload.input_tokens_stdev",
            f"{work.input_tokens_stdev:g} around a mean of {work.input_tokens} tokens gives "
            "negative lengths, which become 1 and raise the mean.",
            f"input_tokens_stdev: {work.input_tokens // 3}",
        )


@rule(
    "benchmark.limit-not-measured",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="TTFT needs a stream, TPOT a second token; a request whose limit cannot be judged is "
    "no goodput.",
    engines=(),
    targets=EVERYWHERE,
)
def limit_not_measured(case: Case) -> Iterator[Hit]:
    """A limit on TTFT needs streaming, one on TPOT answers of at least two tokens."""
    slo, work = case.profile.slo, case.profile.workload
    if not work.stream:
        for name in ("ttft_ms", "tpot_ms"):
            if getattr(slo, name) is not None:
                yield Hit(
                    f"slo.{name}",
                    "without streaming it is not measured.",
                    "workload.stream: true, or remove the limit",
                )
    elif slo.tpot_ms is not None and work.max_tokens == 1:
        yield Hit(
            "slo.tpot_ms",
            "answers of one token have no time per output token.",
            "workload.max_tokens: 64, or remove the limit",
        )


@rule(
    "benchmark.ignore-eos-structured",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="A grammar ends; with ignore_eos the engine must go on producing tokens that it no "
    "longer allows.",
    engines=(),
    targets=EVERYWHERE,
)
def ignore_eos_structured(case: Case) -> Iterator[Hit]:
    """ignore_eos and structured output contradict each other: a grammar has an end."""
    if case.profile.workload.ignore_eos and asks(case):
        yield Hit(
            "workload.ignore_eos",
            "requests ask for structured output, which ends where its grammar does.",
            "ignore_eos: false",
            (Change("workload.ignore_eos", False, "natural stops"),),
        )


@rule(
    "benchmark.ignore-eos",
    severity="info",
    fails="in the results",
    basis="practice",
    evidence="Answers of a fixed length make work equal; natural stops show what users see. The "
    "two do not compare.",
    engines=(),
    targets=("kserve", "local"),
)
def ignore_eos(case: Case) -> Iterator[Hit]:
    """Runs with ignore_eos compare only with runs that have it too."""
    if case.profile.workload.ignore_eos:
        yield Hit(
            "workload.ignore_eos",
            "every answer has as many tokens as were asked for, whatever the model would say.",
            "Compare only with runs that have ignore_eos too.",
        )

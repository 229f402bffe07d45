"""vLLM's scheduler: how many requests and tokens go into one step."""

from collections.abc import Iterator

from runners.checks.amounts import number, whole
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

TOKENS = "engine.args.max_num_batched_tokens"
SEQUENCES = "engine.args.max_num_seqs"


def is_off(case: Case, name: str) -> bool:
    """Whether a switch is turned off; unset is not off."""
    return case.args.get(name) in (False, "false", "False")


def is_on(case: Case, name: str) -> bool:
    """Whether a switch is turned on; unset is not on."""
    return case.args.get(name) in (True, "true", "True")


def count(case: Case, name: str) -> int | None:
    """An engine argument that is a whole number, 8k included."""
    return whole(case.args.get(name))


@rule(
    "scheduler.memory-utilization",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="CacheConfig: gpu_memory_utilization must be above 0 and at most 1.",
)
def memory_utilization(case: Case) -> Iterator[Hit]:
    """gpu_memory_utilization is a share of the GPU's memory: above 0, at most 1."""
    share = number(case.args.get("gpu_memory_utilization"))
    if share is None or 0 < share <= 1:
        return
    meant = share / 100 if 10 <= share <= 100 else 0.92
    yield Hit(
        "engine.args.gpu_memory_utilization",
        f"{share:g} is no share of the memory: it must be above 0 and at most 1.",
        f"gpu_memory_utilization: {meant:g}",
        (
            Change(
                "engine.args.gpu_memory_utilization",
                meant,
                f"read as {share:g} %" if meant != 0.92 else "the engine's own default",
            ),
        ),
    )


@rule(
    "scheduler.batch-below-length",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="SchedulerConfig.verify_max_model_len: max_num_batched_tokens is smaller than "
    "max_model_len, which would limit the length of a sequence.",
)
def batch_below_length(case: Case) -> Iterator[Hit]:
    """Without chunked prefill, one step must hold a whole prompt of max_model_len tokens."""
    if not is_off(case, "enable_chunked_prefill"):
        return
    tokens, length = count(case, "max_num_batched_tokens"), count(case, "max_model_len")
    if tokens is not None and length is not None and 0 < tokens < length:
        yield Hit(
            TOKENS,
            f"one step takes {tokens} tokens, but without chunked prefill it must hold a prompt "
            f"of max_model_len {length}.",
            f"max_num_batched_tokens: {length}, or enable_chunked_prefill: true",
            (Change("engine.args.enable_chunked_prefill", REMOVE, "chunked prefill, the default"),),
        )


@rule(
    "scheduler.batch-below-sequences",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="SchedulerConfig.verify_max_model_len: max_num_batched_tokens must be greater than "
    "or equal to max_num_seqs.",
)
def batch_below_sequences(case: Case) -> Iterator[Hit]:
    """A step must have room for one token of each of max_num_seqs sequences."""
    tokens, sequences = count(case, "max_num_batched_tokens"), count(case, "max_num_seqs")
    if tokens is not None and sequences is not None and 0 < tokens < sequences:
        yield Hit(
            TOKENS,
            f"one step takes {tokens} tokens, fewer than the {sequences} sequences of "
            "max_num_seqs.",
            f"max_num_batched_tokens: {max(2048, sequences)}, or max_num_seqs: {tokens}",
            (Change(SEQUENCES, tokens, "as many sequences as a step has tokens"),),
        )


@rule(
    "scheduler.batch-never-full",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="SchedulerConfig.verify_max_model_len warns: max_num_batched_tokens exceeds "
    "max_num_seqs * max_model_len, which may lead to unexpected behaviour.",
)
def batch_never_full(case: Case) -> Iterator[Hit]:
    """More tokens per step than max_num_seqs sequences of max_model_len can bring is a mistake."""
    tokens, sequences = count(case, "max_num_batched_tokens"), count(case, "max_num_seqs")
    length = count(case, "max_model_len")
    if tokens is None or sequences is None or length is None or min(sequences, length) < 1:
        return
    if tokens > sequences * length:
        yield Hit(
            TOKENS,
            f"{tokens} tokens per step can never be reached by {sequences} sequences of "
            f"{length} tokens ({sequences * length}).",
            f"max_num_batched_tokens: {sequences * length} or less",
        )


@rule(
    "scheduler.long-prefill-above-length",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="SchedulerConfig.verify_max_model_len: long_prefill_token_threshold cannot be "
    "greater than the max_model_len.",
)
def long_prefill_above_length(case: Case) -> Iterator[Hit]:
    """long_prefill_token_threshold cannot be above max_model_len."""
    threshold, length = count(case, "long_prefill_token_threshold"), count(case, "max_model_len")
    if threshold is not None and length is not None and 0 < length < threshold:
        yield Hit(
            "engine.args.long_prefill_token_threshold",
            f"no prompt is longer than {threshold} tokens where max_model_len is {length}.",
            f"long_prefill_token_threshold: {length // 2}, or remove the line",
            (Change("engine.args.long_prefill_token_threshold", REMOVE, "no threshold"),),
        )


@rule(
    "scheduler.active-above-sequences",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="SchedulerConfig.verify_max_model_len: max_num_active_seqs cannot be greater than "
    "max_num_seqs.",
)
def active_above_sequences(case: Case) -> Iterator[Hit]:
    """max_num_active_seqs lowers max_num_seqs and cannot be above it."""
    active, sequences = count(case, "max_num_active_seqs"), count(case, "max_num_seqs")
    if active is not None and sequences is not None and 0 < sequences < active:
        yield Hit(
            "engine.args.max_num_active_seqs",
            f"{active} active sequences are more than max_num_seqs {sequences} allows.",
            f"max_num_active_seqs: {sequences}, or max_num_seqs: {active}",
            (Change("engine.args.max_num_active_seqs", REMOVE, "max_num_seqs is the limit"),),
        )


_LEAST = {
    "max_num_seqs": 1,
    "max_num_batched_tokens": 1,
    "max_num_scheduled_tokens": 1,
    "max_num_active_seqs": 1,
    "long_prefill_token_threshold": 0,
    "max_num_queued_reqs": 0,
    "max_num_queued_tokens": 0,
    "block_size": 1,
    "mamba_block_size": 1,
}


@rule(
    "scheduler.below-one",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="SchedulerConfig and CacheConfig bound these fields: a step has at least one "
    "sequence and one token.",
)
def below_one(case: Case) -> Iterator[Hit]:
    """Limits of the scheduler and sizes of blocks are at least 1 (queues and thresholds 0)."""
    for name, least in _LEAST.items():
        if name not in case.args:
            continue
        given = count(case, name)
        if given is not None and given < least:
            yield Hit(
                f"engine.args.{name}",
                f"{name} is {given} and must be at least {least}.",
                f"{name}: {max(least, 1)} or more, or remove the line",
                (Change(f"engine.args.{name}", REMOVE, "the engine's own default"),),
            )


@rule(
    "scheduler.chunked-prefill-off",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="EngineArgs._set_default_chunked_prefill_and_prefix_caching_args warns that the "
    "model does not officially support this and the engine may crash or answer wrongly.",
    versions=">=0.11",
)
def chunked_prefill_off(case: Case) -> Iterator[Hit]:
    """Turning chunked prefill off is not supported officially for models that generate text."""
    if is_off(case, "enable_chunked_prefill") and case.args.get("runner") != "pooling":
        yield Hit(
            "engine.args.enable_chunked_prefill",
            "vLLM does not officially support a text model without chunked prefill: it may crash "
            "or answer wrongly, and long prompts then hold up every running request.",
            "Remove the line, unless this is what you measure.",
            (Change("engine.args.enable_chunked_prefill", REMOVE, "the engine's own default"),),
        )


_ENCODER_DECODER = ("whisper", "bart", "florence-2", "t5", "mbart", "donut")


@rule(
    "scheduler.encoder-decoder",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="SchedulerConfig.__post_init__ disables chunked prefill and prefix caching for "
    "encoder-decoder models; compilation is limited to FULL_DECODE_ONLY graphs.",
)
def encoder_decoder(case: Case) -> Iterator[Hit]:
    """Encoder-decoder models run without chunked prefill and prefix caching, whatever is asked."""
    asked = [
        name for name in ("enable_chunked_prefill", "enable_prefix_caching") if is_on(case, name)
    ]
    if not asked:
        return
    model = case.profile.model.uri.rstrip("/").rpartition("/")[2].lower()
    if model.startswith(_ENCODER_DECODER):
        for name in asked:
            yield Hit(
                f"engine.args.{name}",
                f"{model} is an encoder-decoder model, for which the engine turns this off.",
                "Remove the line.",
                (Change(f"engine.args.{name}", REMOVE),),
            )


@rule(
    "scheduler.shared-gpu",
    severity="warning",
    fails="after loading",
    basis="source",
    evidence="vllm/v1/worker/utils.py request_memory: free memory on the device at start-up is "
    "less than the desired GPU memory utilization.",
)
def shared_gpu(case: Case) -> Iterator[Hit]:
    """A time-sliced GPU is shared with pods whose memory and load are not this run's."""
    gpu = case.profile.resources.gpu
    if gpu.type and gpu.type.upper().endswith("-SHARED"):
        share = number(case.args.get("gpu_memory_utilization")) or 0.92
        yield Hit(
            "resources.gpu.type",
            f"on a time-sliced GPU the engine exits when less than {share:.0%} of the memory is "
            "free, and a neighbour's load is measured too.",
            "Name a GPU or a MIG slice of your own.",
        )


@rule(
    "scheduler.kv-events",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="VllmConfig warns: KV cache events are on, but prefix caching is not enabled.",
)
def kv_events(case: Case) -> Iterator[Hit]:
    """KV cache events tell about the prefix cache; without it there are none."""
    if "kv_events_config" not in case.args or not is_off(case, "enable_prefix_caching"):
        return
    if (case.section("kv_events_config") or {}).get("enable_kv_cache_events") is True:
        yield Hit(
            "engine.args.kv_events_config",
            "KV cache events are asked for, but prefix caching is off, so there are none.",
            "Remove enable_prefix_caching: false, or kv_events_config.",
        )


@rule(
    "scheduler.mamba-block-size",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig.validate_mamba_block_size: --mamba-block-size can only be set with "
    "--enable-prefix-caching.",
)
def mamba_block_size(case: Case) -> Iterator[Hit]:
    """mamba_block_size belongs to the prefix cache."""
    if "mamba_block_size" in case.args and is_off(case, "enable_prefix_caching"):
        if count(case, "mamba_block_size") == count(case, "max_model_len"):
            return
        yield Hit(
            "engine.args.mamba_block_size",
            "mamba_block_size can only be set with prefix caching, which is off.",
            "Remove mamba_block_size, or enable_prefix_caching: false.",
            (Change("engine.args.mamba_block_size", REMOVE, "prefix caching stays off"),),
        )


@rule(
    "scheduler.hash-package",
    severity="warning",
    fails="after loading",
    basis="source",
    evidence="vllm/utils/hashing.py raises ModuleNotFoundError: xxhash is required for the xxhash "
    "prefix caching hash algorithms; it is no dependency of vLLM.",
)
def hash_package(case: Case) -> Iterator[Hit]:
    """The xxhash prefix hashes need a package that vLLM does not install."""
    named = case.args.get("prefix_caching_hash_algo")
    if isinstance(named, str) and named.startswith("xxhash"):
        yield Hit(
            "engine.args.prefix_caching_hash_algo",
            f"{named} needs the Python package xxhash, which vLLM does not install.",
            "prefix_caching_hash_algo: sha256 (the default), or an image with xxhash",
            (Change("engine.args.prefix_caching_hash_algo", REMOVE, "sha256, the default"),),
        )

"""TGI (Text Generation Inference): what its launcher and its router refuse or change."""

from collections.abc import Iterator, Mapping
from typing import Any

from runners.checks.amounts import number, whole
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

TGI = ("tgi",)
_SIXTEEN_BIT = ("awq", "gptq", "exl2", "marlin", "awq_marlin", "gptq_marlin", "auto_awq")
_LAUNCHER = "launcher/src/main.rs of TGI 3.3.7"


def named(case: Case, *names: str) -> tuple[str, Any]:
    """(dotted key, value) of the first of these arguments that is set; value None without."""
    for name in names:
        if name in case.args:
            return f"engine.args.{name}", case.args[name]
    return f"engine.args.{names[0]}", None


def quantize(case: Case) -> tuple[str, str | None]:
    """(key, method) of --quantize, in its own word or vLLM's."""
    key, value = named(case, "quantize", "quantization")
    return key, value if isinstance(value, str) else None


def size(case: Case, *names: str) -> tuple[str, int | None]:
    """(key, whole number) of the first of these arguments that is set."""
    key, value = named(case, *names)
    return key, whole(value)


def wants_prefixes(case: Case) -> bool:
    """Whether prefix caching is a subject of the run."""
    asked = case.args.get("enable_prefix_caching") is True
    return (
        asked
        or case.environment.get("PREFIX_CACHING") in ("1", "true")
        or (case.profile.workload.shared_prefix is not None)
    )


@rule(
    "tgi.exl2-shards",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence=f"{_LAUNCHER}: sharding is currently not supported with exl2 quantization.",
    engines=TGI,
)
def exl2_shards(case: Case) -> Iterator[Hit]:
    """exl2 checkpoints run on one GPU."""
    _, method = quantize(case)
    key, shards = size(case, "num_shard", "tensor_parallel_size")
    if method == "exl2" and shards is not None and shards > 1:
        yield Hit(
            key,
            f"an exl2 checkpoint cannot be spread over {shards} GPUs.",
            "num_shard: 1",
            (Change(key, 1, "exl2 runs on one GPU"),),
        )


@rule(
    "tgi.two-input-limits",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence=f"{_LAUNCHER}: both max_input_tokens and max_input_length are set.",
    engines=TGI,
)
def two_input_limits(case: Case) -> Iterator[Hit]:
    """max_input_tokens and max_input_length are two names for one limit."""
    if "max_input_tokens" in case.args and "max_input_length" in case.args:
        yield Hit(
            "engine.args.max_input_length",
            "max_input_tokens says the same, and the launcher refuses both.",
            "Keep max_input_tokens.",
            (Change("engine.args.max_input_length", REMOVE, "max_input_tokens stays"),),
        )


@rule(
    "tgi.input-above-total",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence=f"{_LAUNCHER}: max_input_tokens must be less than max_total_tokens.",
    engines=TGI,
)
def input_above_total(case: Case) -> Iterator[Hit]:
    """max_input_tokens must be below max_total_tokens, so that there is room for an answer."""
    key, most = size(case, "max_input_tokens", "max_input_length")
    _, total = size(case, "max_total_tokens", "max_model_len")
    if most is not None and total is not None and most >= total:
        answer = case.profile.workload.max_tokens
        yield Hit(
            key,
            f"{most} tokens of input leave no room in max_total_tokens {total}.",
            f"{key.rpartition('.')[2]}: {max(1, total - answer)}",
            (Change(key, max(1, total - answer), "room for workload.max_tokens"),),
        )


@rule(
    "tgi.total-above-batch",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence=f"{_LAUNCHER}: max_total_tokens must be <= max_batch_total_tokens.",
    engines=TGI,
)
def total_above_batch(case: Case) -> Iterator[Hit]:
    """A batch must hold at least one request of max_total_tokens."""
    key, batch = size(case, "max_batch_total_tokens")
    _, total = size(case, "max_total_tokens", "max_model_len")
    if batch is not None and total is not None and 0 < batch < total:
        yield Hit(
            key,
            f"a batch of {batch} tokens cannot hold a request of {total}.",
            "Remove max_batch_total_tokens: TGI measures what fits.",
            (Change(key, REMOVE, "TGI measures what fits"),),
        )


@rule(
    "tgi.shards",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence=f"{_LAUNCHER}: num_shard must be at least 1 and not above the visible GPUs; sharded "
    "needs more than one.",
    engines=TGI,
)
def shards(case: Case) -> Iterator[Hit]:
    """A shard needs a GPU, and --sharded more than one."""
    key, count = size(case, "num_shard", "tensor_parallel_size")
    gpus = case.profile.resources.gpu.count
    if count is not None and (count < 1 or (0 < gpus < count)):
        yield Hit(
            key,
            f"{count} shards do not fit onto {gpus} GPU(s).",
            f"{key.rpartition('.')[2]}: {max(1, gpus)}",
            (Change(key, max(1, gpus), "as many as GPUs"),),
        )
    if case.args.get("sharded") is True and gpus <= 1:
        yield Hit(
            "engine.args.sharded",
            f"there is nothing to share between {gpus} GPU(s).",
            "Remove sharded, or set resources.gpu.count.",
            (Change("engine.args.sharded", REMOVE, "one GPU"),),
        )


@rule(
    "tgi.prefix-caching",
    severity="warning",
    fails="silently",
    basis="source",
    evidence=f"{_LAUNCHER} turns prefix caching off below SM 8.0 (paged attention), for LoRA and "
    "for head sizes other than 64, 128 and 256.",
    engines=TGI,
)
def prefix_caching(case: Case) -> Iterator[Hit]:
    """TGI turns prefix caching off on older GPUs, with LoRA, and for unusual head sizes."""
    if not wants_prefixes(case):
        return
    gpu, head = case.gpu, case.model.head_dim if case.model else None
    adapters = case.profile.model.adapters or case.args.get("lora_adapters")
    why = ""
    if gpu is not None and gpu.sm is not None and gpu.sm < 8:
        why = f"{case.profile.resources.gpu.type} (SM {gpu.sm:g}) has paged attention only"
    elif adapters:
        why = "adapters are served"
    elif head is not None and head not in (64, 128, 256):
        why = f"the model's heads have {head} values"
    if why:
        asked = "enable_prefix_caching" in case.args
        yield Hit(
            "engine.args.enable_prefix_caching" if asked else "workload.shared_prefix",
            f"TGI turns prefix caching off, because {why}.",
            "Compare without shared prefixes, or on another GPU or engine.",
        )


@rule(
    "tgi.no-graphs",
    severity="warning",
    fails="silently",
    basis="source",
    evidence=f"{_LAUNCHER} turns CUDA graphs off for bitsandbytes (deprecated there) and exl2; "
    "cli.py for LoRA.",
    engines=TGI,
)
def no_graphs(case: Case) -> Iterator[Hit]:
    """bitsandbytes, exl2 and LoRA turn TGI's CUDA graphs off."""
    key, method = quantize(case)
    if method is not None and (method.startswith("bitsandbytes") or method == "exl2"):
        yield Hit(
            key,
            f"{method} runs without CUDA graphs"
            + (", and is deprecated in TGI." if method.startswith("bits") else "."),
            "Use an awq, gptq or fp8 checkpoint.",
        )
    if case.profile.model.adapters or case.args.get("lora_adapters"):
        yield Hit(
            "model.adapters" if case.profile.model.adapters else "engine.args.lora_adapters",
            "with adapters TGI runs without CUDA graphs; a baseline without them has them.",
            "Compare with a baseline that has cuda_graphs: 0.",
        )


@rule(
    "tgi.dtype-quantize",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="server/text_generation_server/cli.py raises RuntimeError: only 1 can be set between "
    "dtype and quantize, except for bitsandbytes.",
    engines=TGI,
)
def dtype_quantize(case: Case) -> Iterator[Hit]:
    """TGI takes dtype or quantize, not both."""
    _, method = quantize(case)
    given = case.args.get("dtype")
    if method is None or given in (None, "auto") or method.startswith("bitsandbytes"):
        return
    yield Hit(
        "engine.args.dtype",
        f"TGI refuses dtype {given} beside {method}.",
        "Remove dtype; for other engines put it into engine.specific.vllm.args.",
        (Change("engine.args.dtype", REMOVE, f"{method} decides"),),
    )


@rule(
    "tgi.fp8-cache",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="layers/attention/kv_cache.py: FP8 KV cache is only supported for flashinfer on CUDA.",
    engines=TGI,
)
def fp8_cache(case: Case) -> Iterator[Hit]:
    """An fp8 KV cache needs flashinfer, so SM 8.0 and no other ATTENTION."""
    cache = case.args.get("kv_cache_dtype")
    if not isinstance(cache, str) or not cache.startswith("fp8"):
        return
    attention, gpu = case.environment.get("ATTENTION"), case.gpu
    if attention not in (None, "flashinfer"):
        yield Hit(
            "engine.env.ATTENTION",
            f"{cache} needs flashinfer, and ATTENTION is {attention}.",
            "ATTENTION: flashinfer",
            (Change("engine.env.ATTENTION", "flashinfer", "the one with fp8"),),
        )
    elif gpu is not None and gpu.sm is not None and gpu.sm < 8:
        yield Hit(
            "engine.args.kv_cache_dtype",
            f"{cache} needs flashinfer, which SM {gpu.sm:g} does not have.",
            "Remove kv_cache_dtype.",
            (Change("engine.args.kv_cache_dtype", REMOVE, "the model's dtype"),),
        )


@rule(
    "tgi.marlin",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="layers/marlin/util.py: marlin kernels need compute capability 8.0.",
    engines=TGI,
)
def marlin(case: Case) -> Iterator[Hit]:
    """marlin needs compute capability 8.0."""
    key, method = quantize(case)
    gpu = case.gpu
    if method == "marlin" and gpu is not None and gpu.sm is not None and gpu.sm < 8:
        yield Hit(
            key,
            f"marlin needs SM 8.0, and {case.profile.resources.gpu.type} has SM {gpu.sm:g}.",
            "quantize: gptq",
            (Change(key, "gptq", "other kernels for the same checkpoint"),),
        )


@rule(
    "tgi.float16",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="server/text_generation_server/models/__init__.py sets float16 for gptq, awq, exl2 "
    "and marlin.",
    engines=TGI,
)
def float16(case: Case) -> Iterator[Hit]:
    """With awq, gptq, exl2 and marlin TGI computes in float16."""
    key, method = quantize(case)
    if method in _SIXTEEN_BIT and case.args.get("dtype") in (None, "auto"):
        yield Hit(
            key,
            f"with {method} TGI computes in float16, where another engine may take bfloat16.",
            "Give the other engine dtype: float16 in engine.specific.",
        )


def _parameters(case: Case) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(key, sampling parameters) of each request, in the place of the workload's API."""
    body = case.profile.workload.extra_body
    if case.profile.workload.api != "tgi":
        yield "workload.extra_body", body
    elif isinstance(body.get("parameters"), Mapping):
        yield "workload.extra_body.parameters", body["parameters"]


@rule(
    "tgi.request",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="router/src/validation.rs answers 422: temperature and top_p are strictly between "
    "their bounds (top_p 1.0 is refused), best_of goes neither with stream nor with seed.",
    engines=TGI,
    targets=("kserve", "local", "url"),
)
def request(case: Case) -> Iterator[Hit]:
    """TGI refuses temperature 0 on its own API, top_p 1, and best_of with streams or a seed."""
    for key, given in _parameters(case):
        top_p, temperature = number(given.get("top_p")), number(given.get("temperature"))
        if top_p is not None and not 0 < top_p < 1:
            yield Hit(
                f"{key}.top_p",
                f"top_p {top_p:g} is answered with 422; it must be above 0 and below 1.",
                "Remove top_p: without it nothing is cut.",
                (Change(f"{key}.top_p", REMOVE, "nothing is cut"),),
            )
        own = case.profile.workload.api == "tgi"
        if own and temperature is not None and temperature <= 0:
            yield Hit(
                f"{key}.temperature",
                "temperature 0 is answered with 422; without one TGI is greedy.",
                "Remove it: the toolkit leaves a temperature of 0 out.",
                (Change(f"{key}.temperature", REMOVE, "greedy without one"),),
            )
        best = whole(given.get("best_of"))
        if best is not None and best > 1 and (case.profile.workload.stream or "seed" in given):
            yield Hit(
                f"{key}.best_of",
                "best_of goes neither with streaming nor with a seed.",
                "Remove best_of.",
                (Change(f"{key}.best_of", REMOVE, "one answer"),),
            )


@rule(
    "tgi.ignore-eos",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="TGI's router knows no ignore_eos; an unknown field of an OpenAI request is ignored.",
    engines=TGI,
    targets=("kserve", "local", "url"),
)
def ignore_eos(case: Case) -> Iterator[Hit]:
    """TGI always stops at the end token, so answers are shorter than max_tokens."""
    if case.profile.workload.ignore_eos:
        yield Hit(
            "workload.ignore_eos",
            "TGI ignores it and stops where the model does; answers differ in length from "
            "engines that heed it.",
            "ignore_eos: false, on every engine that you compare",
            (Change("workload.ignore_eos", False, "natural stops"),),
        )


@rule(
    "tgi.concurrent-requests",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="The router answers 429 (model is overloaded) above --max-concurrent-requests; the "
    "toolkit sets 4096 unless the profile does.",
    engines=TGI,
)
def concurrent_requests(case: Case) -> Iterator[Hit]:
    """More requests in flight than max_concurrent_requests are answered with 429."""
    limit = whole(case.args.get("max_concurrent_requests"))
    asked = case.profile.load.concurrency
    replicas = max(1, case.profile.serving.replicas)
    if limit is not None and asked is not None and 0 <= limit * replicas < asked:
        yield Hit(
            "engine.args.max_concurrent_requests",
            f"{asked} requests are in flight, and TGI answers 429 above {limit} for each of "
            f"{replicas} replica(s).",
            f"max_concurrent_requests: {asked}",
            (Change("engine.args.max_concurrent_requests", asked, "as many as the load sends"),),
        )

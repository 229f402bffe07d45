"""Settings of the KV cache."""

import math
from typing import Any

from runners.checks.memory_fit import GIB, weight_bytes
from runners.convert.outcome import (
    Convert,
    Outcome,
    approximate,
    exact,
    needs,
    none,
    nothing,
)
from runners.convert.settings import Settings, Target

SECTION = "kv_cache_config"
_DEFAULT_BLOCK = 16  # vLLM's block_size on GPUs where none is given
_LEFT = (
    "TensorRT-LLM takes this share of the memory left after the weights, vLLM of all of it; "
    "u = (weights + f × (memory - weights)) / memory"
)


def utilization(fraction: float, weights: float, memory: float) -> float:
    """Share of the whole GPU for a share of what is left: (w + f (T − w)) / T, in bytes.

    Activations and graphs lie inside vLLM's share and outside of TensorRT-LLM's.
    """
    return (weights + fraction * (memory - weights)) / memory


def _fraction(value: Any, settings: Settings) -> Outcome:
    fraction, target = settings.share(value), settings.target
    name = "gpu_memory_utilization"
    if target.gpu is None or target.model is None:
        return needs(name, f"{_LEFT}; {_missing(target)}")
    model = target.model
    weights = weight_bytes(
        model,
        model.quantization or model.named_quantization,
        _dtype(settings, model.dtype),
        tensor_parallel=settings.size("tensor_parallel_size"),
        pipeline_parallel=settings.size("pipeline_parallel_size"),
    )
    memory = (target.gpu.reported_gib or target.gpu.memory_gib) * GIB
    if weights is None:
        return needs(name, f"{_LEFT}; the weights' size of {model.name} is not known here")
    if weights >= memory:
        return needs(name, f"the weights ({weights / GIB:.0f} GiB) do not fit {target.gpu.name}")
    share = round(utilization(fraction, weights, memory), 3)
    sizes = f"{weights / GIB:.1f} GiB of weights on {memory / GIB:.1f} GiB"
    return approximate({name: share}, f"{sizes}; activations count inside vLLM's share")


def _missing(target: Target) -> str:
    unknown = f"the size of {target.model_named} is not known here" if target.model_named else ""
    wanted = [
        "" if target.gpu else "the GPU (--gpu)",
        "" if target.model or target.model_named else "the model (--model)",
    ]
    missing = " and ".join(filter(None, wanted))
    return "; ".join(filter(None, (unknown, f"give {missing}" if missing else "")))


def _dtype(settings: Settings, of_model: str | None) -> str:
    given = settings.get("dtype")
    named = given if isinstance(given, str) and given != "auto" else of_model
    return named or "bfloat16"


def _tokens(value: Any, settings: Settings) -> Outcome:
    tokens = settings.whole(value, 1)
    size = settings.get(SECTION, "tokens_per_block")
    block = _DEFAULT_BLOCK
    if size is not None:
        block = settings.under(f"{SECTION}.tokens_per_block").whole(size, 1)
    note = "an upper bound there, exactly so many blocks here"
    return approximate({"num_gpu_blocks_override": math.ceil(tokens / block)}, note)


def _block(value: Any, settings: Settings) -> Outcome:
    size, release = settings.whole(value, 1), settings.target.release
    option = release.flags.get("block_size")
    if option is not None and option.choices is not None and size not in option.choices:
        known = ", ".join(map(str, option.choices))
        return nothing(f"vLLM {release.version} takes blocks of {known} only")
    return exact({"block_size": size})


def _kept_dtype(value: Any, settings: Settings) -> Outcome:
    word, release = settings.text(value), settings.target.release
    if word not in release.kv_cache_dtypes:
        return nothing(f"vLLM {release.version} has no such cache")
    return exact({"kv_cache_dtype": word})


def _offloaded(value: Any, settings: Settings) -> Outcome:
    if (size := settings.whole(value)) == 0:
        return exact(note="vLLM does so anyway")
    ranks = settings.size("tensor_parallel_size") * settings.size("pipeline_parallel_size")
    note = "bytes of each rank there, GiB of all ranks here; another policy"
    return approximate({"kv_offloading_size": round(size * ranks / GIB, 3)}, note)


def _events(value: Any, settings: Settings) -> Outcome:
    if (size := settings.whole(value)) == 0:
        return exact(note="vLLM does so anyway")
    config = {"enable_kv_cache_events": True, "publisher": "zmq", "max_queue_size": size}
    return approximate({"kv_events_config": config}, "published over ZMQ, not asked for")


def _reuse(value: Any, settings: Settings) -> Outcome:
    return exact({"enable_prefix_caching": settings.truth(value)})


KV_CACHE: dict[str, Convert] = {
    "free_gpu_memory_fraction": _fraction,
    "max_tokens": _tokens,
    "enable_block_reuse": _reuse,
    "enable_partial_reuse": none("vLLM shares whole blocks only"),
    "copy_on_partial_reuse": none("vLLM shares whole blocks only"),
    "tokens_per_block": _block,
    "dtype": _kept_dtype,
    "host_cache_size": _offloaded,
    "max_attention_window": none("vLLM reads windows from the model's own configuration"),
    "event_buffer_max_size": _events,
    "use_uvm": none("vLLM keeps the cache in GPU memory", (False,)),
    "sink_token_length": none("vLLM keeps no sink tokens in a windowed cache", (0,)),
}

"""Settings of parallelism: how many GPUs, and what is spread over them."""

from typing import Any

from runners.convert.outcome import Convert, Outcome, approximate, exact, none, nothing
from runners.convert.settings import Settings

_EXPERTS = "vLLM spreads experts over all of its tensor × data parallel ranks"


def _tensor(value: Any, settings: Settings) -> Outcome:
    size, shared = settings.whole(value, 1), settings.size("context_parallel_size")
    if settings.get("enable_attention_dp") is True:
        return exact(note="set by enable_attention_dp")
    if shared > 1 and _helix(settings):
        note = "Helix ranks are counted among the tensor-parallel ones by vLLM"
        return approximate({"tensor_parallel_size": size * shared}, note)
    return exact({"tensor_parallel_size": size})


def _pipeline(value: Any, settings: Settings) -> Outcome:
    return exact({"pipeline_parallel_size": settings.whole(value, 1)})


def _helix(settings: Settings) -> bool:
    return str(settings.get("cp_config", "cp_type")).upper() == "HELIX"


def _context(value: Any, settings: Settings) -> Outcome:
    size = settings.whole(value, 1)
    if size == 1:
        return exact(note="vLLM does so anyway")
    if not _helix(settings):
        note = "another algorithm, over as many further GPUs; vLLM's second model runner only"
        return approximate({"prefill_context_parallel_size": size}, note)
    args = {"decode_context_parallel_size": size}
    if settings.get("tensor_parallel_size") is None:
        args["tensor_parallel_size"] = size
    return approximate(args, "Helix is nearest to vLLM's decode context parallelism")


def _experts(value: Any, settings: Settings) -> Outcome:
    size, ranks = settings.whole(value, 1), settings.size("tensor_parallel_size")
    if size == 1:
        return exact(note="vLLM does so anyway")
    args = {"enable_expert_parallel": True}
    if size == ranks:
        return exact(args)
    return approximate(args, f"{_EXPERTS}: {ranks} here, not {size}")


def _attention_dp(value: Any, settings: Settings) -> Outcome:
    if not settings.truth(value):
        return exact(note="vLLM does so anyway")
    ranks = settings.size("tensor_parallel_size")
    if ranks == 1:
        return exact(note="one rank: nothing to spread")
    args: dict[str, Any] = {"data_parallel_size": ranks, "tensor_parallel_size": 1}
    if settings.size("moe_expert_parallel_size") > 1:
        args["enable_expert_parallel"] = True
    return approximate(args, "vLLM runs one engine for each data-parallel rank")


def _context_config(value: Any, settings: Settings) -> Outcome:
    if settings.size("context_parallel_size") > 1:
        return exact(note="read with context_parallel_size")
    return nothing("nothing is context-parallel here")


PARALLEL: dict[str, Convert] = {
    "tensor_parallel_size": _tensor,
    "pipeline_parallel_size": _pipeline,
    "context_parallel_size": _context,
    "cp_config": _context_config,
    "moe_expert_parallel_size": _experts,
    "moe_tensor_parallel_size": none(f"{_EXPERTS}, or none of them", (1, -1)),
    "moe_cluster_parallel_size": none("vLLM has no clusters of experts", (1, -1)),
    "enable_attention_dp": _attention_dp,
    "attention_dp_config": none("vLLM balances its data-parallel ranks by itself"),
    "gpus_per_node": none("vLLM counts the GPUs that it sees"),
}

"""Settings of prefill and decode apart."""

from typing import Any

from runners.convert.outcome import Convert, Outcome, approximate, needs, none, nothing
from runners.convert.settings import Settings

SECTION = "cache_transceiver_config"
_NIXL = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
_ROLES = {"decode": "kv_consumer", "prefill": "kv_producer"}


def _backend(value: Any, settings: Settings) -> Outcome:
    word, target = settings.text(value).upper(), settings.target
    if word == "MPI":
        return nothing("no connector of vLLM moves the cache by MPI; NIXL is the usual one")
    if word not in ("DEFAULT", "UCX", "NIXL", "MOONCAKE"):
        raise settings.error(f"unknown backend {value!r}; one of DEFAULT, UCX, NIXL, MOONCAKE, MPI")
    connector = "MooncakeConnector" if word == "MOONCAKE" else "NixlConnector"
    if target.release.kv_connectors and connector not in target.release.kv_connectors:
        return nothing(f"vLLM {target.version} has no {connector}")
    if word == "MOONCAKE":
        if target.role is None:
            return needs("kv_transfer_config", "which side is it? give --role decode or prefill")
        config = {"kv_connector": connector, "kv_role": _ROLES[target.role]}
        return approximate({"kv_transfer_config": config}, "its router is vLLM's own proxy")
    note = "vLLM's connector, which moves the cache by NIXL over UCX"
    return approximate({"kv_transfer_config": dict(_NIXL)}, note)


TRANSCEIVER: dict[str, Convert] = {
    "backend": _backend,
    "max_tokens_in_buffer": none("Nixl moves blocks from where they lie, without a buffer"),
    "kv_transfer_timeout_ms": none("each connector of vLLM has a time limit of its own"),
    "transceiver_runtime": none("it belongs to TensorRT-LLM's own transceiver"),
}

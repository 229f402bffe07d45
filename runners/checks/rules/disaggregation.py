"""Prefill and decode apart: connectors that hand the KV cache over."""

from collections.abc import Iterator, Mapping

from runners.checks.amounts import whole
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.scheduler import is_on

CONFIG = "engine.args.kv_transfer_config"
ROLES = ("kv_producer", "kv_consumer", "kv_both")


@rule(
    "disaggregation.role",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="KVTransferConfig: please specify kv_role when kv_connector is set; unsupported "
    "kv_role for any other word.",
)
def role(case: Case) -> Iterator[Hit]:
    """A KV connector needs a role: kv_producer, kv_consumer or kv_both."""
    config = case.section("kv_transfer_config")
    if config is None:
        return
    given = config.get("kv_role")
    if given is None and config.get("kv_connector") is None:
        return
    if given is None or (isinstance(given, str) and given not in ROLES):
        yield Hit(
            f"{CONFIG}.kv_role",
            f"the connector {config.get('kv_connector')} has no role."
            if given is None
            else f"{given} is no role of a KV connector.",
            f"kv_role: kv_both (or one of {', '.join(ROLES)})",
            (Change(f"{CONFIG}.kv_role", "kv_both", "sends and receives"),),
        )


@rule(
    "disaggregation.connector",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="KVConnectorFactory raises: unsupported connector type; others come from "
    "kv_connector_module_path.",
)
def connector(case: Case) -> Iterator[Hit]:
    """The KV connector must be one that the version registers, or come from a module."""
    config = case.section("kv_transfer_config")
    if not config:
        return
    named, release = config.get("kv_connector"), case.release
    if not isinstance(named, str) or config.get("kv_connector_module_path"):
        return
    known = release.kv_connectors
    if not known or named in known:
        return
    newer = release.newest and not release.exact
    yield Hit(
        f"{CONFIG}.kv_connector",
        f"vLLM {release.version} has no connector {named}.",
        f"Use one of {', '.join(sorted(known))}.",
        severity="warning" if newer else None,
    )


@rule(
    "disaggregation.expandable-segments",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="VllmConfig._verify_kv_transfer_compat: a KV connector is incompatible with "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True unless the cumem allocator is on.",
    versions=">=0.21",
)
def expandable_segments(case: Case) -> Iterator[Hit]:
    """A KV connector pins memory that PyTorch's expandable segments would move."""
    if "expandable_segments:True" not in case.environment.get("PYTORCH_CUDA_ALLOC_CONF", ""):
        return
    config = case.section("kv_transfer_config")
    if not config or config.get("kv_connector") is None:
        return
    if is_on(case, "enable_cumem_allocator") or is_on(case, "enable_sleep_mode"):
        return
    key = "engine.env.PYTORCH_CUDA_ALLOC_CONF"
    yield Hit(
        key,
        f"the connector {config['kv_connector']} pins memory that expandable segments move: the "
        "engine refuses the pair.",
        "Remove expandable_segments:True.",
        (Change(key, REMOVE, "PyTorch's default allocator"),),
    )


@rule(
    "disaggregation.hybrid-cache",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="VllmConfig turns the hybrid KV cache manager off for connectors without support "
    "for it; asking for it explicitly is an error.",
    versions=">=0.12",
)
def hybrid_cache(case: Case) -> Iterator[Hit]:
    """A KV connector may turn the hybrid cache manager off, and memory then fits less."""
    config = case.section("kv_transfer_config")
    if not config or case.args.get("disable_hybrid_kv_cache_manager") not in (False, "false"):
        return
    named = config.get("kv_connector")
    if named in ("NixlConnector", "NixlPullConnector", "NixlPushConnector", None):
        return
    yield Hit(
        "engine.args.disable_hybrid_kv_cache_manager",
        f"the hybrid cache manager is asked for, which not every connector ({named}) supports.",
        "Remove the line: the engine turns it on where it can.",
        (Change("engine.args.disable_hybrid_kv_cache_manager", REMOVE, "as the engine can"),),
    )


@rule(
    "disaggregation.context-parallel",
    severity="warning",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig asserts for Nixl that both sides are replicated or both sharded by "
    "decode context parallelism, with MLA only.",
    versions=">=0.24",
)
def context_parallel(case: Case) -> Iterator[Hit]:
    """With Nixl, decode context parallelism is for MLA models and for both sides alike."""
    size = whole(case.args.get("decode_context_parallel_size"))
    if size is None or size <= 1:
        return
    config = case.section("kv_transfer_config") or {}
    if isinstance(config.get("kv_connector"), str) and "Nixl" in config["kv_connector"]:
        yield Hit(
            "engine.args.decode_context_parallel_size",
            f"the cache is spread over {size} ranks; Nixl hands such a cache over only for MLA "
            "models and only when prefill is spread in the same way.",
            "Give both sides the same decode_context_parallel_size, or remove it.",
        )


@rule(
    "disaggregation.no-transfer",
    severity="error",
    fails="silently",
    basis="documents",
    evidence="KServe starts both sides of an LLMInferenceService with the arguments that it is "
    "given; without a connector the decode side computes every prompt again.",
    targets=("kserve",),
)
def no_transfer(case: Case) -> Iterator[Hit]:
    """Prefill apart from decode needs a connector that hands the cache over."""
    prefill = case.profile.serving.prefill
    if prefill is None or "kv_transfer_config" in case.args:
        return
    if prefill.args.get("kv_transfer_config") or prefill.args.get("kv-transfer-config"):
        return
    wanted: Mapping[str, str] = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
    yield Hit(
        "serving.prefill",
        "prefill runs apart, but nothing hands its cache to the decode side.",
        "engine.args.kv_transfer_config: {kv_connector: NixlConnector, kv_role: kv_both}",
        (Change(CONFIG, dict(wanted), "the connector that KServe's routing uses"),),
    )

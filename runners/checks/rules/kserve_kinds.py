"""KServe: LLMInferenceService, and replicas over several nodes."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule
from runners.checks.rules.kserve import AUTOSCALER, deploys, release
from runners.checks.rules.kserve_storage import DRAFT, is_llm_service
from runners.engines.arguments import backend_of

KIND, NODES = "serving.kind", "serving.nodes"


@rule(
    "kserve.llm-engine",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="The presets of LLMInferenceService start `vllm serve` from llm-d's image; there "
    "are none for other engines.",
    engines=(),
    targets=("kserve",),
)
def llm_engine(case: Case) -> Iterator[Hit]:
    """LLMInferenceService serves with vLLM only."""
    if is_llm_service(case) and backend_of(case.profile) != "vllm" and deploys(case):
        yield Hit(
            KIND,
            f"an LLMInferenceService runs vLLM, not {backend_of(case.profile)}.",
            "serving.kind: InferenceService",
            (Change(KIND, "InferenceService", "serves with any engine"),),
        )


@rule(
    "kserve.llm-version",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="LLMInferenceService came with KServe 0.16 (v1alpha1; v1alpha2 from 0.17), its "
    "adapters with 0.20.",
    engines=(),
    targets=("kserve",),
)
def llm_version(case: Case) -> Iterator[Hit]:
    """LLMInferenceService needs KServe 0.16, and 0.20 to serve adapters."""
    if not is_llm_service(case) or not deploys(case):
        return
    if release(case) < (0, 16):
        yield Hit(
            KIND,
            f"KServe {case.kserve_version} has no LLMInferenceService.",
            "serving.kind: InferenceService, or a cluster with KServe 0.17 or newer",
            (Change(KIND, "InferenceService", "what this KServe has"),),
        )
    elif case.profile.model.adapters and release(case) < (0, 20):
        yield Hit(
            "model.adapters",
            f"the LLMInferenceService of KServe {case.kserve_version} does not serve adapters; "
            "0.20 does.",
            "serving.kind: InferenceService",
            (Change(KIND, "InferenceService", "serves adapters"),),
        )


@rule(
    "kserve.llm-shape",
    severity="error",
    fails="on deployment",
    basis="practice",
    evidence="An LLMInferenceService has no deployment mode and no HorizontalPodAutoscaler; the "
    "toolkit renders it with fixed replicas on one node each and one URI.",
    engines=(),
    targets=("kserve",),
)
def llm_shape(case: Case) -> Iterator[Hit]:
    """An LLMInferenceService is rendered in mode Standard, with fixed replicas on one node."""
    if not is_llm_service(case) or not deploys(case):
        return
    serving = case.profile.serving
    if serving.mode != "Standard":
        yield Hit(
            "serving.mode",
            f"an LLMInferenceService does not run in mode {serving.mode}.",
            "serving.mode: Standard",
            (Change("serving.mode", "Standard", "the only one"),),
        )
    if serving.autoscaling.autoscaler != "none":
        yield Hit(
            AUTOSCALER,
            f"{serving.autoscaling.autoscaler} does not scale an LLMInferenceService here.",
            "autoscaler: none with serving.replicas",
        )
    if serving.nodes > 1:
        yield Hit(
            NODES,
            f"an LLMInferenceService over {serving.nodes} nodes is not rendered.",
            "serving.kind: InferenceService",
        )
    draft = (case.speculation or {}).get("model") if case.engine == "vllm" else None
    if isinstance(draft, str) and "://" in draft:
        yield Hit(
            DRAFT,
            f"an LLMInferenceService fetches one URI only, and {draft} is a second.",
            "Give a Hugging Face id, which the engine downloads itself.",
        )


@rule(
    "kserve.prefill-kind",
    severity="error",
    fails="silently",
    basis="source",
    evidence="An InferenceService has no prefill side; spec.prefill is a field of "
    "LLMInferenceService.",
    engines=(),
    targets=("kserve",),
)
def prefill_kind(case: Case) -> Iterator[Hit]:
    """Disaggregated prefill needs an LLMInferenceService."""
    if case.profile.serving.prefill is not None and not is_llm_service(case):
        yield Hit(
            "serving.prefill",
            "an InferenceService does not run prefill apart from decode.",
            "serving.kind: LLMInferenceService",
            (Change(KIND, "LLMInferenceService", "has a prefill side"),),
        )


def _obstacles(case: Case) -> Iterator[tuple[str, str, str]]:
    """(key, why, fix) of what keeps a replica from running over several nodes."""
    serving, gpu = case.profile.serving, case.profile.resources.gpu
    if backend_of(case.profile) != "vllm":
        backend = backend_of(case.profile)
        yield NODES, f"{backend} is not rendered over several nodes.", "engine.backend: vllm"
    if serving.mode != "Standard":
        yield "serving.mode", "several nodes need mode Standard.", "serving.mode: Standard"
    if serving.autoscaling.autoscaler != "none":
        why = f"{serving.autoscaling.autoscaler} cannot scale replicas of several nodes."
        yield AUTOSCALER, why, "autoscaler: none"
    if serving.replicas > 1:
        yield "serving.replicas", "there is one replica of several nodes.", "serving.replicas: 1"
    if gpu.count == 0 or gpu.mig is not None:
        yield "resources.gpu", "several nodes need whole GPUs.", "resources.gpu.count: 8"
    if serving.nodes > 2 and release(case) < (0, 18):
        why = f"KServe {case.kserve_version} cannot tell more than one worker where it is."
        yield NODES, why, "nodes: 2, or KServe 0.18"
    if not case.profile.model.uri.startswith(("pvc://", "oci://")):
        yield (
            "model.uri",
            "over several nodes KServe takes a model from pvc:// or oci:// only.",
            "model.uri: pvc://CLAIM/PATH, on a claim that every node can read",
        )


@rule(
    "kserve.multi-node",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="KServe's webhook for workerSpec: autoscalerClass none, storageUri pvc:// or oci://, "
    "known GPU resources only; Standard mode.",
    engines=(),
    targets=("kserve",),
)
def multi_node(case: Case) -> Iterator[Hit]:
    """A replica over several nodes is pinned, in mode Standard, on whole GPUs, from a claim."""
    if case.profile.serving.nodes > 1 and deploys(case) and not is_llm_service(case):
        for key, why, fix in _obstacles(case):
            yield Hit(key, why, fix)


@rule(
    "kserve.multi-node-engine",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="--nnodes and --master-addr, with which vLLM spreads itself without Ray, came with "
    "0.11.1; Ray is not in its image since 0.19.",
    targets=("kserve",),
)
def multi_node_engine(case: Case) -> Iterator[Hit]:
    """vLLM spreads over nodes by itself, without Ray, only where it has --nnodes."""
    if case.profile.serving.nodes > 1 and "nnodes" not in case.release.flags:
        yield Hit(
            NODES,
            f"vLLM {case.version} spreads over nodes with Ray only, which is not rendered.",
            'engine.version: "0.16.0" or newer',
        )

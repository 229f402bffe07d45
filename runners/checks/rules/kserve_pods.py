"""KServe: what one replica asks of its node, and which objects carry which words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runners.checks.amounts import gib
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.kserve import deploys
from runners.checks.rules.kserve_time import weights_gib

PRODUCT = "nvidia.com/gpu.product"
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}\w)?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
# Labels and annotations that the toolkit sets itself.
_OUR_LABELS = frozenset({"app.kubernetes.io/managed-by"})
_OUR_ANNOTATIONS = frozenset(
    {"serving.kserve.io/deploymentMode", "serving.kserve.io/autoscalerClass"}
)


def go_templates(value: Any, key: str) -> Iterator[str]:
    """The key of every text inside `value` that has a `{{`."""
    if isinstance(value, str):
        if "{{" in value:
            yield key
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from go_templates(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from go_templates(inner, key)


@rule(
    "kserve.go-template",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="KServe executes the merged container as a Go text/template with the "
    "InferenceService's metadata; any `{{` in args or env is run or breaks it.",
    engines=("vllm", "tgi", "tensorrt-llm"),
    targets=("kserve",),
)
def go_template(case: Case) -> Iterator[Hit]:
    """Arguments and variables must not contain `{{`, which KServe would execute."""
    if not deploys(case):
        return
    engine = case.profile.engine
    for place, section in (("engine.args", engine.args), ("engine.env", engine.env)):
        for key in go_templates(section, place):
            yield Hit(
                key,
                "KServe would execute the `{{` in it as a template of its own.",
                "Give a chat template as model.chat_template (a file); it goes through a "
                "ConfigMap.",
            )


@rule(
    "kserve.memory",
    severity="warning",
    fails="after loading",
    basis="arithmetic",
    evidence="Weights pass through the page cache, which the pod's limit counts, and loading "
    "slows down or is killed below their size.",
    engines=("vllm", "tgi", "tensorrt-llm"),
    targets=("kserve",),
)
def memory(case: Case) -> Iterator[Hit]:
    """A replica's memory should hold the weights that each node loads."""
    size, given = weights_gib(case), gib(case.profile.resources.memory)
    if size is None or given is None or case.on_cpu or not deploys(case):
        return
    nodes = max(1, case.profile.serving.nodes)
    if given >= size / nodes:
        return
    wanted = int(size / nodes * 1.25) + 8
    yield Hit(
        "resources.memory",
        f"{given:.0f} GiB are less than the {size / nodes:.0f} GiB of weights"
        " that pass through it.",
        f"memory: {wanted}Gi",
        (Change("resources.memory", f"{wanted}Gi", "the weights, a quarter and 8 GiB more"),),
    )


@rule(
    "kserve.shared-memory",
    severity="warning",
    fails="after loading",
    basis="source",
    evidence="/dev/shm is an emptyDir in memory: what is in it counts against the container's "
    "memory limit. NCCL and vLLM's processes exchange data there (kserve#3791).",
    engines=(),
    targets=("kserve",),
)
def shared_memory(case: Case) -> Iterator[Hit]:
    """/dev/shm must be smaller than the memory, and at least 1 GiB between several GPUs."""
    shm, given = gib(case.profile.resources.shm), gib(case.profile.resources.memory)
    if shm is None or given is None or not deploys(case):
        return
    if shm > given:
        yield Hit(
            "resources.shm",
            f"/dev/shm of {shm:g} GiB is larger than the memory of {given:g} GiB that it counts "
            "against.",
            f"shm: {max(1, int(given / 4))}Gi",
            (Change("resources.shm", f"{max(1, int(given / 4))}Gi", "a quarter of the memory"),),
        )
    elif shm < 1 and case.profile.resources.gpu.count > 1:
        yield Hit(
            "resources.shm",
            f"{case.profile.resources.gpu.count} GPUs exchange data through {shm:g} GiB of "
            "/dev/shm.",
            "shm: 8Gi",
            (Change("resources.shm", "8Gi", "the default"),),
        )


@rule(
    "kserve.cpu-request",
    severity="warning",
    fails="in the results",
    basis="documents",
    evidence="vLLM runs an API server, an engine core and a worker for each GPU; its "
    "documentation asks for 2 + GPUs physical cores.",
    targets=("kserve",),
)
def cpu_request(case: Case) -> Iterator[Hit]:
    """A replica needs a core for each of vLLM's processes, or the GPU waits for the CPU."""
    text, gpus = case.profile.resources.cpu, case.profile.resources.gpu.count
    if gpus == 0 or not deploys(case):
        return
    cores = float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    if cores < 2 + gpus:
        yield Hit(
            "resources.cpu",
            f"{cores:g} cores are fewer than the {2 + gpus} processes of an engine with {gpus} "
            "GPU(s); the limit throttles them.",
            f'cpu: "{2 + gpus}"',
            (Change("resources.cpu", str(2 + gpus), "a core for each process"),),
        )


@rule(
    "kserve.node-selector",
    severity="error",
    fails="on deployment",
    basis="practice",
    evidence="resources.gpu.type becomes a node affinity on nvidia.com/gpu.product; a selector "
    "on the same label with another value leaves no node.",
    engines=(),
    targets=("kserve",),
)
def node_selector(case: Case) -> Iterator[Hit]:
    """The node selector must not contradict the GPU that the profile names."""
    product = case.profile.serving.node_selector.get(PRODUCT)
    if product is None or not deploys(case):
        return
    if case.on_cpu:
        yield Hit(
            "serving.node_selector",
            f"it asks for nodes with {product}, and the replica uses no GPU.",
            "Remove it, or set resources.gpu.count.",
            severity="warning",
        )
    elif case.gpu is not None and case.gpu.products and product not in case.gpu.products:
        yield Hit(
            "serving.node_selector",
            f"no node has both {product} and a {case.profile.resources.gpu.type} "
            f"({', '.join(case.gpu.products)}).",
            f"Remove {PRODUCT}: resources.gpu.type selects the nodes.",
        )


@rule(
    "kserve.toleration",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="The API server refuses a toleration with operator Exists and a value, and one "
    "without a key and operator Equal.",
    engines=(),
    targets=("kserve",),
)
def toleration(case: Case) -> Iterator[Hit]:
    """Tolerations compare a value with Equal, and without a key only Exists."""
    for each in case.profile.serving.tolerations:
        if each.operator == "Exists" and each.value:
            yield Hit(
                "serving.tolerations",
                f"{each.key or 'a toleration'} has the value {each.value}, which Exists does not "
                "compare.",
                "operator: Equal, or remove the value",
            )
        if each.operator == "Equal" and not each.key:
            yield Hit(
                "serving.tolerations",
                "without a key a toleration can only say Exists.",
                "Give a key, or operator: Exists.",
            )


@rule(
    "kserve.labels",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="Kubernetes' syntax of labels; the toolkit finds its own objects by the ones it sets.",
    engines=(),
    targets=("kserve",),
)
def labels(case: Case) -> Iterator[Hit]:
    """Labels and annotations follow Kubernetes' syntax and are not the toolkit's own."""
    serving = case.profile.serving
    for key, value in serving.labels.items():
        place = "serving.labels" if "." in key else f"serving.labels.{key}"
        if key in _OUR_LABELS or key.startswith("kserve-bench/"):
            yield _ours(place, key)
        elif not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            yield Hit(
                place,
                f"{key}={value} is no label.",
                "Use up to 63 letters, digits, dots, dashes and underscores on either side.",
            )
    for key in serving.annotations:
        ours = key in _OUR_ANNOTATIONS and serving.kind == "InferenceService"
        ours = ours and (key.endswith("Mode") or serving.mode == "Standard")
        if ours or key.startswith("kserve-bench/"):
            yield _ours("serving.annotations", key)
        elif not _KEY.fullmatch(key):
            yield Hit(
                "serving.annotations",
                f"{key} is no annotation's name.",
                "Write name or host/name.",
            )


def _ours(place: str, key: str) -> Hit:
    instead = {
        "serving.kserve.io/deploymentMode": "Use serving.mode.",
        "serving.kserve.io/autoscalerClass": "Use serving.autoscaling.autoscaler.",
    }
    return Hit(place, f"{key} is set by the toolkit.", instead.get(key, "Remove it."))


@rule(
    "kserve.own-variable",
    severity="warning",
    fails="silently",
    basis="practice",
    evidence="The images may run under any user, so caches are put where anyone may write; a "
    "profile's variable replaces the toolkit's.",
    engines=(),
    targets=("kserve",),
)
def own_variable(case: Case) -> Iterator[Hit]:
    """Caches that the profile moves must be where any user may write."""
    for name in ("HF_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "HUGGINGFACE_HUB_CACHE"):
        path = case.environment.get(name)
        if path is not None and not path.startswith(("/tmp/", "/mnt/", "/dev/shm/", "/cache/")):
            yield Hit(
                f"engine.env.{name}",
                f"{path} may not be writable for the user that the image runs under.",
                "Remove it: the toolkit uses a folder below /tmp.",
                (Change(f"engine.env.{name}", REMOVE, "a folder below /tmp"),),
            )

"""KServe: where the model comes from and which image serves it."""

import re
from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.kserve import deploys, release
from runners.engines.arguments import backend_of
from runners.render.storage import SCHEMES

ENGINES = ("vllm", "tgi", "tensorrt-llm")
_LLM_SCHEMES = ("hf://", "s3://", "pvc://", "oci://")
DRAFT = "engine.args.speculative_config.model"
# What hangs on to one release: a digest, or a tag that is more than a word and two numbers.
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_NIGHTLY = re.compile(r"(^|[-_.])(latest|nightly|main|master|stable|dev|edge|rc)([-_.]|$)")
_EXACT = re.compile(r"\d+\.\d+(\.\d+|-py\d|-trtllm)")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_GATED = ("meta-llama/", "google/gemma-", "coherelabs/", "mistralai/mistral-large")


def is_llm_service(case: Case) -> bool:
    """Whether it is served as an LLMInferenceService."""
    return case.profile.serving.kind == "LLMInferenceService"


def downloads(case: Case) -> Iterator[tuple[str, str]]:
    """(key, URI) of everything that KServe or the pod has to bring."""
    yield "model.uri", case.profile.model.uri
    draft = (case.speculation or {}).get("model") if case.engine == "vllm" else None
    if isinstance(draft, str) and "://" in draft:
        yield DRAFT, draft
    for adapter in case.profile.model.adapters:
        if "://" in adapter.uri:
            yield "model.adapters", adapter.uri


@rule(
    "kserve.storage-scheme",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="KServe's storage initializer fetches hf, s3, gs, oci, pvc and https; the controller "
    "of LLMInferenceService refuses other than hf, s3, pvc and oci (unsupported schema in model "
    "URI).",
    engines=ENGINES,
    targets=("kserve",),
)
def storage_scheme(case: Case) -> Iterator[Hit]:
    """A model, draft or adapter must be where KServe can fetch it from."""
    if not deploys(case):
        return
    allowed = _LLM_SCHEMES if is_llm_service(case) else SCHEMES
    for key, uri in downloads(case):
        if uri.startswith(allowed) and uri not in allowed:
            continue
        hub = _REPOSITORY.fullmatch(uri) is not None
        yield Hit(
            key,
            f"{uri} is nowhere that KServe can fetch from"
            + (" for an LLMInferenceService." if is_llm_service(case) else "."),
            f"uri: hf://{uri}" if hub else f"Use one of {' '.join(allowed)}.",
            (Change(key, f"hf://{uri}", "read as a Hugging Face repository"),)
            if hub and key != "model.adapters"
            else (),
        )


@rule(
    "kserve.storage-several",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="predictor.storageUris came with KServe 0.16 and takes no oci://; before, a "
    "predictor has one storageUri.",
    engines=ENGINES,
    targets=("kserve",),
)
def storage_several(case: Case) -> Iterator[Hit]:
    """Fetching a draft or adapters besides the model needs KServe 0.16, and no oci://."""
    fetched = [(key, uri) for key, uri in downloads(case) if not uri.startswith("pvc://")]
    further = [each for each in fetched if each[0] != "model.uri"]
    if not further or not deploys(case) or is_llm_service(case):
        return
    if release(case) < (0, 16):
        yield Hit(
            further[0][0],
            f"KServe {case.kserve_version} fetches one URI; {further[0][1]} would be a second.",
            "Give a Hugging Face id, which the engine downloads itself, or pvc://.",
        )
    for key, uri in fetched:
        if uri.startswith("oci://"):
            yield Hit(
                key,
                f"KServe cannot fetch {uri} together with others.",
                "Use another scheme for it, or put it on a claim (pvc://).",
            )


@rule(
    "kserve.revision",
    severity="error",
    fails="on deployment",
    basis="practice",
    evidence="Only a hf:// URI carries a revision, as hf://owner/name:revision.",
    engines=ENGINES,
    targets=("kserve",),
)
def revision(case: Case) -> Iterator[Hit]:
    """model.revision is for hf:// models, and is given once."""
    model = case.profile.model
    if model.revision is None or not deploys(case):
        return
    if not model.uri.startswith("hf://"):
        yield Hit(
            "model.revision",
            f"{model.uri} is no hf:// model and has no revisions.",
            "Remove the line.",
            (Change("model.revision", REMOVE),),
        )
    elif ":" in model.uri.removeprefix("hf://"):
        yield Hit(
            "model.revision",
            f"{model.uri} names a revision too.",
            "Keep one of them.",
        )


@rule(
    "kserve.gated-model",
    severity="warning",
    fails="on deployment",
    basis="documents",
    evidence="These organisations gate their repositories: a download without an accepted "
    "licence and a token is answered with 401 or 403.",
    engines=ENGINES,
    targets=("kserve",),
)
def gated_model(case: Case) -> Iterator[Hit]:
    """A gated model needs a Hugging Face token in the cluster."""
    serving = case.profile.serving
    if serving.hf_token or serving.service_account or not deploys(case):
        return
    if "HF_TOKEN" in case.environment:
        return
    for key, uri in downloads(case):
        if uri.lower().removeprefix("hf://").startswith(_GATED):
            yield Hit(
                key,
                f"{uri} is gated, and no token is named.",
                "serving.hf_token: {name: hf-secret, key: HF_TOKEN}",
            )


@rule(
    "kserve.image-tag",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="A tag such as latest names another image next month; the digest that really ran is "
    "recorded from the pod.",
    engines=ENGINES,
    targets=("kserve",),
)
def image_tag(case: Case) -> Iterator[Hit]:
    """An image should be named by an exact tag, or better by its digest."""
    image = case.profile.engine.image
    if image is None or _DIGEST.search(image) or not deploys(case):
        return
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag and _EXACT.search(tag) and not _NIGHTLY.search(tag):
        return
    exact = f"v{case.version}" if case.engine == "vllm" else case.version
    yield Hit(
        "engine.image",
        f"{image} " + (f"has the moving tag {tag}." if tag else "has no tag, so it is latest."),
        f"image: {image.removesuffix(':' + tag) if tag else image}:{exact}, or @sha256:…",
    )


@rule(
    "kserve.image-version",
    severity="warning",
    fails="silently",
    basis="practice",
    evidence="Rules and arguments follow engine.version; the image decides what runs.",
    engines=ENGINES,
    targets=("kserve",),
)
def image_version(case: Case) -> Iterator[Hit]:
    """The image's version should be engine.version, whose rules are applied."""
    image = case.profile.engine.image
    if image is None or backend_of(case.profile) not in ENGINES:
        return
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = re.match(r"v?(\d+\.\d+(?:\.\d+)?)(?![\d.])", tag)
    if found and not f"{case.version}.".startswith(f"{found[1]}."):
        yield Hit(
            "engine.image",
            f"the image is {found[1]}, and the profile is checked as {case.version}.",
            f'engine.version: "{found[1]}"',
            (Change("engine.version", found[1], "as the image says"),),
        )


@rule(
    "kserve.image-missing",
    severity="error",
    fails="on deployment",
    basis="documents",
    evidence="Triton's images are named by month; CPU images of vLLM exist from 0.19; TGI's and "
    "TensorRT-LLM's need a GPU.",
    engines=ENGINES,
    targets=("kserve",),
)
def image_missing(case: Case) -> Iterator[Hit]:
    """Where no image follows from the version, the profile must name one."""
    if case.profile.engine.image is not None or not deploys(case):
        return
    backend = backend_of(case.profile)
    if backend == "triton":
        yield Hit(
            "engine.backend",
            "Triton's images are named by month, not by TensorRT-LLM's version.",
            "engine.image: nvcr.io/nvidia/tritonserver:YY.MM-trtllm-python-py3",
        )
    elif case.on_cpu and backend in ("tgi", "tensorrt-llm"):
        yield Hit(
            "resources.gpu.count",
            f"the image of {backend} needs a GPU, and none is asked for.",
            "resources.gpu.count: 1, or name a CPU image in engine.image",
        )
    elif case.on_cpu and is_llm_service(case):
        yield Hit(
            "resources.gpu.count",
            "llm-d's image needs a GPU, and none is asked for.",
            f"engine.image: vllm/vllm-openai-cpu:v{case.version}",
        )
    elif case.on_cpu and backend == "vllm" and not case.at_least(0, 19):
        yield Hit(
            "engine.version",
            f"there is no known CPU image of vLLM {case.version}; they begin with 0.19.",
            'engine.version: "0.19.1" or newer, or engine.image',
        )


@rule(
    "kserve.backend-engine",
    severity="error",
    fails="on deployment",
    basis="practice",
    evidence="Each way of serving runs one engine: vllm-huggingface vLLM, triton TensorRT-LLM.",
    engines=ENGINES,
    targets=("kserve",),
)
def backend_engine(case: Case) -> Iterator[Hit]:
    """engine.backend must be a way to serve with engine.name."""
    backend = backend_of(case.profile)
    engine = {"vllm-huggingface": "vllm", "triton": "tensorrt-llm"}.get(backend, backend)
    if engine != case.engine:
        yield Hit(
            "engine.backend",
            f"{backend} serves with {engine}, and engine.name is {case.engine}.",
            f"engine.name: {engine}, or remove engine.backend",
            (Change("engine.backend", REMOVE, "the engine's own image"),),
        )


@rule(
    "kserve.huggingface-version",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="KServe's huggingfaceserver brings a vLLM of its own: 0.8.5 in KServe 0.15 up to "
    "0.24.0 in 0.20.",
    targets=("kserve",),
)
def huggingface_version(case: Case) -> Iterator[Hit]:
    """The backend vllm-huggingface runs the vLLM that KServe's image brings."""
    if backend_of(case.profile) != "vllm-huggingface" or case.profile.engine.image is not None:
        return
    brought = {
        (0, 15): "0.8.5",
        (0, 16): "0.9.2",
        (0, 17): "0.15.1",
        (0, 18): "0.19.0",
        (0, 19): "0.20.0",
        (0, 20): "0.24.0",
    }.get(release(case))
    if brought is not None and brought != case.version:
        yield Hit(
            "engine.version",
            f"KServe {case.kserve_version} brings vLLM {brought}, not {case.version}.",
            f'engine.version: "{brought}", or backend: vllm',
            (Change("engine.version", brought, "what really runs"),),
        )


@rule(
    "kserve.huggingface-model",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="KServe's huggingfaceserver takes one model directory; the toolkit gives it neither "
    "adapters nor a chat template.",
    targets=("kserve",),
)
def huggingface_model(case: Case) -> Iterator[Hit]:
    """The backend vllm-huggingface takes neither adapters nor a chat template."""
    if backend_of(case.profile) != "vllm-huggingface":
        return
    for key in ("adapters", "chat_template"):
        if getattr(case.profile.model, key):
            yield Hit(
                f"model.{key}",
                f"KServe's huggingfaceserver does not take {key}.",
                "engine.backend: vllm",
                (Change("engine.backend", REMOVE, "vLLM's own image"),),
            )

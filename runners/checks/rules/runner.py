"""What vLLM runs a model as, and settings that another setting overrides."""

import re
from collections.abc import Iterator, Mapping

from runners.checks.case import Case
from runners.checks.finding import Severity
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.scheduler import is_on

RUNNER = "engine.args.runner"
# Architectures that vLLM registers for pooling only.
_ENCODERS = ("Bert", "Roberta", "XLMRoberta", "ModernBert", "NomicBert", "Gte", "JinaRoberta")
_POOLING_ENDS = ("ForSequenceClassification", "ForTokenClassification", "RewardModel")
_POOLING = frozenset({"LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model", "Gemma2Model"})


# Words by which repositories of embedding models and rerankers are called.
_NAMED = re.compile(r"(^|[-_.])(bge|e5|gte|minilm|embed|embedding|embeddings|reranker)([-_.]|$)")
# Families that are encoders without an exception.
_SURE = re.compile(
    r"(bge-(small|base|large|m3|reranker-(base|large))|(multilingual-)?e5-(small|base|large)"
    r"|gte-(small|base|large)|all-(minilm|mpnet)|nomic-embed-text)([-_.]|$)"
)


def _severity(case: Case) -> Severity | None:
    """An error where the architecture or the family is known, else a warning."""
    name = case.profile.model.uri.rstrip("/").rpartition("/")[2].lower()
    return None if case.model or _SURE.match(name) else "warning"


def said_to_embed(case: Case) -> bool:
    """Whether the model's name says that it makes embeddings."""
    return _NAMED.search(case.profile.model.uri.rstrip("/").rpartition("/")[2].lower()) is not None


def makes_embeddings(case: Case) -> bool:
    """Whether the model makes embeddings or scores and no text, as far as can be told."""
    named = case.model.architecture if case.model else None
    if named is None:
        return case.model is None and said_to_embed(case)
    encoder = named.startswith(_ENCODERS) and not named.endswith("LMHeadModel")
    return encoder or named.endswith(_POOLING_ENDS) or named in _POOLING


@rule(
    "runner.generate-on-embedding",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ModelConfig: embedding models do not support --runner generate.",
    versions=">=0.10.1",
)
def generate_on_embedding(case: Case) -> Iterator[Hit]:
    """A model that only makes embeddings cannot generate text."""
    if case.args.get("runner") not in ("generate", "draft") or not makes_embeddings(case):
        return
    yield Hit(
        RUNNER,
        "the model makes embeddings and cannot be run to generate text.",
        "Name a model that generates text; this toolkit measures generation.",
        severity=_severity(case),
    )


@rule(
    "runner.embedding-model",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="A server of an embedding model has no /v1/chat/completions; the architecture is "
    "run by the pooling runner.",
)
def embedding_model(case: Case) -> Iterator[Hit]:
    """Requests that ask for text cannot be answered by an embedding model."""
    if "runner" in case.args or not makes_embeddings(case):
        return
    yield Hit(
        "model.uri",
        "the model makes embeddings; every request for text is answered with an error.",
        "Name a model that generates text.",
        severity=_severity(case),
    )


@rule(
    "runner.pooling",
    severity="error",
    fails="on each request",
    basis="executed",
    evidence="A generating model with --runner pooling is converted to embeddings without a "
    "word; async scheduling and full CUDA graphs are off, and the chat route is missing.",
    versions=">=0.10.1",
)
def pooling(case: Case) -> Iterator[Hit]:
    """The pooling runner answers no request for text."""
    if case.args.get("runner") == "pooling":
        yield Hit(
            RUNNER,
            "the engine would serve embeddings, and every request of this workload fails.",
            "runner: generate, or remove the line",
            (Change(RUNNER, REMOVE, "the workload asks for text"),),
        )


_COMPILED = (
    "compilation_config",
    "cudagraph_capture_sizes",
    "max_cudagraph_capture_size",
    "cuda_graph_sizes",
    "optimization_level",
)


@rule(
    "runner.eager",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="VllmConfig: enforce_eager sets compilation mode and CUDA graphs to NONE and "
    "overrides other compilation settings with a warning.",
)
def eager(case: Case) -> Iterator[Hit]:
    """enforce_eager turns compilation and CUDA graphs off, whatever else is said about them."""
    if not is_on(case, "enforce_eager"):
        return
    for name in _COMPILED:
        if name in case.args:
            yield Hit(
                f"engine.args.{name}",
                "enforce_eager is on, so it sets nothing.",
                f"Remove enforce_eager, or {name}.",
            )


@rule(
    "runner.streamed-weights",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig: to load a model from object storage, load_format must be a streaming "
    "one; auto is switched to runai_streamer.",
    versions=">=0.18",
    targets=("local",),
)
def streamed_weights(case: Case) -> Iterator[Hit]:
    """Weights that the engine reads from object storage itself need a streaming load format."""
    if not case.profile.model.uri.startswith(("s3://", "gs://", "az://")):
        return
    form = case.args.get("load_format", "auto")
    if form not in ("auto", "runai_streamer", "runai_streamer_sharded", "modelexpress"):
        yield Hit(
            "engine.args.load_format",
            f"{form} cannot read object storage.",
            "load_format: runai_streamer",
            (Change("engine.args.load_format", "runai_streamer", "what auto takes"),),
        )


@rule(
    "runner.language-model-only",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig: --language-model-only is incompatible with cudagraph_mm_encoder=True.",
    versions=">=0.29",
)
def language_model_only(case: Case) -> Iterator[Hit]:
    """Graphs of a multimodal encoder make no sense where only the language model runs."""
    if not is_on(case, "language_model_only"):
        return
    config = case.section("compilation_config")
    if isinstance(config, Mapping) and config.get("cudagraph_mm_encoder") is True:
        key = "engine.args.compilation_config.cudagraph_mm_encoder"
        yield Hit(
            key,
            "language_model_only never runs the encoder whose graphs are asked for.",
            "Remove cudagraph_mm_encoder, or language_model_only.",
            (Change(key, REMOVE, "only the language model runs"),),
        )


@rule(
    "runner.replay",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig: trace replay and sampling distribution replay require Model Runner V2.",
    versions=">=0.29",
)
def replay(case: Case) -> Iterator[Hit]:
    """Replay of traces and of sampling masks runs on the newer model runner only."""
    asked = [name for name in ("enable_trace_replay", "return_sampling_mask") if is_on(case, name)]
    if not asked or case.environment.get("VLLM_USE_V2_MODEL_RUNNER") != "0":
        return
    for name in asked:
        yield Hit(
            f"engine.args.{name}",
            f"{name} needs the model runner V2, which VLLM_USE_V2_MODEL_RUNNER=0 turns off.",
            "Remove VLLM_USE_V2_MODEL_RUNNER from engine.env.",
            (Change("engine.env.VLLM_USE_V2_MODEL_RUNNER", REMOVE),),
        )

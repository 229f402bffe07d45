"""Speculative decoding: which methods a version has, and what each of them needs."""

from collections.abc import Iterator
from difflib import get_close_matches

from runners.checks.case import Case
from runners.checks.drafting import PLACE, as_ngram
from runners.checks.history import first_version, last_version, speculative_methods
from runners.checks.rule import Hit, rule

_NEEDS_MODEL = ("eagle", "eagle3", "medusa", "mlp_speculator", "draft_model", "dflash")
# Families of which no release of vLLM drafts from the model's own extra layers.
_WITHOUT_MTP = frozenset(
    [
        "bloom",
        "cohere",
        "cohere2",
        "deepseek_v2",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "glm",
        "glm4",
        "gpt2",
        "gpt_neox",
        "gpt_oss",
        "gptj",
        "granite",
        "internlm2",
        "llama",
        "llama4",
        "llama4_text",
        "mistral",
        "mixtral",
        "mpt",
        "olmo",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "smollm3",
        "stablelm",
        "starcoder2",
    ]
)


@rule(
    "speculation.method-unknown",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The key `method` is a fixed list of names since the configuration is validated "
    "(0.9); another name ends with `Input should be 'ngram', …`.",
    versions=">=0.9",
)
def method_unknown(case: Case) -> Iterator[Hit]:
    """The method has to be a name that some release of vLLM knows."""
    drafting = case.drafting
    if drafting is None or "method" not in drafting.config:
        return
    stated = drafting.config["method"]
    if not isinstance(stated, str):
        yield Hit(
            drafting.place("method"),
            f"the method is a name, not {type(stated).__name__}.",
            "method: ngram (or eagle3, mtp, draft_model, …)",
        )
        return
    if stated in case.release.speculative_methods or stated in speculative_methods():
        return
    spelled = "ngram" if stated == "[ngram]" else _spelled(stated, case)
    yield Hit(
        drafting.place("method"),
        f"no release of vLLM that is known here has a method {stated!r}.",
        f"method: {spelled}" if spelled else "method: ngram (or eagle3, mtp, draft_model, …)",
        drafting.put(method=spelled) if spelled == "ngram" else (),
        severity="warning" if _beyond(case) else None,
    )


def _spelled(stated: str, case: Case) -> str:
    low = stated.strip().lower().replace("-", "").replace("_", "")
    for name in case.release.speculative_methods:
        if name.replace("_", "") == low:
            return name
    return (get_close_matches(stated, case.release.speculative_methods, n=1, cutoff=0.7) or [""])[0]


def _beyond(case: Case) -> bool:
    """Whether the engine is newer than every release known here."""
    return case.release.newest and not case.release.exact


@rule(
    "speculation.method-version",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="The list of methods of every release kept here; medusa and mlp_speculator are in "
    "it up to 0.32 and their files are gone from 0.33.",
    versions=">=0.9",
)
def method_version(case: Case) -> Iterator[Hit]:
    """The method has to be one that this version of vLLM has."""
    drafting = case.drafting
    stated = drafting.stated if drafting else None
    if drafting is None or not stated or stated in case.release.speculative_methods:
        return
    if _beyond(case) or stated not in speculative_methods():
        return
    first, last = first_version("methods", stated), last_version("methods", stated)
    version = case.release.version
    if not case.at_least(0, 11, 0) and stated == "mtp":
        fix = "Name the model's own: deepseek_mtp (for DeepSeek-V3)."
    elif first_is_later(first, version):
        fix = f"engine.version: {first}, or another method."
    else:
        fix = "method: eagle3 (with its draft model), or an engine of that version."
    span = f"from {first}" if first_is_later(first, version) else f"up to {last}"
    yield Hit(
        drafting.place("method"),
        f"vLLM {case.version} has no method {stated}; it is there {span}.",
        fix,
    )


def first_is_later(first: str | None, version: str) -> bool:
    """Whether a thing appeared after `version`."""
    from runners.checks.tables import version_key

    return first is not None and version_key(first) > version_key(version)


@rule(
    "speculation.method-missing",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="Without method and model the method becomes draft_model, and then `… provided but "
    "without speculative model` or `num_speculative_tokens must be provided` ends it.",
    versions=">=0.11",
)
def method_missing(case: Case) -> Iterator[Hit]:
    """A speculative_config names a method or a draft model."""
    drafting = case.drafting
    if drafting and not drafting.method and not drafting.config.get("method"):
        if not _readable(case):
            return
        yield Hit(
            PLACE,
            "it names neither a method nor a draft model, so there is nothing to draft with.",
            "method: ngram, or model: <a draft model>",
        )


def _readable(case: Case) -> bool:
    """Whether the argument is an object at all; `arguments.json` speaks of the rest."""
    written = case.args.get("speculative_config")
    return written is None or bool(case.speculation) or written in ({}, "{}")


@rule(
    "speculation.model-missing",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ValueError `num_speculative_tokens was provided but without speculative model` in "
    "SpeculativeConfig.__post_init__.",
    versions=">=0.8.2",
)
def model_missing(case: Case) -> Iterator[Hit]:
    """Methods that draft with another model name it."""
    drafting = case.drafting
    if drafting is None or drafting.model is not None or "model" in drafting.config:
        return
    needs = drafting.method in _NEEDS_MODEL
    if drafting.method == "custom_class":
        needs = True
    if needs and not (not case.at_least(0, 11, 0) and _own_layers(case)):
        yield Hit(
            drafting.place("method"),
            f"the method {drafting.method} drafts with a model of its own, and none is named.",
            "model: module.Class of the proposer"
            if drafting.method == "custom_class"
            else "model: <the draft's Hugging Face id or path>, or method: ngram",
        )


def _own_layers(case: Case) -> bool:
    """Up to 0.10 DeepSeek-V3 and MiMo drafted with themselves whatever the method said."""
    kind = case.model.model_type if case.model else None
    return kind is None or kind in ("deepseek_v3", "mimo")


@rule(
    "speculation.draft-model-version",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="NotImplementedError `Speculative decoding with draft model is not supported yet` "
    "from 0.10.0 to 0.14; v1/spec_decode/draft_model.py appears in 0.16.0.",
    versions=">=0.10.0,<0.15",
)
def draft_model_version(case: Case) -> Iterator[Hit]:
    """A separate draft model cannot be used from 0.10 to 0.14."""
    drafting = case.drafting
    if drafting and drafting.method == "draft_model" and drafting.model:
        swap = as_ngram(drafting, "n-gram lookup, as this version has no draft model")
        yield Hit(
            drafting.place("model"),
            f"vLLM {case.version} cannot draft with a separate model; 0.16.0 and later can.",
            "engine.version: 0.16.0 or later, or method: ngram",
            swap,
        )


@rule(
    "speculation.mlp-speculator",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The name is in the list up to 0.32, but 0.32 answers `Model architectures "
    "['MLPSpeculatorPreTrainedModel'] are not supported`, with a model of another kind "
    "`Unsupported speculative method`; gpu_model_runner.py has no proposer of that name.",
    versions=">=0.11,<0.33",
)
def mlp_speculator(case: Case) -> Iterator[Hit]:
    """MLP speculators have no implementation since the V0 engine is gone."""
    drafting = case.drafting
    if drafting and drafting.method == "mlp_speculator":
        key = "method" if drafting.stated else "model"
        yield Hit(
            drafting.place(key),
            f"vLLM {case.version} accepts the name mlp_speculator and then has nothing to run it.",
            "method: eagle3 with a matching draft, or an engine that has it (tgi)",
        )


@rule(
    "speculation.mtp-target",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="NotImplementedError `Unsupported speculative method: 'mtp'` in "
    "SpeculativeConfig.__post_init__ for a target whose model type has no such layers.",
    versions=">=0.11",
)
def mtp_target(case: Case) -> Iterator[Hit]:
    """The method mtp drafts with extra layers of the target, which has to have some."""
    drafting = case.drafting
    if drafting is None or drafting.method != "mtp":
        return
    model = case.model if drafting.model is None else case.draft
    if model is None or model.draft_layers or model.model_type not in _WITHOUT_MTP:
        return
    swap = as_ngram(drafting, "n-gram lookup, as the model has no layers to draft")
    yield Hit(
        drafting.place("method"),
        f"models of type {model.model_type} carry no multi-token-prediction layers.",
        "method: eagle3 with a draft for this model, or method: ngram",
        swap,
    )


@rule(
    "speculation.mtp-name",
    severity="info",
    fails="silently",
    basis="executed",
    evidence="`method … is deprecated and replaced with mtp` in the log; from 0.11.0.",
    versions=">=0.11",
)
def mtp_name(case: Case) -> Iterator[Hit]:
    """The names of single models' multi-token prediction became mtp."""
    drafting = case.drafting
    stated = drafting.stated if drafting else None
    if drafting is None or not stated or not stated.endswith("_mtp"):
        return
    if stated in case.release.speculative_methods:
        yield Hit(
            drafting.place("method"),
            f"{stated} is deprecated; vLLM {case.version} reads it as mtp.",
            "method: mtp",
            drafting.put(method="mtp"),
        )


@rule(
    "speculation.suffix-package",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ImportError `Arctic Inference is required for suffix decoding` asks for "
    "arctic-inference 0.1.1; neither vLLM's requirements nor its Dockerfile install it.",
    versions=">=0.11.2",
)
def suffix_package(case: Case) -> Iterator[Hit]:
    """Suffix decoding needs a package that vLLM's own images do not have."""
    drafting = case.drafting
    if drafting is None or drafting.method != "suffix":
        return
    own = case.profile.engine.image
    why = "suffix decoding needs the package arctic-inference 0.1.1"
    if case.profile.target == "kserve" and own is None:
        yield Hit(
            drafting.place("method"),
            f"{why}, which vLLM's own image does not have.",
            "engine.image: an image of yours with it, or method: ngram",
        )
    else:
        where = "the image" if case.profile.target == "kserve" else "the engine's environment"
        yield Hit(
            drafting.place("method"),
            f"{why}; {where} has to have it.",
            "pip install arctic-inference==0.1.1 there",
            severity="warning",
        )

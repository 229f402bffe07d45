"""The number formats that a profile runs with: quantization method, dtype, KV cache."""

import re
from collections.abc import Iterator
from functools import lru_cache

from runners.checks.case import Case
from runners.checks.models import ModelFacts
from runners.checks.tables import vllm_release, vllm_versions

_DTYPES = {"half": "float16", "float": "float32"}
# vLLM refuses float16 for these (config/model.py, _FLOAT16_NOT_SUPPORTED_MODELS).
NO_FLOAT16 = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
# Methods that the engine can also make of unquantized weights while it loads them; for mxfp4
# and mxfp8 the same word means a checkpoint's format too, which has limits of its own.
ONLINE_OR_CHECKPOINT = frozenset({"mxfp4", "mxfp8"})
# What a repository's name says of itself, in the engine's words.
_NAMED = {
    "awq": ("awq",),
    "gptq": ("gptq",),
    "fp8": ("fp8", "compressed-tensors", "modelopt", "fbgemm_fp8"),
    "nvfp4": ("modelopt_fp4", "compressed-tensors"),
    "fp4": ("modelopt_fp4", "compressed-tensors"),
    "mxfp4": ("mxfp4", "gpt_oss_mxfp4", "compressed-tensors", "quark"),
    "gguf": ("gguf",),
    "bnb": ("bitsandbytes",),
    "w8a8": ("compressed-tensors",),
    "w4a16": ("compressed-tensors",),
    "w8a16": ("compressed-tensors",),
}
# Further words in a name that say it is quantized, without saying for which method.
_MARKS = frozenset({*_NAMED, "int4", "int8", "4bit", "8bit", "quantized", "aqlm", "hqq", "exl2"})
# Different words for one format on disk.
_FAMILIES = (
    frozenset({"awq", "awq_marlin", "auto_awq", "cpu_awq"}),
    frozenset({"gptq", "gptq_marlin", "auto_gptq", "gptq_bitblas", "cpu_gptq"}),
    frozenset({"modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed", "nvfp4"}),
    frozenset({"mxfp4", "gpt_oss_mxfp4"}),
    frozenset({"mxfp8", "modelopt_mxfp8"}),
    frozenset({"fp8", "deepseek_v4_fp8"}),
    frozenset({"inc", "auto-round"}),
)


def flag(case: Case) -> str | None:
    """The argument `quantization` as vLLM compares it, in lower case; None where unset."""
    value = case.args.get("quantization")
    if not isinstance(value, str) or value in ("", "None"):
        return None
    return value.lower()


def checkpoint_method(model: ModelFacts | None) -> str | None:
    """What the checkpoint's config.json calls its method; modelopt's told apart by algorithm."""
    method = model.quantization if model else None
    if model is None or not isinstance(method, str):
        return None
    if method != "modelopt":
        return method.lower()
    inner = model.quantization_config.get("quantization")
    algorithm = model.quantization_config.get("quant_algo")
    if algorithm is None and isinstance(inner, dict):
        algorithm = inner.get("quant_algo")
    name = str(algorithm)
    if name == "MIXED_PRECISION":
        return "modelopt_mixed"
    return "modelopt_mxfp8" if "MXFP8" in name else "modelopt_fp4" if "FP4" in name else "modelopt"


def named_methods(case: Case) -> tuple[str, ...]:
    """The methods that the repository's name suggests; empty where it says nothing."""
    return _NAMED.get(mark(case) or "", ())


def mark(case: Case) -> str | None:
    """The word in the checkpoint's name that says it is quantized."""
    if case.model is not None:
        return case.model.named_quantization
    return _marks(case.profile.model.uri)


@lru_cache(maxsize=1024)
def _marks(uri: str) -> str | None:
    name = uri.rpartition("/")[2].partition(":")[0].lower()
    words = re.split(r"[-_.@]", name)
    return next((word for word in words if word in _MARKS), None)


def same_format(one: str, other: str) -> bool:
    """Whether two methods read the same checkpoints."""
    return one == other or any(one in family and other in family for family in _FAMILIES)


def is_unquantized(case: Case) -> bool:
    """Whether the checkpoint is known to hold plain weights: by its config.json, or as a
    model of the table that nothing in its name or revision sets apart."""
    model = case.model
    if model is None or model.quantization or model.named_quantization:
        return False
    return was_read(model) or case.profile.model.revision is None


def was_read(model: ModelFacts) -> bool:
    """Whether the facts are from the checkpoint's own config.json."""
    return model.source.startswith(model.name) and model.source.endswith("config.json")


def may_be_unquantized(case: Case) -> bool:
    """Known to hold plain weights, or a repository whose name says nothing else."""
    if case.model is None:
        return case.profile.model.uri.startswith("hf://") and mark(case) is None
    return not case.model.quantization and not case.model.named_quantization


def method(case: Case) -> str | None:
    """The method that the engine will use: the flag's, else the checkpoint's."""
    return flag(case) or checkpoint_method(case.model)


def is_online(case: Case, name: str) -> bool:
    """Whether a method that also names a checkpoint's format quantizes plain weights here."""
    return (
        name in ONLINE_OR_CHECKPOINT
        and checkpoint_method(case.model) is None
        and not named_methods(case)
        and case.at_least(*((0, 28) if name == "mxfp4" else (0, 20)))
    )


def written_dtype(case: Case) -> str | None:
    """The argument `dtype` in its long spelling; None where it is unset, auto or no word."""
    value = case.args.get("dtype")
    if not isinstance(value, str) or value == "auto":
        return None
    return _DTYPES.get(value, value)


def dtype(case: Case) -> str | None:
    """The dtype of weights and activations after the engine's own choice; None: not known.

    Without one, or with auto, it is the checkpoint's, which the engine changes where the GPU
    or the model forbids it (config/model.py, _resolve_auto_dtype).
    """
    written = written_dtype(case)
    if written is not None or case.model is None or case.model.dtype is None:
        return written
    held, capability = case.model.dtype, case.gpu.capability if case.gpu else None
    modern = case.at_least(0, 9)
    plain16 = held if held != "float32" else "bfloat16" if modern else "float16"
    if plain16 == "bfloat16" and modern and capability is not None and capability < 80:
        plain16 = "float16"
        if case.model.model_type in NO_FLOAT16:
            return "float32"
    return plain16


def known_in(name: str) -> tuple[str, ...]:
    """The versions of vLLM, of those with a table, that have a quantization method."""
    return tuple(v for v in vllm_versions() if name in vllm_release(v).quantization)


def surely_lacks(case: Case, name: str) -> bool:
    """Whether the version asked for has no such method: for a version between two tables,
    when neither has it."""
    release = case.release
    if name in release.quantization:
        return False
    if release.exact:
        return True
    newer = _versions_after(release.version)
    following = next(newer, None)
    return following is not None and name not in vllm_release(following).quantization


def _versions_after(version: str) -> Iterator[str]:
    versions = vllm_versions()
    return iter(versions[versions.index(version) + 1 :])

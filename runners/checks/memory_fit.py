"""How much memory weights and KV cache take, and what fits: arithmetic, all sizes in bytes.

Everything is for one GPU of a replica and is a plan, not a measurement: the engine measures
activations and graphs by a profile run when it starts.
"""

import math
from dataclasses import dataclass

from runners.checks.models import ModelFacts

GIB = 1024**3
BLOCK_TOKENS = 16  # vLLM's default block_size on GPUs

_DTYPES = {"float32": 4.0, "float": 4.0, "float16": 2.0, "half": 2.0, "bfloat16": 2.0}
_INT4 = 0.5 + (2 + 0.5) / 128  # groups of 128: a 16-bit scale and a 4-bit zero point each
_MXFP8 = 1 + 1 / 32  # an 8-bit scale for 32 weights
_MXFP4 = 0.5 + 1 / 32
_NVFP4 = 0.5 + 1 / 16  # an 8-bit scale for 16 weights
_NF4 = 0.5 + 4 / 64  # a 32-bit scale for 64 weights
_PER_PARAMETER = {
    **dict.fromkeys(("awq", "awq_marlin", "auto_awq", "cpu_awq"), _INT4),
    **dict.fromkeys(("gptq", "gptq_marlin", "auto_gptq", "cpu_gptq"), _INT4),
    **dict.fromkeys(("fp8", "fp8_per_tensor", "fp8_per_channel", "fp8_per_block"), 1.0),
    **dict.fromkeys(("modelopt", "fbgemm_fp8", "ptpc_fp8", "deepseek_v4_fp8"), 1.0),
    **dict.fromkeys(("mxfp8", "modelopt_mxfp8"), _MXFP8),
    **dict.fromkeys(("mxfp4", "gpt_oss_mxfp4"), _MXFP4),
    **dict.fromkeys(("modelopt_fp4", "petit_nvfp4", "nvfp4"), _NVFP4),
    **dict.fromkeys(("experts_int8", "int8_per_channel_weight_only"), 1.0),
    **dict.fromkeys(("nvfp4_per_token",), _NVFP4),
    **dict.fromkeys(("bitsandbytes",), _NF4),
}
# Bytes of one cached value; the per-head formats add a 32-bit scale for each head and token.
_PER_VALUE = {
    "fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0, "fp8_inc": 1.0, "nvfp4": _NVFP4,
    "nvfp4_4over6": _NVFP4, "fp8_per_token_head": 1.0, "int8_per_token_head": 1.0,
    "int4_per_token_head": 0.5,
}  # fmt: skip


def parameter_bytes(method: str | None, dtype: str) -> float | None:
    """Bytes of a quantized weight with its scales and zero points; None for a method whose
    format is not in its name (compressed-tensors, torchao, …).

    fp32 4, 16 bits 2, fp8 1, 4-bit AWQ and GPTQ in groups of 128 0.5 + 2.5/128, mxfp4
    0.5 + 1/32, nvfp4 0.5 + 1/16, nf4 0.5 + 4/64: from the block sizes of the formats.
    """
    return _DTYPES.get(dtype) if method is None else _PER_PARAMETER.get(method)


def value_bytes(kv_cache_dtype: str, dtype: str, head_dim: int | None = None) -> float | None:
    """Bytes of one value in the KV cache; None for a format whose size is not known here.

    auto takes the model's dtype. A scale of 4 bytes for each head and token is added to the
    per-token-head formats, spread over head_dim values.
    """
    if kv_cache_dtype == "auto":
        return _DTYPES.get(dtype)
    size = _DTYPES.get(kv_cache_dtype) or _PER_VALUE.get(kv_cache_dtype)
    if size is not None and kv_cache_dtype.endswith("_per_token_head"):
        return size + 4 / head_dim if head_dim else None
    return size


def kept_parameters(model: ModelFacts) -> int:
    """Parameters that quantization leaves in the model's dtype: embedding and output head.

    One vocabulary × hidden matrix where they are shared, else two. Models below 4 billion
    parameters and Gemma models share them as a rule; config.json's facts do not say.
    """
    if model.vocab_size is None or model.hidden_size is None:
        return 0
    shared = str(model.model_type).startswith("gemma") or (model.parameters or 0) < 4e9
    return model.vocab_size * model.hidden_size * (1 if shared else 2)


def weight_bytes(
    model: ModelFacts,
    method: str | None,
    dtype: str,
    *,
    online: bool = False,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    expert_copies: int = 1,
) -> float | None:
    """Weights on one GPU: (P − kept) × b / (TP × PP) + kept × dtype / TP; None if unknown.

    Where the checkpoint's files are here and the engine does not quantize them itself
    (`online`), their size / (TP × PP). expert_copies: over how many more GPUs experts are
    spread (data parallel size of a mixture of experts); then the result is a lower bound.
    """
    ranks = tensor_parallel * pipeline_parallel * max(1, expert_copies)
    if model.weight_bytes is not None and not online and _DTYPES.get(dtype) == 2.0:
        held = {"float32": 0.5}.get(str(model.dtype), 1.0) if method is None else 1.0
        return model.weight_bytes * held / ranks
    each, plain = parameter_bytes(method, dtype), _DTYPES.get(dtype)
    if model.parameters is None or each is None or plain is None:
        return None
    if method is None:
        return model.parameters * plain / ranks
    kept = min(kept_parameters(model), model.parameters)
    return (model.parameters - kept) * each / ranks + kept * plain / tensor_parallel


def whole_blocks(tokens: float, block_tokens: int = BLOCK_TOKENS) -> int:
    """Tokens of room that a sequence takes: blocks are allocated whole."""
    return math.ceil(tokens / block_tokens) * block_tokens


def sequence_bytes(
    model: ModelFacts,
    tokens: float,
    per_value: float,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    context_parallel: int = 1,
    block_tokens: int = BLOCK_TOKENS,
) -> float | None:
    """KV cache of one sequence of so many tokens on one GPU; None if the shape is not known.

    Whole blocks × ModelFacts.kv_bytes_per_token; windowed layers hold their window at most.
    Decode context parallelism (context_parallel) divides it.
    """
    token = model.kv_bytes_per_token(per_value, tensor_parallel, pipeline_parallel)
    if token is None or not model.layers:
        return None
    full = whole_blocks(tokens, block_tokens)
    seen = full
    if model.sliding_window is not None:
        seen = min(full, whole_blocks(model.sliding_window, block_tokens))
    windowed = min(1.0, model.windowed_layers / model.layers)
    return token * (full * (1 - windowed) + seen * windowed) / max(1, context_parallel)


def allowance(memory: float, rows: int = 0, vocabulary: int = 0) -> float:
    """Room for activations, graphs and the runtime: max(1.5 GiB, 4 % of the GPU), and 4 bytes
    of logits for each of `rows` sampled sequences and each word of the vocabulary.

    A rule of thumb for planning; the engine's own profile run decides.
    """
    return max(1.5 * GIB, 0.04 * memory) + 4.0 * rows * vocabulary


@dataclass(frozen=True)
class Fit:
    """What one GPU has for its KV cache.

    memory: of the GPU, nominal. utilization: share of it that the engine may use. reserve:
    activations and graphs. given: KV cache that the profile fixes in place of the rest.
    """

    memory: float
    utilization: float
    weights: float
    draft: float
    reserve: float
    given: float | None = None

    @property
    def limit(self) -> float:
        """utilization × memory."""
        return self.utilization * self.memory

    @property
    def cache(self) -> float:
        """limit − weights − draft − reserve, or what the profile fixes; never below 0."""
        if self.given is not None:
            return self.given
        return max(0.0, self.limit - self.weights - self.draft - self.reserve)

    def line(self) -> str:
        """The arithmetic in one line."""
        if self.given is not None:
            return f"the profile fixes {gib(self.given)} of KV cache"
        draft = f" - {gib(self.draft)} draft" if self.draft else ""
        return (
            f"{self.utilization:g} x {gib(self.memory)} - {gib(self.weights)} weights{draft}"
            f" - {gib(self.reserve)} activations and graphs = {gib(self.cache)} of KV cache"
        )


def concurrent(cache: float, sequence: float | None) -> int | None:
    """How many sequences of that size a KV cache holds at once; None if either is unknown."""
    if not sequence or sequence <= 0:
        return None
    return math.floor(cache / sequence)


def gib(size: float) -> str:
    """A size in GiB, as 14.9 GiB; small ones in MiB, as 128 MiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 1024**2:.0f} MiB"

"""Shapes of models: from a checkpoint's config.json, or the table of popular ones."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from runners.checks.data import read_yaml
from runners.errors import UsageError


@dataclass(frozen=True)
class ModelFacts:
    """The shape of a model; None is unknown, never nothing.

    name: repository or directory. parameters: all of them, the experts that a token does not
    use included; counted from the shape (within 1 %) where a config.json gave it. head_dim:
    of one attention head. max_position_embeddings: as in config.json; max_length: what vLLM
    takes for the longest sequence. kv_lora_rank, qk_rope_head_dim: of multi-head latent
    attention. experts: routed experts of a layer, 0 for a dense model. sliding_window: tokens
    that windowed layers see; windowed_layers: how many of `layers` have it. draft_layers:
    multi-token-prediction layers inside the checkpoint. quantization: the checkpoint's own
    method; named_quantization: what a repository's name says of itself (awq, w8a8), which no
    file confirmed. weight_bytes: size of the *.safetensors files.
    """

    name: str
    architecture: str | None = None
    model_type: str | None = None
    hidden_size: int | None = None
    layers: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    max_position_embeddings: int | None = None
    max_length: int | None = None
    parameters: int | None = None
    dtype: str | None = None
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    experts: int = 0
    sliding_window: int | None = None
    windowed_layers: int = 0
    draft_layers: int = 0
    quantization: str | None = None
    quantization_config: Mapping[str, Any] = field(default_factory=dict)
    named_quantization: str | None = None
    weight_bytes: int | None = None
    source: str = ""

    @property
    def latent_attention(self) -> bool:
        """Whether it is multi-head latent attention: one cache entry for all heads."""
        return self.kv_lora_rank is not None

    def kv_bytes_per_token(
        self, value_bytes: float = 2.0, tensor_parallel: int = 1, pipeline_parallel: int = 1
    ) -> float | None:
        """KV cache of one token on one GPU, in bytes, as if no layer were windowed.

        layers/PP × 2 × max(1, kv_heads/TP) × head_dim × value_bytes; for latent attention
        layers/PP × (kv_lora_rank + qk_rope_head_dim) × value_bytes, the same on every rank
        (vLLM, v1/kv_cache_interface.py). None where the shape is not known.
        """
        if self.layers is None:
            return None
        layers = self.layers / pipeline_parallel
        if self.kv_lora_rank is not None:
            return layers * (self.kv_lora_rank + (self.qk_rope_head_dim or 0)) * value_bytes
        if self.kv_heads is None or self.head_dim is None:
            return None
        heads = max(1.0, self.kv_heads / tensor_parallel)
        return layers * 2 * heads * self.head_dim * value_bytes


_QUANTIZED_NAME = re.compile(
    r"[-_.](awq|gptq|fp8|nvfp4|fp4|mxfp4|gguf|int4|int8|w8a8|w4a16|w8a16|bnb|quantized)(?=[-_.]|$)"
)


@cache
def _known_models() -> tuple[tuple[re.Pattern[str], ModelFacts], ...]:
    known = []
    for entry in read_yaml("models.yaml")["models"]:
        shape = {key: value for key, value in entry.items() if key != "match"}
        known.append((re.compile(entry["match"]), ModelFacts(**shape)))
    return tuple(known)


def _base(uri: str) -> str:
    return uri.rpartition("/")[2].partition(":")[0].partition("@")[0].lower()


def plain_name(uri: str) -> str:
    """A repository's own name in lower case, without owner, revision and quantization."""
    base = _base(uri)
    mark = _QUANTIZED_NAME.search(base)
    return base[: mark.start()] if mark else base


@cache
def known_model(uri: str) -> ModelFacts | None:
    """A popular model by its repository id, whoever's copy it is; None when it is not known.

    `hf://` and a revision are ignored. A copy that was quantized is found by the rest of its
    name, and says so in named_quantization.
    """
    base = _base(uri)
    marks = list(_QUANTIZED_NAME.finditer(base))
    plain = base[: marks[0].start()] if marks else base
    for pattern, facts in _known_models():
        if pattern.fullmatch(base):
            return facts
        if marks and pattern.fullmatch(plain):
            said = [mark[1] for mark in marks if mark[1] != "quantized"]
            # The table's own quantization is not that of another format's copy.
            return replace(facts, quantization=None, named_quantization=(said or [None])[0])
    return None


def read_model_config(directory: Path) -> ModelFacts:
    """The shape that a Hugging Face checkpoint's config.json describes.

    Raises UsageError where the file is missing or is not a JSON object.
    """
    file = directory / "config.json"
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as a model's config.json: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"{file}: is not a JSON object; give the folder of a checkpoint")
    sizes = [weights.stat().st_size for weights in directory.glob("*.safetensors")]
    facts = shape_of(config, str(directory))
    return replace(facts, weight_bytes=sum(sizes) or None, source=str(file))


# Their layers are attention with a gated MLP (three matrices), dense or of experts, so that
# the parameters can be counted.
_COUNTED = {
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "phi3",
    "gemma2", "gemma3_text", "gpt_oss",
}  # fmt: skip
# Rotary embeddings whose max_position_embeddings is the scaled length already.
_SCALED = {"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default"}


def shape_of(config: Mapping[str, Any], name: str) -> ModelFacts:
    """A config.json as facts. Keys that it leaves to the library's defaults stay unknown."""
    text: Mapping[str, Any] = config.get("text_config") or config
    heads, hidden = (
        _count(text, "num_attention_heads", "n_head"),
        _count(text, "hidden_size", "n_embd"),
    )
    head_dim = _count(text, "head_dim") or (hidden // heads if hidden and heads else None)
    layers = _count(text, "num_hidden_layers", "n_layer", "num_layers")
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    window, windowed = _window(text, layers)
    architectures = config.get("architectures") or [None]
    return ModelFacts(
        name=name,
        architecture=architectures[0],
        model_type=config.get("model_type"),
        hidden_size=hidden,
        layers=layers,
        attention_heads=heads,
        kv_heads=_count(
            text, "n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num"
        )
        or heads,
        head_dim=head_dim,
        vocab_size=_count(text, "vocab_size", "padded_vocab_size"),
        max_position_embeddings=_count(
            text, "max_position_embeddings", "n_positions", "seq_length"
        ),
        max_length=_longest(text),
        parameters=_parameters(text, layers, heads, head_dim),
        dtype=_dtype(config, text),
        kv_lora_rank=_count(text, "kv_lora_rank"),
        qk_rope_head_dim=_count(text, "qk_rope_head_dim"),
        experts=_count(
            text, "num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts"
        )
        or 0,
        sliding_window=window,
        windowed_layers=windowed,
        draft_layers=_count(text, "num_nextn_predict_layers") or 0,
        quantization=quantization.get("quant_method"),
        quantization_config=quantization,
    )


def _count(config: Mapping[str, Any], *names: str) -> int | None:
    """The first of these keys that holds a positive whole number."""
    found = (config.get(name) for name in names)
    return next(
        (v for v in found if isinstance(v, int) and not isinstance(v, bool) and v > 0), None
    )


def _dtype(config: Mapping[str, Any], text: Mapping[str, Any]) -> str | None:
    places = (
        config.get("torch_dtype"),
        config.get("dtype"),
        text.get("torch_dtype"),
        text.get("dtype"),
    )
    found = next((value for value in places if isinstance(value, str)), None)
    return found.removeprefix("torch.") if found else None


def _longest(text: Mapping[str, Any]) -> int | None:
    """max_position_embeddings times the factor of the scalings that vLLM multiplies by."""
    length = _count(text, "max_position_embeddings", "n_positions", "seq_length")
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    factor = scaling.get("factor")
    if length is None or kind in _SCALED or "gemma3" in str(text.get("model_type")):
        return length
    return int(length * factor) if isinstance(factor, int | float) else length


def _window(text: Mapping[str, Any], layers: int | None) -> tuple[int | None, int]:
    """(tokens, number of layers) of sliding-window attention; (None, 0) without it."""
    window = _count(text, "sliding_window")
    if window is None or text.get("use_sliding_window") is False or layers is None:
        return None, 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        count = sum(kind == "sliding_attention" for kind in kinds)
    elif (pattern := _count(text, "sliding_window_pattern")) is not None:
        count = layers - layers // pattern
    elif text.get("model_type") == "gemma2":
        count = (layers + 1) // 2
    else:
        count = layers
    return (window, count) if count else (None, 0)


def _parameters(
    text: Mapping[str, Any], layers: int | None, heads: int | None, head_dim: int | None
) -> int | None:
    """Parameters counted from the shape (biases left out); None for another kind of layer."""
    kind, hidden = text.get("model_type"), _count(text, "hidden_size")
    vocabulary = _count(text, "vocab_size")
    kv_heads = _count(text, "num_key_value_heads") or heads
    experts = _count(text, "num_experts", "num_local_experts") or 1
    width = _count(text, "moe_intermediate_size") or _count(text, "intermediate_size")
    if kind not in _COUNTED or None in (layers, heads, head_dim, hidden, vocabulary, width):
        return None
    assert layers and heads and head_dim and hidden and vocabulary and width and kv_heads
    tied = text.get("tie_word_embeddings", str(kind).startswith("gemma"))
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    mlp = 3 * hidden * width * experts + (hidden * experts if experts > 1 else 0)
    return (
        layers * (attention + mlp + 2 * hidden) + vocabulary * hidden * (1 if tied else 2) + hidden
    )

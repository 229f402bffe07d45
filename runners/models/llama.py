"""Llama-type checkpoints with random weights: sizes, names and values."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.models.safetensors import Bfloat16, to_bfloat16

HEAD = 64
LAYERS = 8
DRAFT_LAYERS = 2
RMS_EPSILON = 1e-5
ROPE_THETA = 10_000.0
# What an input of unit size becomes on its way through a matrix. Large enough that the
# next token hangs on the text before it, instead of falling into a short loop.
_GAIN = 1.8
_FEED_FORWARD_RATIO = 8 / 3


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; every one has LAYERS layers, its draft the first DRAFT_LAYERS."""

    vocabulary: int
    hidden: int
    intermediate: int

    @classmethod
    def of_size(cls, parameters: int, vocabulary: int) -> "Shape":
        """The shape with about `parameters` weights (within 3 % from 1 M to 0.5 B).

        The width is a multiple of the head size; the feed-forward width makes up the rest.
        """

        def usual(hidden: int) -> float:
            return 2 * vocabulary * hidden + LAYERS * (4 + 3 * _FEED_FORWARD_RATIO) * hidden**2

        widths = range(HEAD, 64 * HEAD, HEAD)
        hidden = min(widths, key=lambda width: abs(usual(width) - parameters))
        left = parameters - 2 * vocabulary * hidden - LAYERS * 4 * hidden**2
        intermediate = max(1, round(left / (3 * LAYERS * hidden) / 32)) * 32
        return cls(vocabulary, hidden, intermediate)

    @property
    def parameters(self) -> int:
        """Weights of the target; embedding and output head are counted apart."""
        per_layer = self.hidden * (4 * self.hidden + 3 * self.intermediate + 2)
        return 2 * self.vocabulary * self.hidden + LAYERS * per_layer + self.hidden

    def config(self, layers: int, context: int, bos: int, eos: int) -> dict[str, Any]:
        """config.json of a checkpoint with the first `layers` layers."""
        heads = self.hidden // HEAD
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": HEAD,
            "max_position_embeddings": context,
            "rms_norm_eps": RMS_EPSILON,
            "rope_theta": ROPE_THETA,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "torch_dtype": "bfloat16",
            "bos_token_id": bos,
            "eos_token_id": eos,
        }


def random_tensors(
    shape: Shape, speakable: list[int], seed: int, deep_scale: float, attention_scale: float
) -> dict[str, Bfloat16]:
    """The target's tensors, normal from `seed`, under Hugging Face's names.

    The output matrices (o_proj, down_proj) of the layers behind the draft's are multiplied
    by `deep_scale`, every o_proj by `attention_scale`. Tokens outside `speakable` have a
    zero row in the output head, hence logit 0, far below the largest: greedy decoding
    never says them.
    """
    generator = np.random.default_rng(seed)

    def draw(outputs: int, inputs: int, scale: float = 1.0) -> Bfloat16:
        values = generator.standard_normal((outputs, inputs), dtype=np.float32)
        values *= np.float32(scale * _GAIN / math.sqrt(inputs))
        return to_bfloat16(values)

    width, inner = shape.hidden, shape.intermediate
    ones = to_bfloat16(np.ones(width, dtype=np.float32))
    # Rows of the embedding are looked up, not summed over: their spread follows the width.
    tensors = {"model.embed_tokens.weight": draw(shape.vocabulary, width)}
    for index in range(LAYERS):
        scale = 1.0 if index < DRAFT_LAYERS else deep_scale
        prefix = f"model.layers.{index}."
        tensors[prefix + "input_layernorm.weight"] = ones
        for name in ("q_proj", "k_proj", "v_proj"):
            tensors[prefix + f"self_attn.{name}.weight"] = draw(width, width)
        tensors[prefix + "self_attn.o_proj.weight"] = draw(width, width, scale * attention_scale)
        tensors[prefix + "post_attention_layernorm.weight"] = ones
        tensors[prefix + "mlp.gate_proj.weight"] = draw(inner, width)
        tensors[prefix + "mlp.up_proj.weight"] = draw(inner, width)
        down = scale * math.sqrt(_FEED_FORWARD_RATIO)
        tensors[prefix + "mlp.down_proj.weight"] = draw(width, inner, down)
    tensors["model.norm.weight"] = ones
    head = draw(shape.vocabulary, width)
    mute = np.ones(shape.vocabulary, dtype=np.bool_)
    mute[speakable] = False
    head[mute] = 0
    tensors["lm_head.weight"] = head
    return tensors


def draft_tensors(target: dict[str, Bfloat16]) -> dict[str, Bfloat16]:
    """The draft: the target's embedding, first DRAFT_LAYERS layers, norm and head."""
    return {
        name: tensor
        for name, tensor in target.items()
        if not name.startswith("model.layers.") or int(name.split(".")[2]) < DRAFT_LAYERS
    }

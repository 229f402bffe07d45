"""Greedy decoding of a small Llama-type checkpoint in numpy, apart from the code that made it.

Reads config.json and model.safetensors as any engine does.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


def read_tensors(directory: Path) -> dict[str, Float]:
    """Tensors of model.safetensors as float32."""
    raw = (directory / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "BF16"
        bits = np.frombuffer(raw[8 + size + begin : 8 + size + end], dtype="<u2")
        wide = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
        tensors[name] = wide.reshape(entry["shape"])
    return tensors


def read_config(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


def greedy(directory: Path, prompts: Int, steps: int) -> Int:
    """Continue `prompts` (batch, length) by `steps` tokens."""
    text = prompts
    for _ in range(steps):
        token = _most_likely(directory, _hidden(directory, text)[:, -1:])
        text = np.concatenate([text, token], axis=1)
    return text[:, prompts.shape[1] :]


def next_tokens(directory: Path, text: Int) -> Int:
    """The most likely token after each position of `text` (batch, length)."""
    return _most_likely(directory, _hidden(directory, text))


def _hidden(directory: Path, text: Int) -> Float:
    """What the last layer leaves at each position."""
    tensors, config = _loaded(directory)
    hidden = tensors["model.embed_tokens.weight"][text]
    for index in range(config["num_hidden_layers"]):
        hidden = _layer(tensors, f"model.layers.{index}.", hidden, config)
    return hidden


def _most_likely(directory: Path, hidden: Float) -> Int:
    tensors, _ = _loaded(directory)
    normed = _normal(hidden, tensors["model.norm.weight"])
    best: Int = np.argmax(normed @ tensors["lm_head.weight"].T, axis=-1)
    return best


_CACHE: dict[Path, tuple[dict[str, Float], dict[str, Any]]] = {}


def _loaded(directory: Path) -> tuple[dict[str, Float], dict[str, Any]]:
    if directory not in _CACHE:
        _CACHE[directory] = (read_tensors(directory), read_config(directory))
    return _CACHE[directory]


def _normal(x: Float, weight: Float) -> Float:
    scaled: Float = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-5)) * weight
    return scaled


def _layer(tensors: dict[str, Float], prefix: str, x: Float, config: dict[str, Any]) -> Float:
    def weight(name: str) -> Float:
        return tensors[prefix + name + ".weight"].T

    normed = _normal(x, tensors[prefix + "input_layernorm.weight"])
    batch, length, width = x.shape
    heads = config["num_attention_heads"]

    def split(name: str) -> Float:
        whole = normed @ weight(f"self_attn.{name}_proj")
        return whole.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)

    queries, keys = _rotated(split("q")), _rotated(split("k"))
    scores = queries @ keys.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // heads))
    future = np.triu(np.ones((length, length), dtype=np.bool_), 1)
    scores = np.where(future, np.float32(-np.inf), scores)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed = (scores @ split("v")).transpose(0, 2, 1, 3).reshape(batch, length, width)
    x = x + mixed @ weight("self_attn.o_proj")
    normed = _normal(x, tensors[prefix + "post_attention_layernorm.weight"])
    gate = normed @ weight("mlp.gate_proj")
    inner = gate / (1 + np.exp(-gate)) * (normed @ weight("mlp.up_proj"))
    total: Float = x + inner @ weight("mlp.down_proj")
    return total


def _rotated(x: Float) -> Float:
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[-2])[:, None] * 10_000.0 ** (-np.arange(half) / half)
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    low, high = x[..., :half], x[..., half:]
    turned: Float = np.concatenate([low * cosine - high * sine, high * cosine + low * sine], -1)
    return turned


def acceptance(agrees: Bool, drafted: int = 3) -> float:
    """Accepted / drafted when each step drafts `drafted` tokens; `agrees` (batch, steps)."""
    accepted = steps = 0
    for row in agrees:
        position = 0
        while position + drafted <= len(row):
            run = 0
            while run < drafted and row[position + run]:
                run += 1
            accepted += run
            steps += 1
            position += run + 1
    return accepted / (drafted * steps)

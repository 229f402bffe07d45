"""The arithmetic of weights and KV cache against figures that were worked out by hand."""

from dataclasses import replace

import pytest

from runners.checks import memory_fit as fit
from runners.checks.models import ModelFacts, known_model

GQA = ModelFacts("model", hidden_size=4096, layers=32, attention_heads=32, kv_heads=8, head_dim=128)


def shape(uri: str) -> ModelFacts:
    known = known_model(uri)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("uri", "token_bytes"),
    [
        ("hf://meta-llama/Llama-3.1-8B-Instruct", 131072),
        ("hf://meta-llama/Llama-3.1-70B-Instruct", 327680),
        ("hf://Qwen/Qwen2.5-7B-Instruct", 57344),
        ("hf://Qwen/Qwen3-8B", 147456),
        ("hf://Qwen/Qwen3-32B", 262144),
        ("hf://mistralai/Mistral-7B-Instruct-v0.3", 131072),
        ("hf://meta-llama/Llama-2-7b-chat-hf", 524288),
        ("hf://deepseek-ai/DeepSeek-V3", 70272),
    ],
)
def test_cache_of_a_token_in_16_bits(uri: str, token_bytes: int) -> None:
    assert fit.sequence_bytes(shape(uri), 16, 2.0) == 16 * token_bytes


def test_tensor_parallelism_divides_heads_until_one_is_left_and_never_a_latent_vector() -> None:
    llama, deepseek = shape("Llama-3.1-8B-Instruct"), shape("DeepSeek-V3")
    whole = fit.sequence_bytes(llama, 16, 2.0)
    assert whole is not None
    assert fit.sequence_bytes(llama, 16, 2.0, tensor_parallel=8) == whole / 8
    assert fit.sequence_bytes(llama, 16, 2.0, tensor_parallel=16) == whole / 8
    latent = fit.sequence_bytes(deepseek, 16, 2.0)
    assert latent is not None
    assert fit.sequence_bytes(deepseek, 16, 2.0, tensor_parallel=8) == latent
    assert fit.sequence_bytes(deepseek, 16, 2.0, context_parallel=8) == latent / 8


def test_blocks_are_whole() -> None:
    assert fit.whole_blocks(1) == 16
    assert fit.whole_blocks(33, 32) == 64
    assert fit.sequence_bytes(GQA, 17, 2.0) == fit.sequence_bytes(GQA, 32, 2.0)


def test_windowed_layers_hold_no_more_than_their_window() -> None:
    mixed = replace(GQA, sliding_window=1024, windowed_layers=16)
    full = fit.sequence_bytes(GQA, 4096, 2.0)
    assert full is not None
    assert fit.sequence_bytes(mixed, 4096, 2.0) == full * (0.5 + 0.5 * 1024 / 4096)
    assert fit.sequence_bytes(mixed, 512, 2.0) == fit.sequence_bytes(GQA, 512, 2.0)


@pytest.mark.parametrize(
    ("method", "each"),
    [
        (None, 2.0),
        ("fp8", 1.0),
        ("awq", 0.52),
        ("gptq", 0.52),
        ("bitsandbytes", 0.5625),
        ("mxfp4", 0.53125),
        ("modelopt_fp4", 0.5625),
    ],
)
def test_bytes_of_a_parameter(method: str | None, each: float) -> None:
    assert fit.parameter_bytes(method, "bfloat16") == pytest.approx(each, abs=0.001)


def test_a_method_that_does_not_name_its_format_has_no_size() -> None:
    assert fit.parameter_bytes("compressed-tensors", "bfloat16") is None
    assert fit.weight_bytes(shape("Llama-3.1-8B"), "compressed-tensors", "bfloat16") is None


@pytest.mark.parametrize(
    ("uri", "method", "gigabytes"),
    [
        # 8.030 B x 2; (8.030 - 1.051) B x 0.5195 + 1.051 B x 2; with 1 byte; and so on.
        ("meta-llama/Llama-3.1-8B-Instruct", None, 16.06),
        ("meta-llama/Llama-3.1-8B-Instruct", "awq", 5.73),
        ("meta-llama/Llama-3.1-8B-Instruct", "fp8", 9.08),
        ("meta-llama/Llama-3.1-70B-Instruct", "awq", 39.77),
        ("Qwen/Qwen2.5-7B-Instruct", "awq", 5.57),
    ],
)
def test_embedding_and_output_head_stay_in_16_bits(
    uri: str, method: str | None, gigabytes: float
) -> None:
    held = fit.weight_bytes(shape(uri), method, "bfloat16")
    assert held == pytest.approx(gigabytes * 1e9, rel=0.005)


def test_files_beat_the_count_unless_the_engine_quantizes_them() -> None:
    on_disk = replace(shape("Llama-3.1-8B"), weight_bytes=10**9)
    assert fit.weight_bytes(on_disk, "awq", "float16", tensor_parallel=2) == 5e8
    online = fit.weight_bytes(on_disk, "fp8_per_tensor", "bfloat16", online=True)
    assert online is not None and online > 8e9


def test_value_bytes_of_cache_formats() -> None:
    assert fit.value_bytes("auto", "bfloat16") == 2
    assert fit.value_bytes("auto", "float32") == 4
    assert fit.value_bytes("fp8_e5m2", "bfloat16") == 1
    assert fit.value_bytes("nvfp4", "bfloat16") == 0.5625
    assert fit.value_bytes("int8_per_token_head", "bfloat16", 128) == 1 + 4 / 128
    assert fit.value_bytes("turboquant_k8v4", "bfloat16") is None


def test_what_is_left_and_how_many_fit() -> None:
    one = fit.Fit(80 * fit.GIB, 0.9, 15 * fit.GIB, 1 * fit.GIB, 3 * fit.GIB)
    assert one.cache == pytest.approx(53 * fit.GIB)
    assert fit.concurrent(one.cache, 0.5 * fit.GIB) == 106
    assert fit.concurrent(one.cache, None) is None
    assert one.line() == (
        "0.9 x 80.0 GiB - 15.0 GiB weights - 1.0 GiB draft - 3.0 GiB activations and graphs"
        " = 53.0 GiB of KV cache"
    )
    assert replace(one, weights=90 * fit.GIB).cache == 0
    assert replace(one, given=2 * fit.GIB).cache == 2 * fit.GIB


def test_unknown_shapes_have_no_size() -> None:
    nothing = ModelFacts("model")
    assert fit.weight_bytes(nothing, None, "bfloat16") is None
    assert fit.sequence_bytes(nothing, 100, 2.0) is None

"""vLLM's names in the words of each backend; what has no counterpart is never left out."""

from typing import Any

import pytest

from runners.engines import tensorrt_llm, tgi
from runners.engines.arguments import DIALECTS, Arguments, engine_arguments
from runners.engines.counterpart import Said, Unsaid
from runners.profiles.features import UNCHANGED
from runners.profiles.model import Profile


def said(engine: str, backend: str | None = None, **args: Any) -> Arguments:
    return engine_arguments(
        Profile.model_validate(
            {
                "name": "p",
                "model": {"uri": "/m"},
                "engine": {"name": engine, "backend": backend, "args": args},
            }
        )
    )


def flags(engine: str, **args: Any) -> list[str]:
    found = said(engine, **args)
    assert not found.refused
    return list(found.flags[2:] if engine == "tgi" else found.flags)


@pytest.mark.parametrize("backend", ["vllm", "vllm-huggingface"])
def test_vllm_reads_its_own_names(backend: str) -> None:
    found = said("vllm", backend, **{"max-model-len": 2048, "enforce_eager": True, "seed": None})
    assert found == Arguments(("--max-model-len", "2048", "--enforce-eager"))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"max_model_len": 4096}, ["--max-total-tokens", "4096"]),
        ({"max-num-seqs": 64}, ["--max-batch-size", "64"]),
        ({"max_num_batched_tokens": 2048}, ["--max-batch-prefill-tokens", "2048"]),
        ({"gpu_memory_utilization": 0.9}, ["--cuda-memory-fraction", "0.9"]),
        ({"tensor_parallel_size": 4}, ["--num-shard", "4"]),
        ({"pipeline_parallel_size": 1}, []),
        ({"dtype": "half"}, ["--dtype", "float16"]),
        ({"dtype": "auto"}, []),
        ({"quantization": "auto_gptq"}, ["--quantize", "gptq"]),
        ({"kv_cache_dtype": "fp8"}, ["--kv-cache-dtype", "fp8_e4m3fn"]),
        (
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}},
            ["--speculate", "3"],
        ),
        ({"enforce_eager": True}, ["--cuda-graphs", "0"]),
        ({"enforce_eager": False}, []),
        ({"cudagraph_capture_sizes": [1, 2, 4]}, ["--cuda-graphs", "1,2,4"]),
        ({"trust_remote_code": True}, ["--trust-remote-code"]),
        ({"lora_modules": ["a=/a", {"name": "b", "path": "/b"}]}, ["--lora-adapters", "a=/a,b=/b"]),
        ({"waiting_served_ratio": 0.5}, ["--waiting-served-ratio", "0.5"]),
        ({"disable_grammar_support": True}, ["--disable-grammar-support"]),
        ({"disable_grammar_support": False}, []),
        ({"rope_factor": -1}, ["--rope-factor=-1"]),
        # Its own name beats vLLM's, in either order.
        (
            {"max_total_tokens": 2048, "max_model_len": 4096},
            ["--max-total-tokens", "2048"],
        ),
    ],
)
def test_tgi(args: dict[str, Any], expected: list[str]) -> None:
    assert flags("tgi", **args) == expected


def test_tgi_lets_requests_wait_as_vllm_does_and_says_its_cache_by_a_variable() -> None:
    found = said("tgi", enable_prefix_caching=False)
    assert found.flags == ("--max-concurrent-requests", "4096")
    assert found.env == {"PREFIX_CACHING": "0"}
    assert said("tgi", max_concurrent_requests=8).flags == ("--max-concurrent-requests", "8")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"max_model_len": 4096}, {"max_seq_len": 4096}),
        ({"max_num_seqs": 64}, {"max_batch_size": 64}),
        ({"max_num_batched_tokens": 2048}, {"max_num_tokens": 2048}),
        (
            {"gpu_memory_utilization": 0.8, "block_size": 64, "enable_prefix_caching": False},
            {
                "kv_cache_config": {
                    "free_gpu_memory_fraction": 0.8,
                    "tokens_per_block": 64,
                    "enable_block_reuse": False,
                }
            },
        ),
        ({"kv_cache_dtype": "fp8_e4m3"}, {"kv_cache_config": {"dtype": "fp8"}}),
        (
            {"num_gpu_blocks_override": 10, "block_size": 32},
            {"kv_cache_config": {"max_tokens": 320, "tokens_per_block": 32}},
        ),
        ({"kv_offloading_size": 0.5}, {"kv_cache_config": {"host_cache_size": 2**29}}),
        (
            {"enable_expert_parallel": True, "tensor_parallel_size": 4},
            {"moe_expert_parallel_size": 4, "tensor_parallel_size": 4},
        ),
        ({"enforce_eager": True}, {"cuda_graph_config": None}),
        ({"async_scheduling": False}, {"disable_overlap_scheduler": True}),
        (
            {"structured_outputs_config": {"backend": "guidance"}},
            {"guided_decoding_backend": "llguidance"},
        ),
        (
            {"enable_lora": True, "max_loras": 4},
            {"enable_lora": True, "lora_config": {"max_loras": 4}},
        ),
        (
            {
                "speculative_config": {
                    "method": "ngram",
                    "num_speculative_tokens": 4,
                    "prompt_lookup_max": 3,
                }
            },
            {
                "speculative_config": {
                    "decoding_type": "NGram",
                    "max_draft_len": 4,
                    "max_matching_ngram_size": 3,
                }
            },
        ),
        (
            {
                "speculative_config": {
                    "method": "eagle3",
                    "model": "/d",
                    "num_speculative_tokens": 4,
                }
            },
            {
                "speculative_config": {
                    "decoding_type": "Eagle",
                    "max_draft_len": 4,
                    "speculative_model_dir": "/d",
                }
            },
        ),
        (
            {"speculative_config": {"method": "mtp", "num_speculative_tokens": 2}},
            {"speculative_config": {"decoding_type": "MTP", "num_nextn_predict_layers": 2}},
        ),
        (
            {"speculative_config": {"decoding_type": "AUTO"}},
            {"speculative_config": {"decoding_type": "AUTO"}},
        ),
        # Its own words are laid over, key by key.
        (
            {"kv_cache_config": {"max_tokens": 99}, "gpu_memory_utilization": 0.8},
            {"kv_cache_config": {"free_gpu_memory_fraction": 0.8, "max_tokens": 99}},
        ),
        ({"return_perf_metrics": False}, {"return_perf_metrics": False}),
    ],
)
def test_tensorrt_llm(args: dict[str, Any], expected: dict[str, Any]) -> None:
    found = said("tensorrt-llm", **args)
    assert not found.refused
    assert found.flags == ()
    assert found.config == {"return_perf_metrics": True} | expected


def test_tensorrt_llm_says_on_its_command_line_what_its_file_cannot() -> None:
    assert flags("tensorrt-llm", tool_parser="qwen3") == ["--tool_parser", "qwen3"]
    assert flags("tensorrt-llm", chat_template="/t.jinja") == ["--chat_template", "/t.jinja"]


@pytest.mark.parametrize(
    ("engine", "args"),
    [
        ("vllm", {"port": 1}),
        ("tgi", {"port": 1}),
        ("tgi", {"model_id": "x"}),
        ("tgi", {"pipeline_parallel_size": 2}),
        ("tgi", {"quantization": "gguf"}),
        ("tgi", {"kv_cache_dtype": "nvfp4"}),
        ("tgi", {"kv_cache_dtype": ["fp8"]}),
        ("tgi", {"speculative_config": {"method": "eagle3", "num_speculative_tokens": 3}}),
        ("tgi", {"speculative_config": "ngram"}),
        ("tgi", {"enable_chunked_prefill": False}),
        ("tgi", {"a_name_of_nobody": 1}),
        ("tensorrt-llm", {"data_parallel_size": 2}),
        ("tensorrt-llm", {"quantization": "awq"}),
        ("tensorrt-llm", {"lora_modules": ["a=/a"]}),
        ("tensorrt-llm", {"structured_outputs_config": {"backend": "outlines"}}),
        ("tensorrt-llm", {"speculative_config": {"method": "medusa", "num_speculative_tokens": 3}}),
        ("tensorrt-llm", {"speculative_config": {"method": "eagle3", "num_speculative_tokens": 3}}),
        (
            "tensorrt-llm",
            {
                "speculative_config": {
                    "method": "mtp",
                    "num_speculative_tokens": 1,
                    "quantization": "fp8",
                }
            },
        ),
        ("tensorrt-llm", {"extra_llm_api_options": "/x"}),
        ("tensorrt-llm", {"a_name_of_nobody": 1}),
    ],
)
def test_what_has_no_counterpart_is_refused_with_a_way_out(
    engine: str, args: dict[str, Any]
) -> None:
    (refused,) = said(engine, **args).refused
    (name,) = args
    assert refused.key == f"engine.args.{name}"
    assert refused.why and refused.fix
    assert refused.line().count("\n") == 0


def test_triton_leaves_the_model_to_its_repository() -> None:
    found = said("tensorrt-llm", "triton", max_model_len=1, log_verbose=1, http_port=1)
    assert [each.key for each in found.refused] == [
        "engine.args.max_model_len",
        "engine.args.http_port",
    ]
    assert found.flags == ("--log-verbose", "1")


@pytest.mark.parametrize(
    ("engine", "args"),
    [
        ("tensorrt-llm", {"gpu_memory_utilization": 0.9}),
        ("tensorrt-llm", {"quantization": "fp8"}),
        ("tgi", {"max_num_batched_tokens": 2048}),
        ("tgi", {"max_loras": 4}),
        (
            "tgi",
            {
                "speculative_config": {
                    "method": "ngram",
                    "num_speculative_tokens": 3,
                    "prompt_lookup_max": 4,
                }
            },
        ),
    ],
)
def test_what_means_a_little_else_is_said(engine: str, args: dict[str, Any]) -> None:
    (approximate,) = said(engine, **args).approximate
    assert approximate.key == f"engine.args.{next(iter(args))}"
    assert approximate.why


@pytest.mark.parametrize("engine", ["tgi", "tensorrt-llm"])
@pytest.mark.parametrize("name", sorted(UNCHANGED))
@pytest.mark.parametrize("value", [True, False, 1, "x", [1], {"a": 1}])
def test_every_name_is_said_refused_or_commented(engine: str, name: str, value: Any) -> None:
    """No value of any type is lost: what sets nothing is vLLM's own default or has a remark."""
    silent = {
        "tgi": {
            "enable_chunked_prefill",
            "enable_expert_parallel",
            "enforce_eager",
            "trust_remote_code",
        },
        "tensorrt-llm": {"enforce_eager", "async_scheduling", "enable_expert_parallel"},
    }[engine] | {"enable_lora", "pipeline_parallel_size", "data_parallel_size"}
    before, found = said(engine), said(engine, **{name: value})
    told = bool(found.refused or found.approximate)
    changed = (found.flags, found.config, found.env) != (before.flags, before.config, before.env)
    assert told or changed or name in silent, (name, value)


def test_tables_hold_no_word_twice() -> None:
    for dialect in DIALECTS.values():
        assert not set(dialect.table) & set(dialect.owned)
        for key, outcome in dialect.table.items():
            assert isinstance(outcome(1, {}), Said | Unsaid), key
    assert not tgi.NATIVE & set(tgi.OWNED)
    assert not tensorrt_llm.NATIVE & set(tensorrt_llm.OWNED)

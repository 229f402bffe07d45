"""What a profile asks for and an engine does not have, for a comparison to refuse with reasons."""

from typing import Any

from runners.checks.unsupported import for_engine, unsupported, wanted
from runners.profiles.model import Profile


def profile(**sections: Any) -> Profile:
    """A profile of an 8B model with these sections."""
    return Profile.model_validate(
        {"name": "case", "model": {"uri": "hf://NousResearch/Meta-Llama-3.1-8B-Instruct"}}
        | sections
    )


def lacking(given: Profile, engine: Any) -> set[str]:
    """Names of what `engine` lacks for certain."""
    return {each.feature for each in unsupported(given, engine) if each.certain}


def test_a_plain_profile_runs_on_every_engine() -> None:
    plain = profile(engine={"args": {"max_model_len": 4096, "tensor_parallel_size": 1}})
    assert not any(unsupported(plain, engine) for engine in ("vllm", "tgi", "tensorrt-llm"))


def test_every_engine_is_asked_for_what_the_profile_wants() -> None:
    asking = profile(
        engine={
            "args": {
                "speculative_config": {
                    "method": "eagle3",
                    "model": "d",
                    "num_speculative_tokens": 3,
                },
                "pipeline_parallel_size": 2,
                "data_parallel_size": 2,
            }
        },
        resources={"gpu": {"count": 4}},
    )
    assert lacking(asking, "vllm") == set()
    assert lacking(asking, "tgi") >= {
        "speculation.eagle3",
        "speculation_with_pipeline_parallel",
        "pipeline_parallel",
        "data_parallel",
    }
    # TensorRT-LLM has each of them, but not speculation over pipeline stages.
    assert "speculation_with_pipeline_parallel" in lacking(asking, "tensorrt-llm")
    assert "speculation.eagle3" not in lacking(asking, "tensorrt-llm")


def test_a_version_decides_too() -> None:
    medusa = {"speculative_config": {"method": "medusa", "model": "m", "num_speculative_tokens": 3}}
    now = profile(engine={"version": "0.32.0", "args": medusa})
    after = profile(engine={"version": "0.33.0", "args": medusa})
    assert lacking(now, "vllm") == set()
    assert lacking(after, "vllm") == {"speculation.medusa"}


def test_arguments_of_one_engine_do_not_follow_to_another() -> None:
    mixed = profile(
        engine={
            "args": {"max_model_len": 4096, "async_scheduling": False},
            "specific": {
                "vllm": {"args": {"async_scheduling": False}},
                "tgi": {"version": "3.3.6", "args": {"max_batch_total_tokens": 100000}},
            },
        }
    )
    on_tgi = for_engine(mixed, "tgi")
    assert on_tgi.engine.args == {"max_model_len": 4096, "max_batch_total_tokens": 100000}
    assert on_tgi.engine.version == "3.3.6"
    assert not unsupported(mixed, "tgi")


def test_what_only_documents_tell_is_uncertain() -> None:
    on_cpu = profile(resources={"gpu": {"count": 0}})
    assert [(e.feature, e.certain) for e in unsupported(on_cpu, "tgi")] == [("cpu", False)]
    assert lacking(on_cpu, "tensorrt-llm") == {"cpu"}


def test_requests_and_adapters_ask_for_features() -> None:
    asking = profile(
        model={
            "uri": "hf://NousResearch/Meta-Llama-3.1-8B-Instruct",
            "adapters": [{"name": "sql", "uri": "hf://example/sql"}],
        },
        workload={"extra_body": {"response_format": {"type": "json_object"}, "tools": [{}]}},
        serving={"kind": "LLMInferenceService", "prefill": {"replicas": 1}},
    )
    assert {each.feature for each in wanted(asking)} == {
        "lora",
        "structured_output",
        "tools",
        "disaggregation",
    }


def test_odd_values_are_no_trouble() -> None:
    odd: tuple[Any, ...] = (None, "", "x", -1, [], {}, [{"a": 1}], True, 1e300)
    names = (
        "speculative_config",
        "pipeline_parallel_size",
        "quantization",
        "kv_cache_dtype",
        "num_gpu_blocks_override",
        "kv_offloading_size",
        "enable_expert_parallel",
        "lora_modules",
    )
    for value in odd:
        given = profile(engine={"args": dict.fromkeys(names, value)})
        for engine in ("vllm", "tgi", "tensorrt-llm"):
            for each in unsupported(given, engine):
                assert each.key and each.why and each.fix

"""What vLLM's own log tells: facts of a good start, the reason of a bad one."""

import pytest

from runners.engines.vllm import failure_reason, startup_facts
from tests.engines import logs


def test_facts_of_a_cpu_start() -> None:
    assert startup_facts(logs.CPU) == {
        "engine_version": "0.32.0",
        "initialization_s": 3.24,
        "model_weights_gib": 0.07,  # target and draft
        "kv_cache_gib": 1.0,
        "kv_cache_tokens": 52352,
    }


def test_facts_of_a_gpu_start() -> None:
    assert startup_facts(logs.GPU) == {
        "engine_version": "0.19.1",
        "initialization_s": 9.38,
        "model_weights_gib": 12.66,
        "kv_cache_gib": 38.41,
        "kv_cache_tokens": 559232,
    }


def test_what_the_log_does_not_say_is_missing_not_zero() -> None:
    assert startup_facts(logs.BANNER) == {"engine_version": "0.32.0"}
    assert startup_facts("") == {}


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (logs.ARGPARSE, "argument refused: unrecognized arguments: --no-such-flag"),
        (
            logs.VALIDATION,
            "SpeculativeConfig rejected: num_speculative_tokens was provided but without "
            "speculative model.",
        ),
        (
            logs.UNKNOWN_KEY,
            "SpeculativeConfig rejected: acceptance_method: Unexpected keyword argument",
        ),
        (
            logs.BROKEN_WEIGHTS,
            "SafetensorError: Error while deserializing header: incomplete metadata, "
            "file not fully covered",
        ),
        (logs.PORT, "port in use"),
    ],
)
def test_reason_is_the_engines_own(log: str, reason: str) -> None:
    assert failure_reason(log) == reason


@pytest.mark.parametrize(
    ("log", "begins", "holds"),
    [
        (logs.MEMORY, "out of memory: Available memory on node 0", "VLLM_CPU_KVCACHE_SPACE"),
        (logs.GPU_MEMORY, "out of memory: CUDA out of memory.", "224.00 MiB"),
        (logs.NO_MODEL, "model not found: ", "cached snapshot"),
    ],
)
def test_known_causes_are_named(log: str, begins: str, holds: str) -> None:
    reason = failure_reason(log)
    assert reason.startswith(begins)
    assert holds in reason


def test_without_any_error_the_last_line_speaks() -> None:
    assert failure_reason(logs.BANNER) == "Using max model len 2048"
    assert failure_reason("") == "it wrote nothing to its log"


@pytest.mark.parametrize("log", [value for name, value in vars(logs).items() if name.isupper()])
def test_a_reason_is_one_line_without_a_traceback(log: str) -> None:
    reason = failure_reason(log)
    assert "\n" not in reason
    assert "Traceback" not in reason
    assert 0 < len(reason) <= 300

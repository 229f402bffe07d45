"""What vLLM's own log tells: facts of a good start, the reason of a bad one."""

from pathlib import Path

import pytest

from runners.engines.vllm import failure_reason, startup_facts

# Excerpts of start-up logs: vLLM 0.32.0 on a CPU; gpu*.txt in the form of 0.19 on GPUs.
STARTUP = Path(__file__).with_name("startup")


def log(name: str) -> str:
    return (STARTUP / f"{name}.txt").read_text(encoding="utf-8")


def test_facts_of_a_cpu_start() -> None:
    assert startup_facts(log("cpu")) == {
        "engine_version": "0.32.0",
        "initialization_s": 3.24,
        "model_weights_gib": 0.07,  # target and draft
        "kv_cache_gib": 1.0,
        "kv_cache_tokens": 52352,
    }


def test_facts_of_a_gpu_start() -> None:
    assert startup_facts(log("gpu")) == {
        "engine_version": "0.19.1",
        "initialization_s": 9.38,
        "model_weights_gib": 12.66,
        "kv_cache_gib": 38.41,
        "kv_cache_tokens": 559232,
    }


def test_what_the_log_does_not_say_is_missing_not_zero() -> None:
    assert startup_facts(log("banner")) == {"engine_version": "0.32.0"}
    assert startup_facts("") == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("argparse", "argument refused: unrecognized arguments: --no-such-flag"),
        (
            "validation",
            "SpeculativeConfig rejected: num_speculative_tokens was provided but without "
            "speculative model.",
        ),
        (
            "unknown-key",
            "SpeculativeConfig rejected: acceptance_method: Unexpected keyword argument",
        ),
        (
            "broken-weights",
            "SafetensorError: Error while deserializing header: incomplete metadata, "
            "file not fully covered",
        ),
        ("port", "port in use"),
    ],
)
def test_reason_is_the_engines_own(name: str, reason: str) -> None:
    assert failure_reason(log(name)) == reason


@pytest.mark.parametrize(
    ("name", "begins", "holds"),
    [
        ("memory", "out of memory: Available memory on node 0", "VLLM_CPU_KVCACHE_SPACE"),
        ("gpu-memory", "out of memory: CUDA out of memory.", "224.00 MiB"),
        ("no-model", "model not found: ", "cached snapshot"),
    ],
)
def test_known_causes_are_named(name: str, begins: str, holds: str) -> None:
    reason = failure_reason(log(name))
    assert reason.startswith(begins)
    assert holds in reason


def test_without_any_error_the_last_line_speaks() -> None:
    assert failure_reason(log("banner")) == "Using max model len 2048"
    assert failure_reason("") == "it wrote nothing to its log"


@pytest.mark.parametrize("path", sorted(STARTUP.glob("*.txt")), ids=lambda path: path.stem)
def test_a_reason_is_one_line_without_a_traceback(path: Path) -> None:
    reason = failure_reason(path.read_text(encoding="utf-8"))
    assert "\n" not in reason
    assert "Traceback" not in reason
    assert 0 < len(reason) <= 500

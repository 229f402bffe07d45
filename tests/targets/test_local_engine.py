"""Target local with real vLLM: it answers, tells its facts, and leaves nothing running.

Two starts serve all questions: the same model pair with the acceptance dial low and high.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runners.engines.process import Running, descendants, running
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions, open_endpoint
from runners.targets.endpoint import Endpoint

pytestmark = pytest.mark.engine
LOW, HIGH = 0.3, 0.85
PROMPTS = [f"Chapter {number}: what is the use of a {number} in a list?" for number in range(24)]


@dataclass(frozen=True)
class Visit:
    """What one start of the engine showed."""

    endpoint: Endpoint
    answers: list[dict[str, Any]]
    acceptance: float
    processes: set[Running]
    left: list[Running]
    lifecycle: dict[str, Any]


def profile(dial: float, **args: Any) -> Profile:
    speculative = {
        "method": "draft_model",
        "model": f"tiny://draft?acceptance={dial}",
        "num_speculative_tokens": 3,
    }
    return Profile.model_validate(
        {
            "name": "engine-test",
            "target": "local",
            "model": {"uri": f"tiny://target?acceptance={dial}"},
            "engine": {
                "args": {
                    "dtype": "bfloat16",
                    "max_model_len": 1024,
                    "enforce_eager": True,
                    "speculative_config": speculative,
                    **args,
                },
                "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
            },
            "serving": {"startup_timeout_s": 300.0},
        }
    )


def ask(endpoint: Endpoint, client: httpx.Client, prompt: str) -> dict[str, Any]:
    body = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 48,
        "temperature": 0,
    }
    answer: dict[str, Any] = client.post("/v1/chat/completions", json=body).json()
    return answer


def speculated(client: httpx.Client) -> tuple[float, float]:
    """Accepted and drafted tokens so far, from the engine's own counters."""
    totals = {"accepted": 0.0, "draft": 0.0}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            for kind in totals:
                if sample.name == f"vllm:spec_decode_num_{kind}_tokens_total":
                    totals[kind] += sample.value
    return totals["accepted"], totals["draft"]


def visit(dial: float, python: Path, out: Path) -> Visit:
    run = RunDirectory.create(out, "engine")
    with open_endpoint(profile(dial), run, Progress(), TargetOptions(python)) as endpoint:
        processes = descendants(os.getpid())
        with httpx.Client(base_url=endpoint.base_url, trust_env=False, timeout=120) as client:
            accepted, drafted = speculated(client)
            with ThreadPoolExecutor(8) as askers:
                answers = list(askers.map(lambda text: ask(endpoint, client, text), PROMPTS))
            accepted_after, drafted_after = speculated(client)
    known = {(each.pid, each.started) for each in processes}
    left = [each for each in running() if (each.pid, each.started) in known]
    acceptance = (accepted_after - accepted) / (drafted_after - drafted)
    return Visit(endpoint, answers, acceptance, processes, left, run.read_json("lifecycle.json"))


@pytest.fixture(scope="module")
def visits(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[float, Visit]:
    out = tmp_path_factory.mktemp("engine")
    return {dial: visit(dial, engine_python, out) for dial in (LOW, HIGH)}


def test_the_engine_answers_in_full_and_in_plain_text(visits: dict[float, Visit]) -> None:
    for answer in visits[LOW].answers:
        assert answer["usage"]["completion_tokens"] == 48
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["choices"][0]["message"]["content"].isascii()


def test_facts_of_the_start(visits: dict[float, Visit]) -> None:
    endpoint = visits[LOW].endpoint
    assert endpoint.engine == "vllm"
    assert endpoint.engine_version
    assert endpoint.facts["kv_cache_tokens"] > 1024
    assert endpoint.facts["kv_cache_gib"] == pytest.approx(1.0, abs=0.05)
    assert endpoint.facts["model_weights_gib"] > 0.05
    assert 0 < endpoint.facts["initialization_s"] < endpoint.facts["startup_s"]
    assert endpoint.tokenizer is not None
    phases = {phase["name"]: phase["duration_s"] for phase in visits[LOW].lifecycle["phases"]}
    assert {"load weights", "initialize engine", "start server", "first token"} < set(phases)
    started = sum(phases.values()) - phases["model"] - phases["engine environment"]
    assert started == pytest.approx(endpoint.facts["startup_s"], abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="watches processes in /proc")
def test_all_its_processes_are_gone_afterwards(visits: dict[float, Visit]) -> None:
    for seen in visits.values():
        assert len(seen.processes) >= 2  # the server and its engine core at least
        assert seen.left == []


def test_acceptance_rises_with_the_dial(visits: dict[float, Visit]) -> None:
    assert visits[LOW].acceptance < visits[HIGH].acceptance
    assert visits[LOW].acceptance == pytest.approx(LOW, abs=0.08)
    assert visits[HIGH].acceptance == pytest.approx(HIGH, abs=0.08)


def test_bad_argument_is_one_line_with_the_engines_reason(
    engine_python: Path, tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path, "refused")
    refused = profile(LOW, no_such_flag=3)
    with (
        pytest.raises(TargetError) as caught,
        open_endpoint(refused, run, Progress(), TargetOptions(engine_python)),
    ):
        pass
    message = str(caught.value)
    assert "unrecognized arguments: --no-such-flag" in message
    assert "\n" not in message

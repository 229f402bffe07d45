"""The simulator as TGI, Triton and an Open Inference Protocol server: routes, words, metrics."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from runners.simulator.process import Running
from runners.telemetry.engine_names import names_spoken
from tests.simulator.raw_http import Answer, RawClient, chat, samples, truths

Simulator = Callable[..., Running]
MODEL = "/v2/models/simulated"


def ask(running: Running, path: str, body: object) -> Answer:
    with RawClient(running.base_url) as client:
        return client.ask("POST", path, body)


def tgi(**parameters: Any) -> dict[str, Any]:
    return {"inputs": "hello", "parameters": {"max_new_tokens": 4, "details": True, **parameters}}


def test_tgi_tells_every_token_and_sums_up_in_the_last_event(simulator: Simulator) -> None:
    answer = ask(simulator(ttft_ms=0, itl_ms=0, tokens_per_chunk=3), "/generate_stream", tgi())
    *blocks, rest = answer.body.split(b"\n\n")
    events = [json.loads(block.removeprefix(b"data:")) for block in blocks]
    assert rest == b""
    assert [event["index"] for event in events] == [1, 2, 3, 4]
    text = "".join(event["token"]["text"] for event in events)
    assert [event["generated_text"] for event in events] == [None, None, None, text]
    assert events[-1]["details"]["generated_tokens"] == 4
    assert events[-1]["details"]["finish_reason"] == "length"


@pytest.mark.parametrize("parameters", [{"temperature": 0.0}, {"top_p": 1.0}])
def test_tgi_rejects_what_tgi_rejects(simulator: Simulator, parameters: dict[str, float]) -> None:
    answer = ask(simulator(), "/generate", tgi(**parameters))
    assert answer.status == 422
    assert set(answer.json()) == {"error", "error_type"}


def test_the_same_prompt_has_the_same_answer_in_every_dialect(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    triton = {"text_input": "hello", "max_tokens": 4, "stream": False}
    oip = {"text_input": "hello", "parameters": {"max_tokens": 4, "details": True}}
    completion = {"prompt": "hello", "max_tokens": 4}
    said = {
        ask(running, "/generate", tgi()).json()["generated_text"],
        ask(running, f"{MODEL}/generate", triton).json()["text_output"],
        ask(running, f"{MODEL}/generate", oip).json()["text_output"],
        ask(running, "/v1/completions", completion).json()["choices"][0]["text"],
    }
    assert len(said) == 1
    assert len(said.pop()) == 16


def test_triton_counts_tokens_only_when_asked(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    body = {"text_input": "hello", "max_tokens": 2, "stream": False}
    plain = ask(running, f"{MODEL}/generate", body).json()
    assert "num_output_tokens" not in plain
    counted = ask(running, f"{MODEL}/generate", {**body, "return_num_output_tokens": True}).json()
    assert counted["num_output_tokens"] == 2


def test_unknown_models_and_readiness(simulator: Simulator) -> None:
    running = simulator()
    body = {"text_input": "hello", "max_tokens": 2}
    refused = ask(running, "/v2/models/other/generate", body)
    assert (refused.status, set(refused.json())) == (404, {"error"})
    with RawClient(running.base_url) as client:
        for path in ("/v2/health/live", "/v2/health/ready", f"{MODEL}/ready"):
            assert client.ask("GET", path).status == 200
        assert client.ask("GET", "/v2/models/other/ready").status == 404


@pytest.mark.parametrize("path", ["/generate_stream", "/generate"])
def test_metrics_speak_the_names_of_the_engine_that_was_asked(
    simulator: Simulator, path: str
) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    for tokens in (3, 5):
        ask(running, path, tgi(max_new_tokens=tokens))
    found = samples(running.base_url)
    assert not [name for name in found if name.startswith("vllm:")]
    assert found["tgi_request_generated_tokens_sum"] == 8
    # The parser ends the names of counters as OpenMetrics does; TGI itself does not.
    assert found["tgi_request_success_total"] == found["tgi_request_duration_count"] == 2
    log = truths(running.base_url)
    assert found["tgi_request_input_length_sum"] == sum(one["prompt_tokens"] for one in log)
    spoken = names_spoken(found)
    assert spoken is not None and spoken.engine == "tgi"


def test_trtllm_serve_tells_its_metrics_at_a_place_of_its_own(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    ask(running, "/v1/chat/completions", chat(max_tokens=5))
    with RawClient(running.base_url) as client:
        text = client.ask("GET", "/prometheus/metrics").body.decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = {line.split("{")[0]: float(line.split()[-1]) for line in lines}
    assert found["trtllm_generation_tokens_total"] == 5
    assert found["trtllm_time_to_first_token_seconds_count"] == 1
    spoken = names_spoken(found)
    assert spoken is not None and spoken.engine == "tensorrt-llm"

"""The bytes that the simulator writes."""

import json
from collections.abc import Callable

import pytest

from runners.simulator.process import Running
from tests.simulator.raw_http import RawClient, chat

Simulator = Callable[..., Running]


def test_a_chat_stream_is_one_chunk_per_event_with_role_tokens_usage_and_end(
    simulator: Simulator,
) -> None:
    running = simulator(ttft_ms=1, itl_ms=1)
    with RawClient(running.base_url) as client:
        answer = client.ask("POST", "/v1/chat/completions", chat(max_tokens=5))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-simulated"] == "true"
    assert answer.chunks is not None
    assert [chunk.count(b"\n\n") for chunk in answer.chunks] == [1] * len(answer.chunks)
    role, *tokens, usage = answer.messages()
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(tokens) == 5
    assert all(set(token["choices"][0]["delta"]) == {"content"} for token in tokens)
    reasons = [token["choices"][0]["finish_reason"] for token in tokens]
    assert reasons == [None] * 4 + ["length"]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 5
    assert all("usage" not in message for message in (role, *tokens))
    assert {one["system_fingerprint"] for one in (role, *tokens, usage)} == {"simulated"}


def test_continuous_usage_counts_up_from_the_role_chunk(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0, tokens_per_chunk=3)
    options = {"include_usage": True, "continuous_usage_stats": True}
    with RawClient(running.base_url) as client:
        body = chat(max_tokens=8, stream_options=options)
        messages = client.ask("POST", "/v1/chat/completions", body).messages()
    assert [one["usage"]["completion_tokens"] for one in messages] == [0, 3, 6, 8, 8]
    usage = messages[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + 8


def test_both_routes_say_the_same_with_and_without_streaming(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    with RawClient(running.base_url) as client:
        streamed = client.ask("POST", "/v1/chat/completions", chat(max_tokens=70))
        whole = client.ask("POST", "/v1/chat/completions", chat(70, stream=False)).json()
        body = {"prompt": "Tell me about the sea.", "max_tokens": 70}
        plain = client.ask("POST", "/v1/completions", body).json()
        parts = client.ask("POST", "/v1/completions", {**body, "stream": True}).messages()
    text = whole["choices"][0]["message"]["content"]
    assert streamed.text() == text == plain["choices"][0]["text"]
    assert "".join(part["choices"][0]["text"] for part in parts) == text
    usage = streamed.messages()[-1]["usage"]
    assert whole["usage"]["completion_tokens"] == usage["completion_tokens"] == 70
    assert whole["object"] == "chat.completion"
    assert plain["object"] == "text_completion"


def test_tokens_are_counted_by_one_rule_everywhere(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    body = chat(max_tokens=9, stream=False)
    with RawClient(running.base_url) as client:
        answer = client.ask("POST", "/v1/chat/completions", body).json()
        prompt = client.ask("POST", "/tokenize", {"messages": body["messages"]}).json()
        said = answer["choices"][0]["message"]["content"]
        output = client.ask("POST", "/tokenize", {"prompt": said}).json()
        ids = client.ask("POST", "/v1/completions", {"prompt": prompt["tokens"]}).json()
    assert answer["usage"]["prompt_tokens"] == prompt["count"] == len(prompt["tokens"])
    assert output["count"] == 9
    assert ids["usage"]["prompt_tokens"] == prompt["count"]


def test_requests_sent_ahead_on_one_connection_are_answered_in_order(
    simulator: Simulator,
) -> None:
    running = simulator(ttft_ms=5, itl_ms=1)
    with RawClient(running.base_url) as client:
        for tokens in (4, 2):
            client.send("POST", "/v1/chat/completions", chat(tokens))
        client.send("GET", "/v1/models", connection="close")
        counts = [client.receive().messages()[-1]["usage"]["completion_tokens"] for _ in "ab"]
        models = client.receive().json()
        assert client.socket.recv(1) == b""
    assert counts == [4, 2]
    assert models["data"][0]["id"] == "simulated"
    assert models["data"][0]["owned_by"] == "kserve-bench-simulator"


def test_thousands_of_requests_ahead_are_no_trouble(simulator: Simulator) -> None:
    running = simulator()
    with RawClient(running.base_url) as client:
        client.socket.sendall(b"GET /version HTTP/1.1\r\n\r\n" * 3000)
        assert {client.receive().status for _ in range(3000)} == {200}


def test_a_request_may_arrive_in_any_pieces(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    data = json.dumps(chat(max_tokens=2)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(data)}\r\n\r\n"
    with RawClient(running.base_url) as client:
        for byte in head.encode() + data:
            client.socket.sendall(bytes([byte]))
        assert client.receive().messages()[-1]["usage"]["completion_tokens"] == 2


def test_an_answer_longer_than_the_socket_buffers_arrives_whole(simulator: Simulator) -> None:
    running = simulator(ttft_ms=0, itl_ms=0)
    tokens = 60_000
    with RawClient(running.base_url) as slow, RawClient(running.base_url) as other:
        slow.send("POST", "/v1/chat/completions", chat(tokens))
        # The other connection is served although the first one takes nothing.
        assert other.ask("POST", "/v1/chat/completions", chat(3)).status == 200
        answer = slow.receive()
    assert answer.messages()[-1]["usage"]["completion_tokens"] == tokens
    assert len(answer.text()) == 4 * tokens


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/chat/completions", chat(model="other"), 404, "`other` does not exist"),
        ("/v1/chat/completions", chat(max_tokens=0), 400, "max_tokens"),
        ("/v1/chat/completions", {"prompt": "x"}, 400, "messages"),
        ("/v1/chat/completions", chat(stream_options="all"), 400, "stream_options"),
        ("/v1/chat/completions", [1], 400, "not a JSON object"),
        ("/v1/completions", {"prompt": ["a", "b"]}, 400, "prompt"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 1_000_000}, 400, "context length"),
        ("/v1/embeddings", {}, 404, "/v1/embeddings"),
    ],
)
def test_what_an_engine_would_refuse_is_refused(
    simulator: Simulator, path: str, body: object, status: int, says: str
) -> None:
    running = simulator()
    with RawClient(running.base_url) as client:
        answer = client.ask("POST", path, body)
        assert answer.status == status
        assert says in answer.json()["error"]["message"]
        assert client.ask("GET", "/health").status == 200


def test_a_key_guards_the_api_but_not_health(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATOR_TEST_KEY", "open-sesame")
    running = simulator(api_key_env="SIMULATOR_TEST_KEY", ttft_ms=0)
    with RawClient(running.base_url) as client:
        assert client.ask("GET", "/v1/models").status == 401
        wrong = client.ask("GET", "/v1/models", authorization="Bearer open")
        assert wrong.status == 401
        right = client.ask("GET", "/v1/models", authorization="Bearer open-sesame")
        assert right.status == 200
        assert client.ask("GET", "/health").status == 200

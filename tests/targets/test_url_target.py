"""Target url: what is known about a server that is already there, and why it will not do."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runners.errors import BenchError, UsageError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions, open_endpoint
from runners.targets.endpoint import Endpoint
from tests.targets.openai_server import Behaviour, serving

SECRET = "sk-not-to-be-seen"


@pytest.fixture(autouse=True)
def no_key_and_a_proxy_that_must_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "url")


@contextmanager
def opened(
    url: str, run: RunDirectory, options: TargetOptions | None = None, **keys: Any
) -> Iterator[Endpoint]:
    model = {"uri": "hf://org/tiny", "name": keys.pop("model", "tiny")}
    data = {"name": "p", "target": "url", "url": url, "model": model, **keys}
    profile = Profile.model_validate(data)
    with open_endpoint(profile, run, Progress(quiet=True), options or TargetOptions()) as endpoint:
        yield endpoint


def refusal(url: str, run: RunDirectory, **keys: Any) -> str:
    with pytest.raises(BenchError) as caught, opened(url, run, **keys):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert run.read_json("lifecycle.json")["failure"] == message
    return message


def test_a_good_server_is_described(run: RunDirectory) -> None:
    behaviour = Behaviour()
    with serving(behaviour) as port, opened(f"http://127.0.0.1:{port}/v1/", run) as endpoint:
        base_url = f"http://127.0.0.1:{port}"
        assert endpoint == Endpoint(
            base_url=base_url,
            model="tiny",
            target="url",
            engine="vllm",
            engine_version="0.32.0",
            metrics_url=f"{base_url}/metrics",
        )
    assert behaviour.asked[-1][0] == "/v1/chat/completions"  # the real token comes last
    lifecycle = run.read_json("lifecycle.json")
    assert [phase["name"] for phase in lifecycle["phases"]] == ["reach", "first token"]
    assert lifecycle["failure"] is None


def test_what_a_server_does_not_tell_stays_unknown(run: RunDirectory) -> None:
    behaviour = Behaviour(version=None, metrics=False, owned_by="me")
    with (
        serving(behaviour) as port,
        opened(
            f"http://127.0.0.1:{port}", run, model=None, workload={"api": "completions"}
        ) as endpoint,
    ):
        assert endpoint.model == "tiny"  # the only one
        assert endpoint.engine == "unknown"
        assert endpoint.engine_version is None
        assert endpoint.metrics_url is None
    assert behaviour.asked[-1][0] == "/v1/completions"


def test_wrong_model_name_lists_the_served_ones(run: RunDirectory) -> None:
    with serving(Behaviour(models=["llama", "qwen"])) as port:
        url = f"http://127.0.0.1:{port}"
        assert "it serves llama, qwen" in refusal(url, run, model="mistral")
        assert "serves llama, qwen; choose with" in refusal(url, run, model=None)


def test_missing_key_names_the_variable(run: RunDirectory) -> None:
    with serving(Behaviour(key=SECRET)) as port:
        message = refusal(f"http://127.0.0.1:{port}", run)
    assert "401" in message
    assert "OPENAI_API_KEY" in message


def test_key_is_sent_but_never_shown_or_kept(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    behaviour = Behaviour(key=SECRET)
    with serving(behaviour) as port:
        url = f"http://127.0.0.1:{port}"
        with opened(url, run, api_key_env="MY_KEY") as endpoint:
            assert endpoint.api_key_env == "MY_KEY"
            assert SECRET not in repr(endpoint)
        behaviour.key = "another"
        message = refusal(url, run, api_key_env="MY_KEY")
    assert "does not accept the key in the environment variable MY_KEY" in message
    assert all(SECRET not in path.read_text() for path in run.path.rglob("*") if path.is_file())
    assert SECRET not in "".join(capfd.readouterr())


def test_named_key_variable_has_to_be_set(run: RunDirectory) -> None:
    message = refusal("http://127.0.0.1:9", run, api_key_env="MY_KEY")
    assert message.startswith("the environment variable MY_KEY (api_key_env) is not set")


def test_nobody_listening(run: RunDirectory) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        message = refusal(f"http://127.0.0.1:{port}", run)
    assert message.startswith(f"cannot reach http://127.0.0.1:{port}: ")
    assert "Connection refused" in message


def test_https_where_http_is_spoken(run: RunDirectory) -> None:
    with serving(Behaviour()) as port:
        assert "TLS failed" in refusal(f"https://127.0.0.1:{port}", run)


def test_unreadable_authority_is_a_usage_error(run: RunDirectory, tmp_path: Path) -> None:
    options = TargetOptions(ca_cert=tmp_path / "none.pem")
    with (
        pytest.raises(UsageError, match="--ca-cert"),
        opened("https://127.0.0.1:9", run, options),
    ):
        pass


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(models_status=404, models_body="gone"), "HTTP 404 (gone): is this the address"),
        (Behaviour(models_status=503, models_body="busy"), "HTTP 503 (busy)"),
        (Behaviour(models_body="<html>"), "lists no models"),
        (Behaviour(models_body=json.dumps({"data": "x"})), "lists no models"),
        (Behaviour(answer_status=400), "answers HTTP 400: max_tokens is too large"),
    ],
)
def test_servers_that_will_not_do(behaviour: Behaviour, said: str, run: RunDirectory) -> None:
    with serving(behaviour) as port:
        assert said in refusal(f"http://127.0.0.1:{port}", run)


def test_a_server_that_never_sends_a_token(run: RunDirectory) -> None:
    with serving(Behaviour(answers=False)) as port:
        message = refusal(f"http://127.0.0.1:{port}", run, load={"timeout_s": 0.3})
    assert "sent no token in 0.3 s (load.timeout_s)" in message


def test_a_server_behind_a_proxy_is_refused_with_the_way_out(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal("http://models.example", run)
    assert "proxy" in message and "add models.example to no_proxy" in message
    monkeypatch.setenv("no_proxy", "models.example")
    assert "proxy" not in refusal("http://models.example", run)

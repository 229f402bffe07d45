"""Target local: its way from a profile to an endpoint and back, with a pretended engine."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runners.engines.process import descendants
from runners.errors import BenchError, TargetError, UsageError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions, open_endpoint
from runners.targets.endpoint import Endpoint
from runners.targets.local import resolve_model
from tests.targets.pretended_engine import make_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes in /proc")
QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def pretended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("pretended") / "env")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("KSERVE_BENCH_HOME", str(tmp_path / "home"))
    return RunDirectory.create(tmp_path, "local")


def profile(model: str, env: dict[str, str] | None = None, **keys: Any) -> Profile:
    engine = {"args": keys.pop("args", {}), "env": env or {}}
    return Profile.model_validate(
        {"name": "p", "target": "local", "model": {"uri": model}, "engine": engine, **keys}
    )


@contextmanager
def opened(of: Profile, run: RunDirectory, python: Path, **options: Any) -> Iterator[Endpoint]:
    with open_endpoint(of, run, QUIET, TargetOptions(python, **options)) as endpoint:
        yield endpoint


def failure(of: Profile, run: RunDirectory, python: Path, **options: Any) -> str:
    with pytest.raises(BenchError) as caught, opened(of, run, python, **options):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert run.read_json("lifecycle.json")["failure"] == message
    assert descendants(os.getpid()) == set()
    return message


def test_endpoint_with_facts_and_nothing_left_afterwards(
    run: RunDirectory, pretended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "a key of the person's own server")
    model = tmp_path / "my-model"
    model.mkdir()
    with opened(profile(str(model), args={"max_model_len": 64}), run, pretended) as endpoint:
        assert (endpoint.model, endpoint.engine, endpoint.engine_version) == (
            "my-model",
            "vllm",
            "0.32.0",
        )
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        assert endpoint.metrics_url == f"{endpoint.base_url}/metrics"
        assert endpoint.facts["kv_cache_tokens"] == 1024
        assert endpoint.facts["engine_arguments"] == ["--max-model-len", "64"]
        assert endpoint.facts["startup_s"] > 0
        assert "model_weights_gib" not in endpoint.facts  # its log does not tell
        assert len(descendants(os.getpid())) == 2  # the server and its child
    assert descendants(os.getpid()) == set()
    phases = run.read_json("lifecycle.json")["phases"]
    assert [phase["name"] for phase in phases] == [
        "model",
        "engine environment",
        "read configuration",
        "start server",
        "first token",
    ]
    assert "key None" in (run.logs / "engine.log").read_text()


def test_reason_of_a_dying_engine_is_its_own(
    run: RunDirectory, pretended: Path, tmp_path: Path
) -> None:
    dying = profile(str(tmp_path), env={"PRETEND_FAILURE": "the GPU fell off the bus"})
    message = failure(dying, run, pretended)
    assert "RuntimeError: the GPU fell off the bus" in message
    assert str(run.logs / "engine.log") in message
    refused = failure(profile(str(tmp_path), args={"no_such": 1}), run, pretended)
    assert "argument refused: unrecognized arguments: --no-such 1" in refused


def test_slow_start_says_what_the_engine_last_said(
    run: RunDirectory, pretended: Path, tmp_path: Path
) -> None:
    slow = profile(str(tmp_path), env={"PRETEND_DELAY": "60"}, serving={"startup_timeout_s": 1.5})
    message = failure(slow, run, pretended)
    assert "did not serve within 1.5 s (serving.startup_timeout_s)" in message
    assert "it last said: child" in message


def test_taken_port_is_told_before_anything_starts(
    run: RunDirectory, pretended: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = failure(profile(str(tmp_path)), run, pretended, port=port)
    assert message.startswith(f"port {port} of 127.0.0.1 cannot be used: Address already in use")
    assert not (run.logs / "engine.log").exists()


@pytest.mark.parametrize("moment", ["starting", "serving"])
def test_interrupt_ends_the_engine(
    moment: str, run: RunDirectory, pretended: Path, tmp_path: Path
) -> None:
    served = profile(str(tmp_path), env={"PRETEND_DELAY": "60" if moment == "starting" else "0"})

    def interrupt_when_it_runs() -> None:
        log = run.logs / "engine.log"
        while not (log.exists() and "child" in log.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), 2)

    watcher = threading.Thread(target=interrupt_when_it_runs)
    with pytest.raises(KeyboardInterrupt):
        if moment == "starting":
            watcher.start()
        with opened(served, run, pretended):
            watcher.start()
            time.sleep(30)  # Ctrl-C comes long before
    watcher.join()
    assert descendants(os.getpid()) == set()


def test_small_models_are_made_wherever_they_are_named(run: RunDirectory) -> None:
    options = "parameters=1M&acceptance=0.5"
    args = {"speculative_config": {"model": f"tiny://draft?{options}", "num": 3}, "x": ["hf://a/b"]}
    model = resolve_model(profile(f"tiny://target?{options}", args=args), QUIET)
    draft = Path(model.args["speculative_config"]["model"])
    assert draft.name == "draft"
    assert draft.parent == Path(model.path).parent
    assert (draft / "model.safetensors").is_file()
    assert model.args["x"] == ["a/b"]
    assert model.tokenizer == Path(model.path)
    assert model.name == "tiny"


def test_hugging_face_models_keep_their_id_and_revision() -> None:
    model = resolve_model(profile("hf://Qwen/Qwen3-0.6B:main"), QUIET)
    assert (model.path, model.name, model.tokenizer) == ("Qwen/Qwen3-0.6B", "Qwen3-0.6B", None)
    assert model.args["revision"] == "main"


def test_models_that_cannot_be_served_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read s3://"):
        resolve_model(profile("s3://bucket/model"), QUIET)
    with pytest.raises(TargetError, match="written hf://ORG/NAME"):
        resolve_model(profile(str(tmp_path / "none")), QUIET)


def test_other_engines_and_owned_arguments_are_refused(
    run: RunDirectory, pretended: Path, tmp_path: Path
) -> None:
    owned = failure(profile(str(tmp_path), args={"port": 8000}), run, pretended)
    assert "the toolkit picks a free port" in owned
    other = Profile.model_validate(
        {"name": "p", "model": {"uri": str(tmp_path)}, "target": "local", "engine": {"name": "tgi"}}
    )
    assert "target local runs vllm, not tgi" in failure(other, run, pretended)

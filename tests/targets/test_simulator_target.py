"""Target `simulator`: what it yields, what it writes, and that nothing is left behind."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from runners.errors import TargetError, UsageError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from runners.targets.simulator import open_endpoint

OPTIONS = TargetOptions()


def profile(engine_args: dict[str, object], **more: object) -> Profile:
    return Profile.model_validate(
        {
            "name": "look",
            "target": "simulator",
            "model": {"uri": "hf://nobody/little-model"},
            "engine": {"args": engine_args},
            **more,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "look")


def truth(run: RunDirectory) -> list[dict[str, Any]]:
    lines = (run.logs / "simulator-truth.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def simulators() -> set[int]:
    """Our child processes that run a simulator."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return {pid for pid, command in commands.items() if b"runners.simulator" in command}


def test_it_yields_a_place_that_answers_and_is_stamped(run: RunDirectory) -> None:
    wanted = profile({"ttft-ms": 3, "itl_ms": "lognormal:1,0.2", "max_model_len": 2048})
    with open_endpoint(wanted, run, Progress(quiet=True), OPTIONS) as endpoint:
        body = {"model": "little-model", "prompt": "Hello", "max_tokens": 4}
        answer = httpx.post(f"{endpoint.base_url}/v1/completions", json=body).json()
        assert endpoint.metrics_url is not None
        metrics = httpx.get(endpoint.metrics_url).text
    assert answer["usage"]["completion_tokens"] == 4
    assert (endpoint.simulated, endpoint.engine, endpoint.target) == (
        True,
        "simulator",
        "simulator",
    )
    assert endpoint.facts["startup_s"] > 0
    assert 'model_name="little-model"' in metrics
    assert [one["probe"] for one in truth(run)] == [True, False]
    lifecycle = run.read_json("lifecycle.json")
    assert [phase["name"] for phase in lifecycle["phases"]] == ["start", "first answer"]
    assert lifecycle["failure"] is None
    assert simulators() == set()


def test_settings_it_does_not_know_are_named(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_endpoint(profile({"max_model_len": 2048}), run, Progress(), OPTIONS):
        pass
    assert "ignores engine.args.max_model_len" in capsys.readouterr().err


def test_words_of_its_engine_model_are_a_real_engines_without_it(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_endpoint(profile({"block-size": 32}), run, Progress(), OPTIONS) as endpoint:
        assert endpoint.facts["engine_arguments"] == {}
    assert "ignores engine.args.block_size" in capsys.readouterr().err


def test_the_engine_model_is_a_setting(run: RunDirectory) -> None:
    wanted = profile({"engine-model": True, "block-size": 32, "base_step_ms": 1})
    with open_endpoint(wanted, run, Progress(quiet=True), OPTIONS) as endpoint:
        assert endpoint.metrics_url is not None
        assert 'block_size="32"' in httpx.get(endpoint.metrics_url).text


@pytest.mark.parametrize("fault", ["stall", "unauthorized", "refuse", "status:503"])
def test_a_fault_does_not_hinder_the_start(run: RunDirectory, fault: str) -> None:
    wanted = profile({"fault": fault})
    with open_endpoint(wanted, run, Progress(quiet=True), OPTIONS) as endpoint:
        assert httpx.get(f"{endpoint.base_url}/health").status_code == 200


def test_an_interruption_leaves_no_process_and_keeps_the_truth(run: RunDirectory) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        open_endpoint(profile({}), run, Progress(quiet=True), OPTIONS),
    ):
        assert len(simulators()) == 1
        raise KeyboardInterrupt
    assert simulators() == set()
    assert len(truth(run)) == 1


def test_a_bad_setting_names_its_key(run: RunDirectory) -> None:
    wanted = profile({"ttft_ms": "soon"})
    with (
        pytest.raises(UsageError, match=r"engine\.args\.ttft_ms"),
        open_endpoint(wanted, run, Progress(quiet=True), OPTIONS),
    ):
        pass


def test_a_missing_key_is_said_before_anything_starts(run: RunDirectory) -> None:
    wanted = profile({}, api_key_env="NO_SUCH_VARIABLE")
    with (
        pytest.raises(UsageError, match="NO_SUCH_VARIABLE"),
        open_endpoint(wanted, run, Progress(quiet=True), OPTIONS),
    ):
        pass
    assert "NO_SUCH_VARIABLE" in run.read_json("lifecycle.json")["failure"]


def test_the_key_is_asked_for_and_never_written(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATOR_TEST_KEY", "open-sesame")
    wanted = profile({}, api_key_env="SIMULATOR_TEST_KEY")
    with open_endpoint(wanted, run, Progress(quiet=True), OPTIONS) as endpoint:
        assert httpx.get(f"{endpoint.base_url}/v1/models").status_code == 401
        headers = {"authorization": "Bearer open-sesame"}
        assert httpx.get(f"{endpoint.base_url}/v1/models", headers=headers).status_code == 200
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert files and not any(b"open-sesame" in path.read_bytes() for path in files)


def test_a_simulator_that_dies_is_a_target_error(run: RunDirectory) -> None:
    with (
        pytest.raises(TargetError, match="ended badly"),
        open_endpoint(profile({}), run, Progress(quiet=True), OPTIONS),
    ):
        (pid,) = simulators()
        os.kill(pid, 9)

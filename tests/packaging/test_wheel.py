"""The wheel, as someone gets it who never saw the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ("profiles", "manifests", "costs")


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command that has to succeed, outside of the checkout's environment."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def built(source: Path, where: Path) -> Path:
    """`pip wheel` of a checkout or sdist, with the build backend that is installed here."""
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", where)
    run(sys.executable, "-m", "pip", "wheel", source, *options, cwd=where)
    (wheel,) = where.glob("*.whl")
    return wheel


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_package_and_data_only(wheel: Path) -> None:
    names = contents(wheel)
    data = {
        f"runners/_data/{path.relative_to(ROOT)}"
        for folder in DATA
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert data
    assert data <= names
    assert "runners/reports/report.html.j2" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"runners", "kserve_bench"}
    assert not [name for name in names if "__pycache__" in name]


def test_wheel_from_the_source_distribution_is_the_same(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert contents(built(sdist, tmp_path)) == contents(wheel)


def test_installed_command_finds_the_shipped_profiles(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    pip = (environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input")
    run(*pip, "--constraint", ROOT / "requirements.lock", wheel, cwd=tmp_path)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = environment / "bin" / "kserve-bench"
    listed = run(command, "--list-profiles", cwd=elsewhere)
    assert {"cpu-smoke", "standard"} <= {line.split()[0] for line in listed.splitlines() if line}
    plan = run(command, "--profile", "standard", "--dry-run", cwd=elsewhere)
    assert "kind: InferenceService" in plan
    assert not list(elsewhere.iterdir()), "neither listing nor a dry run writes anything"

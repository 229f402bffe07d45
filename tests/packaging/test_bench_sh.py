"""The door: first start, second start, and what a user is told when it cannot open."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASH = shutil.which("bash") or "/bin/bash"
TELL = """
import json, os, sys
import runners
print(json.dumps([os.getcwd(), sys.argv[1:], os.environ.get("PYTHONPATH")]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real bench.sh, nothing to install, and a command that tells of itself."""
    root = tmp_path / "my checkout"
    (root / "runners" / "cli").mkdir(parents=True)
    shutil.copy(ROOT / "bench.sh", root / "bench.sh")
    (root / "requirements.lock").write_text("# nothing\n")
    (root / "runners" / "__init__.py").touch()
    (root / "runners" / "cli" / "__init__.py").touch()
    (root / "runners" / "cli" / "__main__.py").write_text(TELL)
    return root


def environment(**changes: str) -> dict[str, str]:
    """Ours without what a developer's shell may carry."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "PYTHONPATH")}
    return {**kept, "PYTHON": sys.executable, **changes}


def start(
    door: Path, *arguments: str, cwd: Path | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BASH, str(door), *arguments],
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=False,
    )


def test_second_start_from_another_directory_through_a_symlink(
    checkout: Path, tmp_path: Path
) -> None:
    first = start(checkout / "bench.sh", "--setup-only")
    assert (first.returncode, first.stdout) == (0, "")
    assert "set-up done" in first.stderr

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "runners.py").write_text("raise SystemExit('a stranger was imported')\n")
    door = elsewhere / "bench"
    door.symlink_to(os.path.relpath(checkout / "bench.sh", elsewhere))
    second = start(door, "--profile", "a b.yaml", cwd=elsewhere)
    assert second.stderr == ""
    assert second.stdout == f'["{elsewhere}", ["--profile", "a b.yaml"], null]\n'


def test_changed_lock_file_and_interrupted_set_up_are_redone(checkout: Path) -> None:
    door = checkout / "bench.sh"
    assert start(door, "--setup-only").returncode == 0
    added_by_user = checkout / ".venv" / "added-by-user"
    added_by_user.touch()

    (checkout / "requirements.lock").write_text("# changed\n")
    assert "set-up done" in start(door, "--setup-only").stderr
    assert added_by_user.exists()

    (checkout / ".venv" / ".kserve-bench").write_text("unfinished\n")
    assert "set-up done" in start(door, "--setup-only").stderr
    assert not added_by_user.exists(), "half an environment is not built upon"
    assert start(door, "--setup-only").stderr == ""


def test_two_first_starts_at_once(checkout: Path) -> None:
    both = [
        subprocess.Popen(
            [BASH, str(checkout / "bench.sh"), "x"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sum("set-up done" in stderr for _, stderr in told) == 1, told


def test_no_python(checkout: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = start(checkout / "bench.sh", "--help", PATH=str(empty), PYTHON="")
    assert done.returncode == 2
    assert done.stderr.startswith("bench.sh: no Python found; try: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("prints", "message"),
    [("3.9", "is Python 3.9, but 3.11 or newer is needed"), ("3.12 bare", "python3.12-venv")],
)
def test_unfit_python(checkout: Path, tmp_path: Path, prints: str, message: str) -> None:
    unfit = tmp_path / "python"
    unfit.write_text(f"#!{BASH}\necho {prints}\n")
    unfit.chmod(0o755)
    done = start(checkout / "bench.sh", "--help", PYTHON=str(unfit))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_pip_failure_is_one_line_with_the_log(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("kserve-bench-has-no-such-dependency==1\n")
    done = start(checkout / "bench.sh", "--help", PIP_NO_INDEX="1")
    assert done.returncode == 4
    announced, failed = done.stderr.splitlines()
    assert "requirements.lock" in announced
    assert "No matching distribution found for kserve-bench-has-no-such-dependency" in failed
    assert str(checkout / ".cache" / "setup.log") in failed

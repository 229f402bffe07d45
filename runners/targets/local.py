"""Target `local`: a real engine on this machine, started for the run and ended with it."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.engines import home, vllm
from runners.engines.environment import EnginePython, find_engine
from runners.engines.process import EngineProcess
from runners.errors import TargetError, UsageError
from runners.models.tiny import SCHEME as TINY
from runners.models.tiny import resolve_tiny
from runners.profiles.model import Profile
from runners.progress import Progress, Step
from runners.rundir import RunDirectory, writing
from runners.targets.endpoint import Endpoint
from runners.targets.first_answer import ask_one_token
from runners.targets.lifecycle import Lifecycle

if TYPE_CHECKING:
    import httpx

    from runners.targets import TargetOptions

ENGINE_LOG = "engine.log"
_HUGGING_FACE = "hf://"
_POLL_S = 0.1
_GRACE_S = 15.0
_GRACE_UNSERVED_S = 2.0  # an engine still starting heeds no signal, and has nothing to lose
# Set in the person's shell, this would make our own engine ask for a key.
_KEY_VARIABLE = "VLLM_API_KEY"


@dataclass(frozen=True)
class ServedModel:
    """What is served: a directory or Hugging Face id, its public name, resolved arguments."""

    path: str
    name: str
    tokenizer: Path | None
    args: Mapping[str, Any]

    @property
    def is_local(self) -> bool:
        return Path(self.path).is_dir()


@contextmanager
def open_endpoint(
    profile: Profile, run: RunDirectory, progress: Progress, options: "TargetOptions"
) -> Iterator[Endpoint]:
    """Start the profile's engine on 127.0.0.1, wait for a real token, end it afterwards.

    Writes logs/engine.log and lifecycle.json. Raises UsageError for arguments that cannot
    be set here, TargetError with the engine's own reason where it does not start. The engine
    and all it started are gone when the context ends, however it ends.
    """
    lifecycle = Lifecycle(run)
    process: EngineProcess | None = None
    grace_s = _GRACE_UNSERVED_S
    try:
        with lifecycle.recorded():
            if profile.engine.name != "vllm":
                raise UsageError(
                    f"engine.name: target local runs vllm, not {profile.engine.name}; use target "
                    "kserve, or start it yourself and give --url"
                )
            with lifecycle.phase("model"):
                model = resolve_model(profile, progress)
            with lifecycle.phase("engine environment"):
                engine = find_engine(progress, options.engine_python, profile.engine.version)
            port = pick_port(options.port)
            with progress.step(f"starting vLLM {engine.version} on port {port}") as step:
                started = time.monotonic()
                process = _start(profile, run, model, engine, port, options)
                startup_s = _wait_for_token(profile, process, model, port, started, lifecycle, step)
        grace_s = _GRACE_S
        yield _endpoint(profile, model, engine, port, process, startup_s, options)
        _tell_if_dead(process, progress)
    finally:
        if process is not None:
            with progress.step("stopping the engine"):
                process.stop(grace_s)


def resolve_model(profile: Profile, progress: Progress) -> ServedModel:
    """Make or find the model that model.uri names, and those named in engine.args."""
    uri = profile.model.uri
    path = _resolved(uri, progress)
    if path == uri and not Path(uri).is_dir():
        scheme = uri.partition("://")[0] if "://" in uri else None
        if scheme:
            raise UsageError(
                f"model.uri: target local cannot read {scheme}:// ({uri}); give a directory, "
                "hf://ORG/NAME or tiny://target"
            )
        raise TargetError(
            f"model.uri: no directory {uri}; a model on Hugging Face is written hf://ORG/NAME"
        )
    args = {key: _resolved_inside(value, progress) for key, value in profile.engine.args.items()}
    if uri.startswith(_HUGGING_FACE):
        path, _, revision = path.partition(":")
        if revision:
            args.setdefault("revision", revision)
    name = profile.model.name or ("tiny" if uri.startswith(TINY) else Path(path).name)
    return ServedModel(path, name, _tokenizer(profile, path, progress), args)


def _resolved(uri: str, progress: Progress) -> str:
    if uri.startswith(TINY):
        return str(resolve_tiny(uri, home() / "models", progress))
    return uri.removeprefix(_HUGGING_FACE)


def _resolved_inside(value: Any, progress: Progress) -> Any:
    """`value` with every tiny:// and hf:// in it, however deep, resolved."""
    if isinstance(value, str):
        return _resolved(value, progress)
    if isinstance(value, Mapping):
        return {key: _resolved_inside(inner, progress) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved_inside(inner, progress) for inner in value]
    return value


def _tokenizer(profile: Profile, model: str, progress: Progress) -> Path | None:
    """The profile's tokenizer, else the model's own, where it is on this machine."""
    named = profile.model.tokenizer
    path = Path(_resolved(named, progress) if named else model)
    return path if path.is_file() or (path / "tokenizer.json").is_file() else None


def pick_port(wanted: int | None) -> int:
    """A free TCP port of 127.0.0.1; TargetError when the one wanted is taken."""
    with socket.socket() as probe:
        # a port in TIME_WAIT is free; a listening one still refuses
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TargetError(
                f"port {wanted} of 127.0.0.1 cannot be used: {reason}; choose another or none"
            ) from error
        return int(probe.getsockname()[1])


def _start(
    profile: Profile,
    run: RunDirectory,
    model: ServedModel,
    engine: EnginePython,
    port: int,
    options: "TargetOptions",
) -> EngineProcess:
    command = vllm.command(
        engine.path,
        model.path,
        profile,
        port,
        served_name=model.name,
        args=model.args,
        extra=options.extra_engine_args,
    )
    log = run.logs / ENGINE_LOG
    with writing(log):
        run.logs.mkdir(parents=True, exist_ok=True)
        log.touch()
    environment = engine_environment(profile, model.is_local)
    try:
        return EngineProcess(command, environment, log)
    except OSError as error:
        raise TargetError(f"cannot start {engine.path}: {error.strerror or error}") from error


def engine_environment(profile: Profile, model_is_local: bool) -> dict[str, str]:
    """Environment of the engine: ours, quiet towards the network, then engine.env."""
    if _KEY_VARIABLE in profile.engine.env:
        raise UsageError(f"engine.env: {_KEY_VARIABLE} cannot be set here: the toolkit's own "
                         "engine needs no key; remove it")  # fmt: skip
    apart = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", _KEY_VARIABLE}
    environment = {key: value for key, value in os.environ.items() if key not in apart}
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    if model_is_local:
        environment.setdefault("HF_HUB_OFFLINE", "1")
    return environment | profile.engine.env


def _wait_for_token(
    profile: Profile,
    process: EngineProcess,
    model: ServedModel,
    port: int,
    started: float,
    lifecycle: Lifecycle,
    step: Step,
) -> float:
    """Wait for /health, then for one token; seconds from the process's start to it."""
    import httpx

    deadline = started + profile.serving.startup_timeout_s
    milestones = _Milestones(lifecycle, started)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=2.0) as client:
        while not _is_healthy(client):
            _fail_if_dead(process)
            text = process.log_text()
            milestones.look(text)
            step.detail(_last_line(text))
            if time.monotonic() > deadline:
                raise _too_slow(profile, process, "did not serve")
            time.sleep(_POLL_S)
        milestones.look(process.log_text())
        milestones.end("start server")
        client.timeout = httpx.Timeout(max(1.0, deadline - time.monotonic()))
        try:
            ask_one_token(client, model.name, profile.workload.api)
        except httpx.TransportError as error:
            _fail_if_dead(process)
            raise _too_slow(profile, process, "served but did not answer") from error
    return milestones.end("first token") - started


def _is_healthy(client: "httpx.Client") -> bool:
    import httpx

    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


class _Milestones:
    """Turns lines of the engine's log into phases, each from the last one's end."""

    def __init__(self, lifecycle: Lifecycle, started: float) -> None:
        self._lifecycle = lifecycle
        self._since = started
        self._ahead = list(vllm.MILESTONES)

    def look(self, log: str) -> None:
        """Close the phases whose last line is there; a later line closes a silent one's."""
        for index, (name, line) in reversed(list(enumerate(self._ahead))):
            if line.search(log):
                self.end(name)
                del self._ahead[: index + 1]
                return

    def end(self, name: str) -> float:
        now = time.monotonic()
        self._lifecycle.add(name, self._since, now)
        self._since = now
        return now


def _fail_if_dead(process: EngineProcess) -> None:
    code = process.exit_code()
    if code is not None:
        raise TargetError(f"vLLM ended while starting: {_cause(process, code)}; {_see(process)}")


def _cause(process: EngineProcess, code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed by the system, most likely out of memory (SIGKILL)"
    return vllm.failure_reason(process.log_text())


def _see(process: EngineProcess) -> str:
    return f"its log is {process.log}"


def _too_slow(profile: Profile, process: EngineProcess, what: str) -> TargetError:
    return TargetError(
        f"vLLM {what} within {profile.serving.startup_timeout_s:g} s "
        f"(serving.startup_timeout_s); it last said: {_last_line(process.log_text())}; "
        f"{_see(process)}"
    )


def _last_line(log: str) -> str:
    lines = log.rstrip().rsplit("\n", 1)
    return vllm.plain(lines[-1]).strip()[:200] or "nothing"


def _tell_if_dead(process: EngineProcess, progress: Progress) -> None:
    code = process.exit_code()
    if code is not None:
        progress.note(f"vLLM ended during the run: {_cause(process, code)}; {_see(process)}")


def _endpoint(
    profile: Profile,
    model: ServedModel,
    engine: EnginePython,
    port: int,
    process: EngineProcess,
    startup_s: float,
    options: "TargetOptions",
) -> Endpoint:
    facts = vllm.startup_facts(process.log_text())
    version = facts.pop("engine_version", engine.version)
    base_url = f"http://127.0.0.1:{port}"
    arguments = [*vllm.flags(model.args), *options.extra_engine_args]
    facts |= {"startup_s": round(startup_s, 3), "engine_arguments": arguments}
    return Endpoint(
        base_url=base_url,
        model=model.name,
        target="local",
        engine="vllm",
        engine_version=version,
        metrics_url=f"{base_url}/metrics",
        tokenizer=model.tokenizer,
        facts=facts,
    )

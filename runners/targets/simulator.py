"""Target `simulator`: a server of our own with a known truth, for clients and for looking."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from runners.errors import OutputError, TargetError, UsageError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory, writing
from runners.simulator.process import Running, start
from runners.simulator.settings import MODEL_SETTINGS, Behaviour, Value, read_behaviour
from runners.targets import TargetOptions
from runners.targets.endpoint import Endpoint
from runners.targets.first_answer import ask_one_token
from runners.targets.lifecycle import Lifecycle

TRUTH_LOG = "simulator-truth.jsonl"
# A request that no fault befalls; it is marked in the truth log.
_PROBE = {"x-simulator-probe": "1"}


@contextmanager
def open_endpoint(
    profile: Profile, run: RunDirectory, progress: Progress, options: TargetOptions
) -> Iterator[Endpoint]:
    """A simulator with the behaviour in `engine.args`, until the context ends.

    Writes lifecycle.json, logs/simulator.log and logs/simulator-truth.jsonl.
    Raises UsageError for a setting that is not allowed, TargetError where it does not start
    or answer, OutputError where its files cannot be written.
    """
    behaviour = _behaviour(profile, progress, options)
    lifecycle = Lifecycle(run)
    running: Running | None = None
    begun_s = time.monotonic()
    try:
        with progress.step("starting the simulator"), lifecycle.recorded():
            with lifecycle.phase("start"):
                running = _start(profile, run, behaviour, options.port)
            with lifecycle.phase("first answer"):
                version = _first_answer(running, profile)
        startup_s = time.monotonic() - begun_s
        yield Endpoint(
            base_url=running.base_url,
            model=running.model,
            target="simulator",
            engine="simulator",
            engine_version=version,
            metrics_url=f"{running.base_url}/metrics",
            api_key_env=profile.api_key_env,
            simulated=True,
            facts={"startup_s": startup_s, "engine_arguments": behaviour},
        )
    except BaseException:
        if running is not None:
            running.stop()
        raise
    _stop(running)


def _behaviour(profile: Profile, progress: Progress, options: TargetOptions) -> dict[str, Value]:
    known = {field.name for field in fields(Behaviour)}
    given = {key.replace("-", "_"): value for key, value in profile.engine.args.items()}
    # Without the engine model, these are words for a real engine: vLLM has a block_size too.
    if str(given.get("engine_model")).lower() != "true":
        known -= set(MODEL_SETTINGS)
    behaviour = {key: value for key, value in given.items() if key in known}
    read_behaviour(behaviour, place="engine.args.")
    ignored = [f"engine.args.{key}" for key in given if key not in known]
    ignored += options.extra_engine_args
    if ignored:
        progress.note(f"the simulator ignores {', '.join(ignored)}")
    return behaviour


def _start(
    profile: Profile, run: RunDirectory, behaviour: dict[str, Value], port: int | None
) -> Running:
    name = profile.api_key_env
    if name is not None and not os.environ.get(name):
        raise UsageError(
            f"api_key_env: the environment variable {name} is not set; export it, or remove "
            "api_key_env from the profile"
        )
    model = profile.model.name or profile.model.uri.rstrip("/").rpartition("/")[2]
    with writing(run.logs):
        run.logs.mkdir(exist_ok=True)
        return start(
            behaviour,
            run.logs / TRUTH_LOG,
            run.logs / "simulator.log",
            model=model,
            port=port or 0,
            seed=profile.load.seed,
            api_key_env=name,
        )


def _first_answer(running: Running, profile: Profile) -> str:
    """Wait for one real token; the simulator's version."""
    import httpx

    headers = dict(_PROBE)
    if profile.api_key_env is not None:
        headers["authorization"] = f"Bearer {os.environ[profile.api_key_env]}"
    try:
        with httpx.Client(
            base_url=running.base_url,
            headers=headers,
            timeout=profile.serving.startup_timeout_s,
            trust_env=False,
        ) as client:
            ask_one_token(client, running.model, profile.workload.api)
            return str(client.get("/version").json()["version"])
    except httpx.TransportError as error:
        raise TargetError(f"the simulator did not answer: {error}") from error


def _stop(running: Running) -> None:
    code = running.stop()
    if code != 0:
        last = running.last_words() or f"exit code {code}"
        kind = OutputError if code == int(OutputError.exit_code) else TargetError
        raise kind(f"the simulator ended badly: {last}")

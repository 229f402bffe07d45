"""Load workers of this machine as if they were on others, and a run to drive with them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from runners.load.drive import drive
from runners.load.remote_wire import TOKEN_ENV
from runners.load.schedule import make_schedule
from runners.load.workers import Sent
from runners.profiles.model import Profile
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint
from runners.workloads.prompts import make_prompts

TOKEN = "a token for tests only"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Listening:
    """A worker that waits for a coordinator; its temporary folders are made in `folder`."""

    process: "subprocess.Popen[str]"
    address: str
    folder: Path

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()


@contextmanager
def listening(
    folder: Path,
    *more: str,
    host: str = "127.0.0.1",
    token: str = TOKEN,
    before: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Iterator[Listening]:
    """before: a command that runs what follows it elsewhere."""
    folder.mkdir()
    command = [*before, sys.executable, "-m", "runners.load.remote", f"--listen={host}:0", *more]
    variables = {**os.environ, TOKEN_ENV: token, "TMPDIR": str(folder), **(env or {})}
    with (
        (folder.parent / f"{folder.name}.log").open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env=variables
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield Listening(process, line.removeprefix("listening on ").strip(), folder)
        finally:
            process.terminate()


def profile(addresses: list[str], **load: Any) -> Profile:
    defaults = {"rate": 200.0, "requests": 60, "warmup": {"requests": 0}}
    return Profile.model_validate(
        {
            "name": "apart",
            "target": "url",
            "url": "http://127.0.0.1:9",
            "model": {"uri": "hf://a/b"},
            "workload": {"input_tokens": 8, "max_tokens": 6},
            "load": {**defaults, **load, "workers": {"addresses": addresses}},
        }
    )


def drive_one(
    wanted: Profile,
    base_url: str,
    run: RunDirectory,
    progress: Callable[[Sent], None] = lambda sent: None,
    api_key_env: str | None = None,
    ca_cert: Path | None = None,
) -> dict[str, Any]:
    """Drive the profile; returns the facts of the load."""
    schedule = make_schedule(wanted.load, wanted.workload)
    prompts = make_prompts(wanted.workload, len(schedule), wanted.load.seed, None)
    endpoint = Endpoint(base_url, "simulated", "url", api_key_env=api_key_env, ca_cert=ca_cert)
    return drive(wanted, schedule, prompts, endpoint, run, progress).facts


def table(run: RunDirectory, name: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(run / name).to_pydict()
    return columns


def workers_running(folder: Path) -> list[int]:
    """Ids of load worker processes whose orders lie below `folder`."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                command = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if b"runners.load.worker" in command and str(folder).encode() in command:
                found.append(int(place.name))
    return found

"""Targets: each yields an Endpoint that answers, and cleans up after itself."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint


@dataclass(frozen=True)
class TargetOptions:
    """What the command line, not the profile, says about a target.

    engine_python: an interpreter that has the engine (target local).
    extra_engine_args: more arguments, as on the engine's own command line (target local).
    ca_cert: a PEM file to trust for https in place of the system's store.
    port: where a local engine listens; by default a free port.
    keep: leave what was deployed (target kserve).
    cold_starts: how often to stop and start it before the load (target kserve).
    """

    engine_python: Path | None = None
    extra_engine_args: tuple[str, ...] = ()
    ca_cert: Path | None = None
    port: int | None = None
    keep: bool = False
    cold_starts: int = 0


class _Target(Protocol):
    def open_endpoint(
        self, profile: Profile, run: RunDirectory, progress: Progress, options: TargetOptions
    ) -> AbstractContextManager[Endpoint]: ...


def open_endpoint(
    profile: Profile, run: RunDirectory, progress: Progress, options: TargetOptions
) -> AbstractContextManager[Endpoint]:
    """Make `profile.target` answer; leaving the context ends what was started.

    Writes lifecycle.json. Raises UsageError for settings that cannot be, TargetError where
    the target cannot be started, reached or used.
    """
    target = cast(_Target, import_module(f"runners.targets.{profile.target}"))
    return target.open_endpoint(profile, run, progress, options)

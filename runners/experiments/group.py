"""The group directory: what was asked, which rounds were begun, and what became of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runners.errors import UsageError
from runners.experiments.comparison import comparison_of
from runners.experiments.find_max import FindMax
from runners.experiments.repeats import Precision, Repeats
from runners.experiments.rounds import Experiment, Finished, Round
from runners.experiments.saturation import Saturation
from runners.experiments.sweep import sweep_again
from runners.profiles.inherit import Override
from runners.profiles.load import Loaded, load_profile
from runners.run import write_plan
from runners.rundir import RunDirectory, fresh_path, writing
from runners.targets import TargetOptions

SCHEMA_VERSION = 1
_FAILED: dict[str, Any] = {"verdict": {"status": "invalid", "reasons": []}, "metrics": {}}
_FRESH = "every round has prompts of its own, so that none finds another's in the prefix cache"
_LISTED = (
    "every round sends the workload's own list: those after the first may find their prompts "
    "in the prefix cache"
)


@dataclass(frozen=True)
class Begun:
    """A round that was begun. run, start: names of directories under runs/ and starts/."""

    round: Round
    run: str
    start: str


@dataclass
class Group:
    """A group on disk and in memory; group.json is written after every change.

    loaded: the profile that all rounds share. findings: what the validator said of it.
    rounds: in the order in which they were begun. unfinished: runs that were moved aside.
    failures: rounds of a sweep that could not be made, with the reason; they are not retried.
    """

    directory: RunDirectory
    loaded: Loaded
    findings: list[dict[str, Any]]
    experiment: Experiment
    options: TargetOptions
    rounds: list[Begun] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failures: list[tuple[Round, str]] = field(default_factory=list)

    def profile(self, side: str | None) -> Loaded:
        """The profile of a side; of the group itself for None. Raises ProfileError."""
        return self.loaded if side is None else load_profile(self.side(side) / "profile.yaml")

    def side(self, name: str) -> RunDirectory:
        return RunDirectory(self.directory / "sides" / name)

    def run(self, name: str) -> RunDirectory:
        return RunDirectory(self.directory / "runs" / name)

    def finished(self) -> list[Finished]:
        """Rounds with results that no one interrupted, in order of their index."""
        found = [
            Finished(begun.round, begun.run, results)
            for begun in self.rounds
            if (results := self.run(begun.run).read_json("results.json")) is not None
            and not results.get("interrupted")
        ]
        return sorted(found, key=lambda each: each.round.index)

    def next_round(self) -> Round | None:
        gone = [Finished(each, "", _FAILED) for each, _ in self.failures]
        return self.experiment.next_round(self.loaded.profile, [*self.finished(), *gone])


def create_group(
    loaded: Loaded,
    experiment: Experiment,
    options: TargetOptions,
    out: Path,
    sides: Mapping[str, Loaded] | None = None,
) -> Group:
    """Make `out/<UTC time>-<name>-<short id>/`, with a profile for each side.

    Raises OutputError.
    """
    directory = RunDirectory(fresh_path(out, loaded.profile.name))
    with writing(directory.path):
        (directory / "runs").mkdir(parents=True)
    findings = [asdict(finding) for finding in loaded.findings]
    write_plan(directory, loaded.profile, findings)
    for name, side in (sides or {}).items():
        place = RunDirectory(directory / "sides" / name)
        with writing(place.path):
            place.path.mkdir(parents=True)
        write_plan(place, side.profile, [asdict(finding) for finding in side.findings])
    return Group(directory, loaded, findings, experiment, options)


def open_group(reference: str, out: Path) -> Group:
    """A group by its path, or by its name below `out`. Raises UsageError where there is none."""
    places = [Path(reference).expanduser(), out / reference]
    found = next((place for place in places if (place / "group.json").is_file()), None)
    if found is None:
        raise UsageError(
            f"--resume {reference}: no group there (a directory with a group.json, such as "
            f"{out}/<group>)"
        )
    directory = RunDirectory(found)
    try:
        kept = directory.read_json("group.json")
        loaded = load_profile(found / "profile.yaml")
        return Group(
            directory,
            loaded,
            directory.read_json("findings.json") or [],
            _experiment(kept["kind"], kept["settings"]),
            _options(kept["options"]),
            [_begun(each) for each in kept["runs"]],
            list(kept["unfinished"]),
            [(_round(each), each["reason"]) for each in kept.get("failures", [])],
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UsageError(
            f"--resume {reference}: group.json cannot be read ({type(error).__name__}: {error})"
        ) from error


def asked_json(group: Group) -> dict[str, Any]:
    """The part of group.json that says what was asked."""
    profile, options = group.loaded.profile, group.options
    return {
        "schema_version": SCHEMA_VERSION,
        "group_id": group.directory.run_id,
        "profile": profile.name,
        "kind": group.experiment.kind,
        "settings": group.experiment.settings(),
        "options": {
            "engine_python": _text(options.engine_python),
            "ca_cert": _text(options.ca_cert),
        },
        "seeds": {
            "base": profile.load.seed,
            "rule": "base + round - 1",
            "prompts": _FRESH if profile.workload.has_made_lengths else _LISTED,
        },
    }


def round_profile(group: Group, coming: Round) -> Loaded:
    """The group's profile with what this round varies. Raises ProfileError."""
    source = f"round {coming.index + 1} of the group"
    varied = {**coming.varied, "load.seed": coming.seed}
    overrides = [Override(key, value, source) for key, value in varied.items()]
    place = group.directory if coming.side is None else group.side(coming.side)
    return load_profile(place / "profile.yaml", overrides)


def set_aside(group: Group, runs: Sequence[str]) -> list[Path]:
    """Move half runs to unfinished/ and forget their rounds; where they are now."""
    moved = []
    for name in runs:
        run, place = group.run(name), group.directory / "unfinished" / name
        group.rounds = [begun for begun in group.rounds if begun.run != name]
        if run.path.is_dir():
            with writing(place):
                place.parent.mkdir(exist_ok=True)
                run.path.rename(place)
            group.unfinished.append(name)
            moved.append(place)
    return moved


def new_start(group: Group) -> RunDirectory:
    """A directory for the log and the lifecycle of one more start of the engine."""
    starts = group.directory / "starts"
    with writing(starts):
        count = len(list(starts.iterdir())) if starts.is_dir() else 0
        start = RunDirectory(starts / str(count + 1))
        start.logs.mkdir(parents=True)
    return start


@contextmanager
def held(group: Group) -> Iterator[None]:
    """Keep other commands off the group. Raises UsageError while one is at work on it."""
    import fcntl

    path = group.directory / ".lock"
    with writing(path):
        lock = path.open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{group.directory.path}: another command is at work on this group; wait for it "
                "to end"
            ) from None
        yield


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _options(kept: dict[str, str | None]) -> TargetOptions:
    python, cert = kept["engine_python"], kept["ca_cert"]
    return TargetOptions(
        engine_python=Path(python) if python else None, ca_cert=Path(cert) if cert else None
    )


def _experiment(kind: str, settings: dict[str, Any]) -> Experiment:
    if kind == "saturation":
        return Saturation()
    if kind == "sweep":
        return sweep_again(settings)
    if kind == "find-max":
        return FindMax(settings["precision"])
    if kind == "comparison":
        return comparison_of(settings)
    until = settings["until"]
    return Repeats(settings["repeats"], Precision(**until) if until else None)


def _begun(kept: dict[str, Any]) -> Begun:
    return Begun(_round(kept), kept["run"], kept["start"])


def _round(kept: dict[str, Any]) -> Round:
    return Round(kept["round"] - 1, kept["name"], kept["seed"], kept["varied"], kept.get("side"))

"""The command line's side of groups: --repeats, --until, --saturate and --resume."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.errors import UsageError
from runners.profiles.load import Loaded
from runners.targets import TargetOptions

if TYPE_CHECKING:
    from runners.experiments.group import Group
    from runners.experiments.rounds import Experiment
    from runners.experiments.run_group import GroupOutcome
    from runners.progress import Progress


def start(loaded: Loaded, options: TargetOptions, flags: dict[str, Any]) -> int:
    """Begin a group; with --dry-run print what it would do. Returns the exit code."""
    if flags["vary"]:
        return _sweep(loaded, options, flags)
    experiment = _experiment(flags)
    assert experiment is not None
    first = experiment.next_round(loaded.profile, [])
    if flags["dry_run"]:
        from runners.cli.show import show_plan

        steps = [_rounds_text(experiment)]
        if first is not None:
            steps.append(f"first: {experiment.progress_text(loaded.profile, first)}")
        return show_plan(loaded, options, flags["as_json"], steps)
    from runners.experiments.run_group import start_group

    progress = _progress(flags)
    for finding in loaded.findings:
        progress.note(f"{finding.severity}: {finding.line()}")
    return _told(start_group(loaded, experiment, options, flags["out"], progress), flags)


def _sweep(loaded: Loaded, options: TargetOptions, flags: dict[str, Any]) -> int:
    from runners.cli.flags import overrides
    from runners.experiments.run_group import start_group
    from runners.experiments.sweep import read_axis, sweep_of

    for name in ("saturate", "find_max", "until"):
        if flags[name]:
            raise UsageError(f"--vary and --{name.replace('_', '-')}: give one of them")
    axes = [read_axis(text) for text in flags["vary"]]
    sweep, profiles = sweep_of(str(loaded.path), overrides(flags), axes, flags["repeats"] or 1)
    cells = len(sweep.usable) * len(sweep.loads)
    steps = [
        f"a sweep of {cells} cells, {sweep.repeats} round{'s' * (sweep.repeats > 1)} of each; "
        f"{len(sweep.usable)} starts of a server",
        *(f"refused: {each.name}: {each.refused}" for each in sweep.servers if each.refused),
    ]
    if flags["dry_run"]:
        from runners.cli.show import show_plan

        return show_plan(loaded, options, flags["as_json"], steps)
    progress = _progress(flags)
    for step in steps:
        progress.note(step)
    first = profiles[sweep.usable[0].name]
    return _told(start_group(first, sweep, options, flags["out"], progress, profiles), flags)


def resume(flags: dict[str, Any]) -> int:
    """Finish a group. Returns the exit code; raises UsageError for flags that contradict it."""
    from runners.experiments.group import open_group
    from runners.experiments.run_group import resume_group

    group = open_group(flags["resume"], flags["out"])
    _refuse_contradictions(group, flags)
    if flags["dry_run"]:
        from runners.cli.show import show_plan

        coming = group.next_round()
        text = group.experiment.progress_text(group.loaded.profile, coming) if coming else "nothing"
        steps = [f"finished rounds of {group.directory.path}: {len(group.finished())}"]
        return show_plan(group.loaded, group.options, flags["as_json"], [*steps, f"next: {text}"])
    return _told(resume_group(group, _progress(flags)), flags)


def _progress(flags: dict[str, Any]) -> "Progress":
    from runners.progress import Progress

    return Progress(quiet=flags["quiet"] or flags["as_json"])


def _experiment(flags: dict[str, Any]) -> "Experiment | None":
    """What the flags ask for; None where they ask for no group. Raises UsageError."""
    from runners.experiments.find_max import FindMax
    from runners.experiments.repeats import read_precision, repeats_of
    from runners.experiments.saturation import Saturation

    repeats, until = flags["repeats"], flags["until"]
    if flags["saturate"] and flags["find_max"]:
        raise UsageError("--saturate and --find-max: give one of them")
    if flags["find_max"]:
        if repeats is not None or until is not None:
            other = "--until" if repeats is None else "--repeats"
            raise UsageError(f"--find-max makes one run per load; leave {other} out")
        return FindMax()
    if flags["saturate"]:
        if repeats is not None or until is not None:
            other = "--until" if repeats is None else "--repeats"
            raise UsageError(f"--saturate makes one run per load; leave {other} out")
        return Saturation()
    if repeats is None and until is None:
        return None
    return repeats_of(repeats, None if until is None else read_precision(until))


def _rounds_text(experiment: "Experiment") -> str:
    kept = experiment.settings()
    if experiment.kind in ("sweep", "comparison"):
        return f"a {experiment.kind}"
    if experiment.kind == "find-max":
        return "a group: twice the load until an objective breaks, then between the two"
    if "repeats" not in kept:
        return "a group: twice the load in each round, until output throughput stops to grow"
    if kept["until"]:
        until = kept["until"]
        return (
            f"a group of at most {kept['repeats']} rounds, until {until['metric']} is known to "
            f"±{until['percent']:g} %"
        )
    return f"a group of {kept['repeats']} rounds at one start of the server"


def _refuse_contradictions(group: "Group", flags: dict[str, Any]) -> None:
    """The group's settings are those it was begun with."""
    from runners.cli.flags import overrides
    from runners.experiments.sides import differing
    from runners.profiles.load import load_profile

    where = f"--resume {flags['resume']}"
    asked = _experiment(flags)
    if asked is not None and asked != group.experiment:
        raise UsageError(
            f"{where}: this group was begun with {_settings_text(group.experiment)}; leave "
            "--repeats, --until and --saturate out, or begin a new group"
        )
    profile = flags["profile"] or str(group.directory / "profile.yaml")
    given = load_profile(profile, overrides({**flags, "profile": profile})).profile
    theirs = group.loaded.profile.model_dump(mode="json")
    for key, ours, other in differing(theirs, given.model_dump(mode="json")):
        raise UsageError(
            f"{where}: {key} is {json.dumps(ours)} in this group, and {json.dumps(other)} by the "
            "flags given; leave them out, or begin a new group"
        )
    for name in ("engine_python", "ca_cert"):
        kept = getattr(group.options, name)
        if flags[name] is not None and flags[name].absolute() != kept:
            raise UsageError(
                f"{where}: this group was begun with {_flag(name, kept)}; leave --"
                f"{name.replace('_', '-')} out, or begin a new group"
            )


def _flag(name: str, value: Path | None) -> str:
    flag = f"--{name.replace('_', '-')}"
    return f"{flag} {value}" if value else f"no {flag}"


def _settings_text(experiment: "Experiment") -> str:
    kept = experiment.settings()
    if experiment.kind in ("saturation", "find-max"):
        return "--saturate" if experiment.kind == "saturation" else "--find-max"
    if experiment.kind == "comparison":
        return f"the sides {', '.join(kept['sides'])}"
    if experiment.kind == "sweep":
        return "--vary"
    until = kept["until"]
    more = f" --until {until['metric']}:{until['percent']:g}" if until else ""
    return f"--repeats {kept['repeats']}{more}"


def _told(outcome: "GroupOutcome", flags: dict[str, Any]) -> int:
    from runners.cli.main import complain
    from runners.experiments.run_group import resume_line

    resumable = outcome.summary.get("state") != "done"
    if flags["as_json"]:
        report = outcome.group / "report.html"
        told = outcome.summary | {
            "paths": {
                "group": str(outcome.group.path),
                "results": str(outcome.group / "results.csv"),
                "report": str(report) if report.exists() else None,
            },
            "resume": resume_line(outcome.group) if resumable else None,
            "exit_code": int(outcome.exit_code),
            "error": outcome.error,
        }
        print(json.dumps(told, allow_nan=False))
    elif outcome.summary.get("runs"):
        from rich.console import Console

        from runners.reports.group_console import print_group

        print_group(outcome.summary, outcome.group, Console())
    if outcome.error:
        complain(outcome.error)
    return outcome.exit_code

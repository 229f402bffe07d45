"""Run a group: one start of the engine, then round after round until its experiment is done."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.errors import BenchError, Exit, TargetError, UsageError, worst
from runners.experiments.group import (
    Begun,
    Group,
    create_group,
    held,
    new_start,
    round_profile,
    set_aside,
)
from runners.experiments.rounds import Experiment, Round
from runners.experiments.summary import is_complete, write_summary
from runners.experiments.sweep import Sweep
from runners.profiles.load import Loaded
from runners.progress import Progress
from runners.run import drive_round, measure_and_report, signals_interrupt, write_plan
from runners.rundir import RunDirectory, writing
from runners.targets import TargetOptions
from runners.targets.endpoint import Endpoint


@dataclass(frozen=True)
class GroupOutcome:
    """How a group ended. summary: the content of its group.json."""

    group: RunDirectory
    summary: dict[str, Any]
    exit_code: Exit
    error: str | None = None


def start_group(
    loaded: Loaded,
    experiment: Experiment,
    options: TargetOptions,
    out: Path,
    progress: Progress,
    sides: Mapping[str, Loaded] | None = None,
) -> GroupOutcome:
    """Make a group below `out` and run it. sides: the profiles of a comparison, by name.

    Raises UsageError for a profile that the experiment cannot be made with, OutputError when
    the group directory cannot be made. Every later failure is in the outcome.
    """
    experiment.next_round(loaded.profile, [])
    return _conducted(create_group(loaded, experiment, options, out, sides), progress)


def resume_group(group: Group, progress: Progress) -> GroupOutcome:
    """Finish a group: finished runs stay as they are, half runs are moved aside and redone.

    Raises UsageError while another command is at work on it.
    """
    return _conducted(group, progress)


def _conducted(group: Group, progress: Progress) -> GroupOutcome:
    codes: list[Exit] = []
    error: str | None = None
    state = "done"
    with held(group):
        try:
            with signals_interrupt():
                _tidy(group, progress)
                write_summary(group, "running")
                state = _drive_all(group, progress)
        except BenchError as failure:
            codes.append(failure.exit_code)
            state, error = "failed", str(failure)
            if group.finished():
                error += f"; finish the group with: {resume_line(group.directory)}"
        except KeyboardInterrupt:
            state = "interrupted"
        if state == "interrupted":
            codes.append(Exit.INTERRUPTED)
            error = f"interrupted {_where(group)}; finish it with: {resume_line(group.directory)}"
            _measure_half_run(group, progress)
        return _outcome(group, state, codes, error, progress)


def resume_line(directory: RunDirectory) -> str:
    """The command that finishes a group."""
    return f"./bench.sh --resume {directory.path}"


def _where(group: Group) -> str:
    done, begun = len(group.finished()), group.rounds
    if begun and begun[-1].run not in {each.run for each in group.finished()}:
        return f"in {begun[-1].round.name}, with {done} finished"
    return f"after {done} finished rounds"


def _measure_half_run(group: Group, progress: Progress) -> None:
    """After the engine has gone: a person who interrupts wants that to end first."""
    runs = [group.run(begun.run) for begun in group.rounds[-1:]]
    for run in runs:
        if (run / "environment.json").exists() and not (run / "results.json").exists():
            try:
                measure_and_report(run, progress)
            except BenchError as failure:
                progress.note(f"what it left could not be measured: {failure}")


def _tidy(group: Group, progress: Progress) -> None:
    """Leave only whole runs; write what a kill kept a finished one from."""
    finished = {each.run for each in group.finished()}
    # A kill can leave a directory that group.json does not list yet, or lists in vain.
    begun = [each.run for each in group.rounds]
    there = sorted(path.name for path in (group.directory / "runs").iterdir())
    half = [name for name in dict.fromkeys([*begun, *there]) if name not in finished]
    for place in set_aside(group, half):
        progress.note(f"half a run is redone; what it left is now in {place}")
    for name in sorted(finished):
        if not is_complete(group.run(name)):
            measure_and_report(group.run(name), progress)


def _drive_all(group: Group, progress: Progress) -> str:
    """Serve once and drive what is left of the group; the state it is in afterwards."""
    from runners.load.schedule import make_schedule

    coming = group.next_round()
    if coming is None:
        progress.note("every round is finished; nothing is left to do")
        return "done"
    # Planned first: a trace that cannot be read must not cost a deployment.
    first = round_profile(group, coming).profile
    make_schedule(first.load, first.workload)
    state = "done"
    served: dict[str | None, tuple[RunDirectory, Endpoint]] = {}
    with ExitStack() as started:
        while coming is not None and state == "done":
            if coming.side not in served and not group.experiment.together:
                started.close()
                served.clear()
            try:
                if coming.side not in served:
                    served[coming.side] = _start(group, coming.side, started, progress)
                state = _drive_one(group, coming, *served[coming.side], progress)
            except (TargetError, UsageError) as failure:
                if not isinstance(group.experiment, Sweep):
                    raise
                _give_up(group, coming, failure, progress, server=coming.side not in served)
            if state == "stopped" and isinstance(group.experiment, Sweep):
                state = "done"
                started.close()
                served.clear()
            coming = group.next_round()
    return state


def _give_up(
    group: Group, coming: Round, failure: BenchError, progress: Progress, *, server: bool
) -> None:
    """Record what a sweep could not make: one cell, or all that is left of a server."""
    set_aside(group, [begun.run for begun in group.rounds if begun.round.index == coming.index])
    left: Round | None = coming
    while left is not None and (left is coming or (server and left.side == coming.side)):
        group.failures.append((left, str(failure)))
        progress.note(f"{left.name}: failed: {failure}")
        left = group.next_round()
    write_summary(group, "running")


def _start(
    group: Group, side: str | None, started: ExitStack, progress: Progress
) -> tuple[RunDirectory, Endpoint]:
    """Make a side answer; it does until `started` is closed."""
    from runners.targets import open_endpoint

    start = new_start(group)
    profile = group.profile(side).profile
    if side is not None:
        progress.note(f"{side}: starting")
    return start, started.enter_context(open_endpoint(profile, start, progress, group.options))


def _drive_one(
    group: Group, coming: Round, start: RunDirectory, endpoint: Endpoint, progress: Progress
) -> str:
    """One round into a run directory of its own; whether the group can go on (`done`)."""
    from runners.load.schedule import make_schedule

    profile = round_profile(group, coming).profile
    run = RunDirectory.create(group.directory / "runs", f"{profile.name}-{coming.name}")
    group.rounds.append(Begun(coming, run.run_id, start.run_id))
    write_summary(group, "running")
    progress.note(group.experiment.progress_text(group.loaded.profile, coming))
    write_plan(run, profile, group.findings)
    with writing(run / "lifecycle.json"):
        shutil.copyfile(start / "lifecycle.json", run / "lifecycle.json")
    schedule = make_schedule(profile.load, profile.workload)
    if drive_round(profile, schedule, endpoint, run, progress):
        return "interrupted"
    results = measure_and_report(run, progress)
    write_summary(group, "running")
    if not results["requests"]["ok"]:
        progress.note(f"{coming.name}: no request was answered; the group stops here")
        return "stopped"
    return "done"


def _outcome(
    group: Group, state: str, codes: list[Exit], error: str | None, progress: Progress
) -> GroupOutcome:
    from runners.reports.group_html import write_group_report

    summary: dict[str, Any] = {}
    try:
        summary = write_summary(group, state)
        with progress.step("Writing the group's report.html"):
            write_group_report(group.directory)
    except BenchError as failure:
        codes.append(failure.exit_code)
        error = error or str(failure)
    if summary and summary["verdict"]["status"] == "invalid":
        codes.append(Exit.RUN_INVALID)
    return GroupOutcome(group.directory, summary, worst(*codes), error)

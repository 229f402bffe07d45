"""Cold starts as a measurement: stop the service, start it, wait for the first token; N times."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

from runners.cluster.api import (
    MERGE,
    ApiError,
    Connection,
    Object,
    listed,
    path_of,
    request,
)
from runners.cluster.connect import explained
from runners.cluster.seen import Goal, name_of
from runners.cluster.session import Session, Started, bring_up
from runners.errors import TargetError
from runners.rundir import RunDirectory

STOP = "serving.kserve.io/stop"
_STOPPED_S = 300.0
_LOOK_S = 0.5


def measure_cold_starts(
    session: Session, first: Started, stack: ExitStack, count: int, run: RunDirectory
) -> Started:
    """Stop and start the service `count` times; returns the last start.

    The first start, which also pulled the image, is kept apart. Writes coldstarts.json:
    {"first": start, "starts": [start], "summary": {phase: {"p50_s", "max_s"}}} with start =
    {"phases": [{"name", "start_unix_s", "duration_s"}], "first_token_s": s}.
    stack: holds what the running start needs; it is emptied and filled again.
    """
    starts: list[Started] = []
    latest = first
    for number in range(1, count + 1):
        stack.close()
        goal = latest.readiness.goal
        with session.progress.step(f"stopping {goal.service}"):
            _stop(session.connection, goal)
        before = frozenset(name_of(pod) for pod in latest.pods) | goal.before
        started_s = session.connection.clock.now()
        _annotate(session.connection, goal, "false")
        goal = replace(goal, started_s=started_s, before=before)
        latest = bring_up(session, goal, stack, f"cold start {number} of {count}")
        starts.append(latest)
        # Written after each: an interrupt keeps those that are done.
        run.write_json("coldstarts.json", _summary(session.connection, first, starts))
    return latest


def _stop(connection: Connection, goal: Goal) -> None:
    """Have KServe delete the workload and wait until its pods are gone. Raises TargetError."""
    clock = connection.clock
    _annotate(connection, goal, "true")
    give_up = clock.now() + _STOPPED_S
    while True:
        try:
            left = listed(connection, "Pod", goal.selector)
        except ApiError as error:
            raise explained(error, connection, f"see the pods of {goal.service}") from error
        if not left:
            return
        if clock.now() > give_up:
            names = ", ".join(map(name_of, left))
            raise TargetError(
                f"{goal.kind} {goal.service} did not stop within {_STOPPED_S:g} s ({STOP}); "
                f"still there: {names}"
            )
        clock.sleep(_LOOK_S)


def _annotate(connection: Connection, goal: Goal, stopped: str) -> None:
    path = path_of(connection, goal.kind, goal.service, version=goal.version)
    body: Object = {"metadata": {"annotations": {STOP: stopped}}}
    try:
        request(connection, "patch", path, body=body, content_type=MERGE)
    except ApiError as error:
        raise explained(error, connection, f"stop and start {goal.service}") from error


def _summary(connection: Connection, first: Started, starts: Sequence[Started]) -> dict[str, Any]:
    to_unix_s = connection.clock.unix() - connection.clock.now()
    names = dict.fromkeys(phase.name for start in starts for phase in start.phases)
    durations = {
        name: [
            phase.end_s - phase.start_s
            for start in starts
            for phase in start.phases
            if phase.name == name
        ]
        for name in names
    }
    durations["first token from zero"] = [start.startup_s for start in starts]
    return {
        "first": _start(first, to_unix_s),
        "starts": [_start(start, to_unix_s) for start in starts],
        "summary": {
            name: {"p50_s": round(median(values), 3), "max_s": round(max(values), 3)}
            for name, values in durations.items()
        },
    }


def _start(start: Started, to_unix_s: float) -> dict[str, Any]:
    return {
        "phases": [
            {
                "name": phase.name,
                "start_unix_s": round(phase.start_s + to_unix_s, 3),
                "duration_s": round(phase.end_s - phase.start_s, 3),
            }
            for phase in start.phases
        ],
        "first_token_s": round(start.startup_s, 3),
    }

"""Cold starts as a measurement: N times from nothing to the first token.

A service with a fixed number of replicas is stopped and started (serving.kserve.io/stop). One
that scales to zero is left alone until it has; then a request wakes it, and waits.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

from runners.cluster.api import MERGE, ApiError, Connection, Object, listed, path_of, request
from runners.cluster.connect import explained
from runners.cluster.seen import Goal, name_of
from runners.cluster.session import Session, Started, bring_up
from runners.cluster.wake import wake
from runners.errors import TargetError
from runners.rundir import RunDirectory

STOP = "serving.kserve.io/stop"
_STOPPED_S = 300.0
# KEDA waits five minutes before it scales to zero, Knative one and a half.
_SCALED_DOWN_S = 1800.0
_LOOK_S = 0.5


def measure_cold_starts(
    session: Session, first: Started, stack: ExitStack, count: int, run: RunDirectory
) -> Started:
    """Start the service `count` times from nothing; returns the last start.

    The first start, which also pulled the image, is kept apart. Writes coldstarts.json:
    {"by": "stop" | "request", "first": start, "starts": [start], "summary": {phase:
    {"p50_s", "max_s"}}} with start = {"phases": [{"name", "start_unix_s", "duration_s"}],
    "first_token_s": s}. stack: holds what the running start needs; emptied and filled again.
    Raises TargetError.
    """
    by_request = session.profile.serving.autoscaling.min_replicas == 0
    if by_request and first.route.way == "port-forward":
        raise TargetError(
            "cold starts from zero need a way to the model that does not lead to one pod: "
            "run inside of the cluster, or set serving.connect to gateway or node-port"
        )
    starts: list[Started] = []
    latest = first
    for number in range(1, count + 1):
        title = f"cold start {number} of {count}"
        if by_request:
            latest = _by_request(session, latest, stack, title)
        else:
            latest = _by_stopping(session, latest, stack, title)
        starts.append(latest)
        # Written after each: an interrupt keeps those that are done.
        told = _summary(session.connection, first, starts)
        run.write_json("coldstarts.json", {"by": "request" if by_request else "stop", **told})
    return latest


def _by_stopping(session: Session, latest: Started, stack: ExitStack, title: str) -> Started:
    connection, goal = session.connection, latest.readiness.goal
    stack.close()
    with session.progress.step(f"stopping {goal.service}"):
        _annotate(connection, goal, "true")
        _wait_until_gone(connection, goal, _STOPPED_S, f"after {STOP} was set")
    goal = _next_goal(connection, latest)
    _annotate(connection, goal, "false")
    return bring_up(session, goal, stack, title)


def _by_request(session: Session, latest: Started, stack: ExitStack, title: str) -> Started:
    connection, goal = session.connection, latest.readiness.goal
    stack.close()
    with session.progress.step(f"waiting until {goal.service} has scaled to zero"):
        _wait_until_gone(connection, goal, _SCALED_DOWN_S, "with no request to answer")
    return wake(session, _next_goal(connection, latest), latest, stack, title)


def _next_goal(connection: Connection, latest: Started) -> Goal:
    """The same service, from now on, and other pods than those there were."""
    goal = latest.readiness.goal
    before = frozenset(name_of(pod) for pod in latest.pods) | goal.before
    return replace(goal, started_s=connection.clock.now(), before=before)


def _wait_until_gone(connection: Connection, goal: Goal, within_s: float, when: str) -> None:
    """Wait until the service has no pods. Raises TargetError when it keeps some."""
    clock = connection.clock
    give_up = clock.now() + within_s
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
                f"{goal.kind} {goal.service} still has pods {within_s:g} s {when}: {names}"
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

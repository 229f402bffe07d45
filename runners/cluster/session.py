"""One start of a service: wait for it, reach it, have one token from it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runners.cluster.api import Connection, Object
from runners.cluster.causes import failure
from runners.cluster.first_token import first_token
from runners.cluster.reach import Route, Served, reach
from runners.cluster.readiness import Readiness
from runners.cluster.seen import Goal, event_line, is_true, name_of
from runners.cluster.symptoms import evidence
from runners.cluster.timeline import Phase
from runners.cluster.wait import DeployError, wait_until_ready
from runners.cluster.watch import Watches
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.targets.lifecycle import Lifecycle

# Our search for a way to the model: a phase, but no part of the model's start.
CONNECT = "connect"


@dataclass(frozen=True)
class Session:
    """What every start of a service has in common.

    model: the name that requests are expected to use. owned: labels and annotations of our
    objects, for a Service of our own; None: nothing may be created.
    """

    connection: Connection
    profile: Profile
    progress: Progress
    logs: Path
    model: str
    owned: Object | None = None
    ca_cert: Path | None = None


@dataclass(frozen=True)
class Started:
    """A service that answers. model: the name it answers to. watches: follow it still."""

    readiness: Readiness
    watches: Watches
    route: Route
    model: str
    phases: tuple[Phase, ...]

    @property
    def startup_s(self) -> float:
        """From the request that created it to the first token, without our search for a way."""
        searched = sum(each.end_s - each.start_s for each in self.phases if each.name == CONNECT)
        return self.phases[-1].end_s - self.readiness.goal.started_s - searched

    @property
    def pods(self) -> list[Object]:
        return self.readiness.seen.pods

    @property
    def events(self) -> list[str]:
        """All that was told about it, one line each, oldest first."""
        return [event_line(event) for event in self.readiness.seen.events()]


@contextmanager
def evidence_kept(lifecycle: Lifecycle, progress: Progress) -> Iterator[None]:
    """Show what proves a failed start, and keep it in lifecycle.json."""
    try:
        yield
    except DeployError as error:
        lifecycle.tell("evidence", list(error.failure.evidence))
        for line in error.failure.evidence:
            progress.note(f"  {line}")
        raise


def bring_up(session: Session, goal: Goal, stack: ExitStack, title: str) -> Started:
    """Follow a start from goal.started_s to the first token, telling phase after phase.

    What the route needs, and the watches, stay open as long as the stack.
    Raises TargetError, with the logs of the pods kept.
    """
    connection = session.connection
    readiness = Readiness(goal, connection.server)
    watches = stack.enter_context(Watches(connection, goal.wanted()))
    with session.progress.step(title) as step:
        told = teller(session.progress, readiness, step.detail)
        wait_until_ready(connection, watches, readiness, session.logs, told)
        told("")
        phases = _phases(readiness)
        ready_s = connection.clock.now()
        route = _route(session, readiness, stack)
        connected_s = connection.clock.now()
        model = _answering(session, readiness, route)
        phases.append(Phase(CONNECT, phases[-1].end_s if phases else ready_s, connected_s))
        phases.append(Phase("first token", connected_s, connection.clock.now()))
        session.progress.note(f"{_told(phases[-1])}; by {route.way}, {route.base_url}")
    return Started(readiness, watches, route, model, tuple(phases))


def _route(session: Session, readiness: Readiness, stack: ExitStack) -> Route:
    served = Served(readiness.seen.service or {}, _ready(readiness), session.owned)
    return reach(session.connection, served, session.profile, stack, session.ca_cert)


def _answering(session: Session, readiness: Readiness, route: Route) -> str:
    """The name that answers with a token. Raises DeployError."""
    clock, goal = session.connection.clock, readiness.goal
    left = goal.started_s + goal.timeout_s - clock.now()
    try:
        return first_token(route, session.profile, session.model, clock, left, session.ca_cert)
    except TargetError as error:
        ready = _ready(readiness)
        told = failure("no-token", name_of(ready[0]) if ready else None, said=error)
        raise DeployError(replace(told, evidence=evidence(readiness.seen, told))) from error


def _ready(readiness: Readiness) -> list[Object]:
    return [pod for pod in readiness.seen.pods if is_true(pod, "Ready")]


def _phases(readiness: Readiness) -> list[Phase]:
    names = [name_of(pod) for pod in readiness.seen.pods]
    return readiness.timeline.phases(names, max(1, readiness.goal.pods))


def teller(
    progress: Progress, readiness: Readiness, detail: Callable[[str], None]
) -> Callable[[str], None]:
    """Says each phase once when it is over, and shows what is waited for meanwhile."""
    told: set[str] = set()

    def tell(waits_for: str) -> None:
        for phase in _phases(readiness):
            if phase.name not in told:
                told.add(phase.name)
                progress.note(_told(phase))
        detail(waits_for)

    return tell


def _told(phase: Phase) -> str:
    return f"  {phase.name}: {phase.end_s - phase.start_s:.1f} s"

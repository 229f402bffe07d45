"""A start that a request causes: the service has scaled to zero, and the request waits."""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from runners.cluster.causes import failure
from runners.cluster.clock import Clock
from runners.cluster.logs import hear, save_logs
from runners.cluster.readiness import Readiness
from runners.cluster.seen import Goal, name_of
from runners.cluster.session import Session, Started, teller
from runners.cluster.timeline import Phase
from runners.cluster.wait import DeployError
from runners.cluster.watch import Watches
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.targets.first_answer import ask_one_token
from runners.targets.trust import trusted

_LOOK_S = 0.25
_AGAIN_S = 0.5
_CONNECT_S = 10.0


@dataclass
class _Request:
    """One question, repeated until there is an answer: an activator holds it, others refuse it.

    said: why the last try failed.
    """

    clock: Clock
    give_up_s: float
    done: threading.Event = field(default_factory=threading.Event)
    answered_s: float | None = None
    said: str = "nothing"

    def ask(
        self, base_url: str, host: str | None, model: str, profile: Profile, ca: Path | None
    ) -> None:
        import httpx

        try:
            with httpx.Client(
                base_url=base_url,
                headers={"Host": host} if host else {},
                trust_env=False,
                verify=trusted(ca),
                timeout=httpx.Timeout(profile.serving.startup_timeout_s, connect=_CONNECT_S),
            ) as client:
                while not self.done.is_set() and self.clock.now() < self.give_up_s:
                    try:
                        ask_one_token(client, model, profile.workload.api)
                        self.answered_s = self.clock.now()
                        return
                    except (httpx.TransportError, TargetError) as error:
                        self.said = str(error) or type(error).__name__
                    self.clock.sleep(_AGAIN_S)
        finally:
            self.done.set()


def wake(session: Session, goal: Goal, latest: Started, stack: ExitStack, title: str) -> Started:
    """Send one request over the way of the latest start and follow what it causes.

    The start's time is the request's: from when it was first sent to its token.
    Raises DeployError. The watches stay open as long as the stack.
    """
    connection, route = session.connection, latest.route
    readiness = Readiness(goal, connection.server)
    watches = stack.enter_context(Watches(connection, goal.wanted()))
    waiting = _Request(connection.clock, goal.started_s + goal.timeout_s)
    asked = (route.base_url, route.host_header, latest.model, session.profile, session.ca_cert)
    thread = threading.Thread(target=waiting.ask, args=asked, name="first request", daemon=True)
    try:
        with session.progress.step(title) as step:
            tell = teller(session.progress, readiness, step.detail)
            thread.start()
            while not waiting.done.is_set():
                change = watches.next(_LOOK_S)
                while change is not None:
                    readiness.take(change)
                    change = watches.next(0.0)
                hear(connection, readiness, session.logs)
                verdict = readiness.verdict(connection.clock.now())
                if verdict.failure is not None:
                    save_logs(connection, readiness.seen.pods, session.logs)
                    raise DeployError(verdict.failure)
                tell(verdict.detail)
    finally:
        waiting.done.set()
    if waiting.answered_s is None:
        raise DeployError(failure("no-token", said=waiting.said))
    pods = [name_of(pod) for pod in readiness.seen.pods]
    phases = readiness.timeline.phases(pods, 1)
    since = phases[-1].end_s if phases else goal.started_s
    phases.append(Phase("first token", min(since, waiting.answered_s), waiting.answered_s))
    return Started(readiness, watches, route, latest.model, tuple(phases))

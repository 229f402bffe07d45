"""Wait until it is ready, or say why it will not be."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runners.cluster.api import Connection
from runners.cluster.causes import Failure
from runners.cluster.logs import hear, save_logs
from runners.cluster.readiness import Readiness
from runners.cluster.seen import name_of, statuses
from runners.cluster.watch import Watches
from runners.engines.vllm import plain
from runners.errors import TargetError

_LOOK_S = 0.25
# Events travel apart from the states that they explain; real seconds, whatever the clock.
_EVIDENCE_S = 0.75


class DeployError(TargetError):
    """A start-up that failed: the paragraph that names the cause, and what proves it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.paragraph())
        self.failure = failure

    def lines(self) -> list[str]:
        return [str(self), *self.failure.evidence]


def wait_until_ready(
    connection: Connection,
    watches: Watches,
    readiness: Readiness,
    logs: Path,
    say: Callable[[str], None],
) -> None:
    """Follow changes until the verdict is ready.

    say: told what is waited for, whenever there is something to look at. Raises DeployError,
    with the logs of all pods kept.
    """
    failed_at: float | None = None
    while True:
        change = watches.next(_LOOK_S)
        while change is not None:
            readiness.take(change)
            change = watches.next(0.0)
        hear(connection, readiness, logs)
        verdict = readiness.verdict(connection.clock.now())
        if verdict.failure is None:
            failed_at = None
        elif failed_at is None:
            failed_at = time.monotonic()
        elif time.monotonic() - failed_at >= _EVIDENCE_S:
            save_logs(connection, readiness.seen.pods, logs)
            raise DeployError(_with_last_words(verdict.failure, readiness, logs))
        if verdict.state == "ready":
            return
        say(verdict.detail)


def _with_last_words(failure: Failure, readiness: Readiness, logs: Path) -> Failure:
    """Where only time ran out, the end of the log says what it was at."""
    pod = next((each for each in readiness.seen.pods if name_of(each) == failure.subject), None)
    if failure.code != "too-slow" or pod is None:
        return failure
    running = [status["name"] for _, status in statuses(pod) if status["state"].get("running")]
    path = logs / f"{failure.subject}-{running[-1] if running else ''}.log"
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    last = next((line for line in reversed(lines) if line.strip()), None)
    if last is None:
        return failure
    return replace(failure, text=f"{failure.text}; its log ends: {plain(last).strip()[:300]}")

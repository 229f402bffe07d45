"""Is it ready, will it be? A state machine over what is seen; it asks nobody anything.

Standard mode's ProgressDeadlineExceeded and KServe's FailedToLoad both heal by themselves
and end nothing here; the deadline is our own.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from runners.cluster.api import PATIENCE_S, Object
from runners.cluster.causes import Failure, failure
from runners.cluster.seen import Goal, Seen, condition, engine_status, is_true, name_of, statuses
from runners.cluster.symptoms import Crash, Heard, crashes, evidence, symptoms
from runners.cluster.timeline import Timeline
from runners.cluster.watch import Change

CREDENTIALS_S = 10.0


@dataclass(frozen=True)
class Verdict:
    """waiting: `detail` says for what. failed: `failure` says why."""

    state: Literal["waiting", "ready", "failed"]
    detail: str = ""
    failure: Failure | None = None


@dataclass
class Readiness:
    """Feed it changes and what logs say; ask it for the verdict at a time."""

    goal: Goal
    server: str = "the cluster"
    heard: Heard = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = Seen(self.goal)
        self.timeline = Timeline(self.goal.started_s)
        self._since: dict[object, float] = {}

    def take(self, change: Change) -> None:
        self.seen.take(change)
        self.timeline.take(change, self.seen.pods)

    def unheard(self) -> list[Crash]:
        """Crashes whose log nobody has read yet."""
        found = [crash for pod in self.seen.pods for crash in crashes(pod)]
        return [crash for crash in found if crash.key not in self.heard]

    def verdict(self, now_s: float) -> Verdict:
        """The state at a time on the clock of the changes."""
        told = self._lost(now_s) or self._failed(now_s)
        if told is not None:
            return Verdict("failed", failure=replace(told, evidence=evidence(self.seen, told)))
        waits_for = self._waits_for()
        if waits_for is None:
            return Verdict("ready")
        if now_s - self.goal.started_s > self.goal.timeout_s:
            seconds = f"{self.goal.timeout_s:g}"
            late = failure("too-slow", self._slowest(), seconds=seconds, state=waits_for)
            return Verdict("failed", failure=replace(late, evidence=evidence(self.seen, late)))
        return Verdict("waiting", detail=waits_for)

    def _lost(self, now_s: float) -> Failure | None:
        """The API server does not answer, or no longer to us."""
        for trouble in self.seen.trouble.values():
            lasts = now_s - trouble.since_s
            if trouble.error.status == 401 and lasts >= CREDENTIALS_S:
                return failure("credentials")
            if lasts >= PATIENCE_S:
                return failure(
                    "api-gone", server=self.server, seconds=f"{lasts:.0f}", said=trouble.error
                )
        return None

    def _failed(self, now_s: float) -> Failure | None:
        """The first symptom that outlasted its grace."""
        present = list(symptoms(self.seen, self.heard))
        keys = {each.key for each in present}
        self._since = {key: since for key, since in self._since.items() if key in keys}
        for each in present:
            since = self._since.setdefault(each.key, now_s)
            if now_s - since >= each.grace_s:
                return each.failure
        return None

    def _waits_for(self) -> str | None:
        """What is missing, as a state to show; None: it is ready."""
        service, goal = self.seen.service, self.goal
        if service is None:
            return f"{goal.kind} {goal.service} is not there yet"
        pods = self.seen.pods
        if len(pods) < goal.pods:
            return f"{len(pods)} of {goal.pods} pods exist"
        waiting = [text for pod in pods if (text := pod_state(pod)) is not None]
        if len(pods) - len(waiting) < goal.pods:
            return waiting[0]
        for deployment in self.seen.deployments:
            if (text := _rolling(deployment)) is not None:
                return text
        if not is_true(service, "Ready"):
            return _not_ready(service, goal)
        return None

    def _slowest(self) -> str | None:
        late = [pod for pod in self.seen.pods if pod_state(pod) is not None]
        return name_of(late[0]) if late else None


def pod_state(pod: Object) -> str | None:
    """What a pod still waits for, in words; None: it is ready."""
    if is_true(pod, "Ready"):
        return None
    if not is_true(pod, "PodScheduled"):
        why = condition(pod, "PodScheduled").get("message") or "no node chosen yet"
        return f"pod {name_of(pod)} is not scheduled: {why}"
    return _initializing(pod) or _starting(pod)


def _initializing(pod: Object) -> str | None:
    name = name_of(pod)
    for init, status in statuses(pod):
        state = status.get("state") or {}
        if init and state.get("running"):
            return f"pod {name} downloads the model ({status['name']})"
        if init and (state.get("terminated") or {}).get("exitCode") != 0:
            reason = (state.get("waiting") or {}).get("reason") or "not started"
            return f"pod {name} waits for {status['name']} ({reason})"
    return None


def _starting(pod: Object) -> str:
    name = name_of(pod)
    status = engine_status(pod)
    state = status.get("state") or {}
    if not state.get("running"):
        reason = (state.get("waiting") or {}).get("reason") or "not started"
        return f"pod {name} waits for its container ({reason})"
    if not status.get("started"):
        return f"pod {name} loads the model"
    return f"pod {name} runs and is not ready yet"


def _rolling(deployment: Object) -> str | None:
    """Whether a Deployment still replaces or adds pods; KServe's own Ready can be older."""
    wanted = deployment["spec"].get("replicas", 1)
    status, generation = deployment.get("status") or {}, deployment["metadata"].get("generation")
    current = generation is None or status.get("observedGeneration") == generation
    if current and status.get("updatedReplicas", 0) == status.get("availableReplicas", 0) == wanted:
        return None
    ready = status.get("availableReplicas", 0)
    return f"deployment {name_of(deployment)} has {ready} of {wanted} replicas available"


def _not_ready(service: Object, goal: Goal) -> str:
    conditions = (service.get("status") or {}).get("conditions") or ()
    false = [c for c in conditions if c.get("status") != "True" and c.get("type") != "Ready"]
    told = [f"{c['type']}: {c.get('message') or c.get('reason') or 'unknown'}" for c in false]
    return f"{goal.kind} {goal.service} is not Ready ({'; '.join(told) or 'no conditions yet'})"

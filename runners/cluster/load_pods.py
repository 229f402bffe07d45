"""Load workers as pods: deployed beside the model, given their orders by this process."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from runners.cluster.api import ApiError, Connection, Object, listed
from runners.cluster.apply import apply, refuse_foreign
from runners.cluster.connect import explained
from runners.cluster.forward import forwarded
from runners.cluster.seen import is_true, name_of, statuses
from runners.cluster.session import Session, Started
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.render import to_yaml
from runners.render.load_workers import PORT, job_name, render_load_workers
from runners.render.names import label_value
from runners.rundir import RunDirectory

_READY_S = 300.0
_LOOK_S = 0.5
_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Crew:
    """Where the workers wait, what they and we share, and where they find the model."""

    addresses: tuple[str, ...]
    base_url: str
    token: str = field(repr=False)


def worker_objects(profile: Profile, run_id: str, token: str) -> dict[str, Object]:
    """Job, Service and Secret of the workers; empty where the profile has no pods."""
    # Our own engine asks for no key.
    return render_load_workers(profile.model_copy(update={"api_key_env": None}), run_id, token)


@contextmanager
def load_pods(
    session: Session, started: Started, run: RunDirectory, run_id: str
) -> Iterator[Crew | None]:
    """Deploy the workers and yield how they are reached; None where the profile has none.

    The Secret with their token is applied and not kept. All of it carries the run's label and
    goes with the run's other objects. Raises TargetError.
    """
    profile, connection = session.profile, session.connection
    token = secrets.token_urlsafe(32)
    objects = worker_objects(profile, run_id, token)
    if not objects:
        yield None
        return
    base_url = inside_address(started.readiness.seen.service or {})
    count = profile.load.workers.pods if profile.load.workers else None
    assert count is not None
    with ExitStack() as stack:
        with session.progress.step(f"starting {count} load workers") as step:
            refuse_foreign(connection, objects.values(), label_value(run_id))
            for name, each in objects.items():
                if each["kind"] != "Secret":
                    run.write_text(f"manifests/{name}", to_yaml(each))
                apply(connection, each)
            pods = _running(connection, job_name(profile), count, step.detail)
            addresses = tuple(_address(connection, pod, stack) for pod in pods)
        yield Crew(addresses, base_url, token)


def inside_address(service: Object) -> str:
    """Where pods reach the model. Raises TargetError where KServe does not tell."""
    status = service.get("status") or {}
    found = (status.get("address") or {}).get("url") or next(
        (each.get("url") for each in status.get("addresses") or ()), None
    )
    if not found:
        raise TargetError(
            f"load.workers.pods: {name_of(service)} has no address inside of the cluster "
            "(status.address.url)"
        )
    return str(found).rstrip("/")


def _running(
    connection: Connection, job: str, count: int, say: Callable[[str], None]
) -> list[Object]:
    """The workers' pods in order of their index, once all run. Raises TargetError."""
    clock = connection.clock
    give_up = clock.now() + _READY_S
    selector = f"app.kubernetes.io/component=load-worker,app.kubernetes.io/instance={job}"
    while True:
        try:
            pods = listed(connection, "Pod", selector)
        except ApiError as error:
            raise explained(error, connection, "see the load workers") from error
        ready = [pod for pod in pods if is_true(pod, "Ready")]
        if len(ready) >= count:
            return sorted(ready, key=_index)
        late = next((pod for pod in pods if not is_true(pod, "Ready")), None)
        why = _why_not(late) if late else f"{len(pods)} of {count} pods exist"
        if clock.now() > give_up:
            raise TargetError(
                f"the load workers (Job {job}) did not start within {_READY_S:g} s: {why}"
            )
        say(why)
        clock.sleep(_LOOK_S)


def _index(pod: Object) -> int:
    metadata = pod["metadata"]
    marks = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
    return int(marks.get(_INDEX, 0))


def _why_not(pod: Object) -> str:
    """What keeps a pod from running, in the cluster's words."""
    for _, status in statuses(pod):
        state = status.get("state") or {}
        told = state.get("waiting") or state.get("terminated") or {}
        if told:
            said = f"{told.get('reason', '')} {told.get('message') or ''}".strip()
            return f"pod {name_of(pod)}: {said}"
    conditions = (pod.get("status") or {}).get("conditions") or ()
    said = next((c["message"] for c in conditions if c.get("message")), "not scheduled yet")
    return f"pod {name_of(pod)}: {said}"


def _address(connection: Connection, pod: Object, stack: ExitStack) -> str:
    """host:port of a worker; from outside through a port-forward, which carries no load."""
    if not connection.in_cluster:
        return f"127.0.0.1:{stack.enter_context(forwarded(connection, name_of(pod), PORT))}"
    host = pod["status"]["podIP"]
    return f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"

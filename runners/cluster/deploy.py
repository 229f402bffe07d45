"""From a profile to an endpoint in the cluster, and back to nothing."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runners.cluster.api import ApiError, Connection, Object
from runners.cluster.apply import apply, refuse_foreign
from runners.cluster.coldstart import measure_cold_starts
from runners.cluster.connect import explained
from runners.cluster.gc import age_text, orphans
from runners.cluster.load_pods import load_pods, worker_objects
from runners.cluster.measured import measured
from runners.cluster.needs import SERVICES, needs
from runners.cluster.preflight import check_cluster, kserve_version, require
from runners.cluster.seen import Goal, uid_of
from runners.cluster.session import Session, bring_up, evidence_kept
from runners.cluster.teardown import removal_command, remove, told_leftovers
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.render import render, to_yaml
from runners.render.backends import served_name
from runners.render.metadata import service_of
from runners.render.names import label_value, service_name
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint
from runners.targets.lifecycle import Lifecycle

if TYPE_CHECKING:
    from runners.targets import TargetOptions

_SHORT_ID = 6


@contextmanager
def deployed(
    connection: Connection,
    profile: Profile,
    run: RunDirectory,
    progress: Progress,
    options: "TargetOptions",
) -> Iterator[Endpoint]:
    """Deploy what the profile renders to, yield where it answers, and remove it all.

    Writes manifests/, lifecycle.json, cluster.json and logs/. Raises TargetError: a check or
    a start-up that failed, a model that was deleted meanwhile, or objects that stayed.
    """
    clock = connection.clock
    lifecycle = Lifecycle(run, clock.unix() - clock.now())
    with ExitStack() as whole:
        with lifecycle.recorded(), evidence_kept(lifecycle, progress):
            profile, objects = prepare(connection, profile, run, progress)
            goals: list[Goal] = []
            whole.enter_context(_removed(connection, run, progress, options.keep, goals))
            goal = _create(connection, profile, objects)
            goals.append(goal)
            session = _session(connection, profile, run, progress, objects, options)
            # Holds route and watches of one start; a cold start replaces them.
            stack = whole.enter_context(ExitStack())
            started = bring_up(session, goal, stack, f"starting {goal.service}")
            for phase in started.phases:
                lifecycle.add(phase.name, phase.start_s, phase.end_s)
            lifecycle.tell("events", started.events)
            if options.cold_starts:
                started = measure_cold_starts(session, started, stack, options.cold_starts, run)
            crew = whole.enter_context(load_pods(session, started, run, run_key(run)))
        with measured(session, started, run, "kserve", crew) as endpoint:
            yield endpoint


def run_key(run: RunDirectory) -> str:
    """What tells this run's objects from all others': the directory's name.

    The starts of a group are only numbered; theirs is the group's name and the number.
    """
    if run.run_id.isdecimal():
        return f"{run.path.resolve().parents[1].name}-{run.run_id}"
    return run.run_id


def prepare(
    connection: Connection, profile: Profile, run: RunDirectory, progress: Progress
) -> tuple[Profile, dict[str, Object]]:
    """Everything that can go wrong before anything is created; returns what to create.

    Writes manifests/. The profile returned has the run's own service name and the cluster's
    version of KServe. Raises TargetError.
    """
    label = label_value(run_key(run))
    try:
        with progress.step(f"checking {connection.place()}, namespace {connection.namespace}"):
            profile = fitted(connection, profile, run_key(run))
            objects = render(profile, run_key(run))
            for name, each in objects.items():
                run.write_text(f"manifests/{name}", to_yaml(each))
            # Their token is made anew when they are deployed.
            every = {**objects, **worker_objects(profile, run_key(run), "not the token")}
            checks = check_cluster(connection, every)
            for check in checks:
                # Rights that only help are a matter of ./bench.sh preflight.
                if check.status == "warning" and check.what != "permissions":
                    progress.note(f"warning: {check.text}")
            require(checks)
            _tell_of_orphans(connection, progress)
            refuse_foreign(connection, every.values(), label)
            for each in every.values():
                apply(connection, each, dry_run=True)
    except ApiError as error:
        raise explained(error, connection, "check the cluster") from error
    return profile, objects


def fitted(connection: Connection, profile: Profile, run_id: str) -> Profile:
    """The profile with a name of the run's own, where it names none, and KServe's version."""
    changes: dict[str, Any] = {"namespace": connection.namespace}
    if profile.serving.service is None:
        # A second run of the same profile in the namespace must not meet the first.
        mark = hashlib.sha256(run_id.encode()).hexdigest()[:_SHORT_ID]
        changes["service"] = service_name(f"{profile.name}-{mark}")
    if version := kserve_version(connection):
        changes["kserve_version"] = version
    return profile.model_copy(update={"serving": profile.serving.model_copy(update=changes)})


def _tell_of_orphans(connection: Connection, progress: Progress) -> None:
    for orphan in orphans(connection):
        state = "left behind" if orphan.expired else "running still, or killed?"
        progress.note(
            f"run {orphan.run} has objects here since {age_text(orphan.age_s)} ({state}); "
            f"./bench.sh gc --run {orphan.run} removes them"
        )


def _create(connection: Connection, profile: Profile, objects: Mapping[str, Object]) -> Goal:
    """Apply every object; the goal's start is the moment before the service is applied."""
    wanted = {each["kind"]: each for each in objects.values() if each["kind"] in SERVICES}
    kind, service = next(iter(wanted.items()))
    goal = Goal(
        service=service_of(profile),
        kind=kind,
        version=service["apiVersion"],
        mode=profile.serving.mode,
        pods=sum(need.pods for need in needs([service])),
        timeout_s=profile.serving.startup_timeout_s,
        uri=profile.model.uri,
    )
    for each in objects.values():
        before = connection.clock.now()
        stored = apply(connection, each)
        if each is service:
            goal = replace(goal, uid=uid_of(stored), started_s=before)
    return goal


def _session(
    connection: Connection,
    profile: Profile,
    run: RunDirectory,
    progress: Progress,
    objects: Mapping[str, Object],
    options: "TargetOptions",
) -> Session:
    metadata = next(iter(objects.values()))["metadata"]
    if profile.load.workers is not None and profile.load.workers.pods is not None:
        # Our own way to the model then carries one request, and no load.
        serving = profile.serving.model_copy(update={"allow_port_forward": True})
        profile = profile.model_copy(update={"serving": serving})
    return Session(
        connection=connection,
        profile=profile,
        progress=progress,
        logs=run.logs,
        model=served_name(profile),
        owned={key: metadata[key] for key in ("labels", "annotations") if key in metadata},
        ca_cert=options.ca_cert,
    )


@contextmanager
def _removed(
    connection: Connection,
    run: RunDirectory,
    progress: Progress,
    keep: bool,
    goals: Sequence[Goal],
) -> Iterator[None]:
    """Whatever happens inside, the run's objects are gone afterwards, or named.

    goals: services whose pods have to be gone as well; filled while the context is open.
    """
    label = label_value(run_key(run))
    try:
        yield
    except BaseException as error:
        problem = None if keep else _remove(connection, label, progress, goals)
        if problem and isinstance(error, TargetError):
            error.args = (f"{error}; {problem}",)
        elif problem:
            progress.note(f"warning: {problem}")
        raise
    finally:
        if keep:
            progress.note(
                f"kept in namespace {connection.namespace}; remove it with "
                f"./bench.sh gc --namespace {connection.namespace} --run {label}"
            )
    if not keep and (problem := _remove(connection, label, progress, goals)):
        raise TargetError(problem)


def _remove(
    connection: Connection, label: str, progress: Progress, goals: Sequence[Goal]
) -> str | None:
    """None when all is gone; else what is left and how to remove it."""
    try:
        with progress.step("removing what was created"):
            left = remove(connection, label, goals)
    except ApiError as error:
        return (
            f"what this run created could not be removed ({error}); when the cluster is back: "
            f"./bench.sh gc --namespace {connection.namespace} --run {label}"
        )
    except KeyboardInterrupt:
        command = removal_command(connection, label)
        progress.note(f"interrupted while removing; do it with {command}")
        raise
    return told_leftovers(connection, label, left) if left else None

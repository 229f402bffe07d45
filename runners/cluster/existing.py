"""Measure an InferenceService that someone else owns: find it, create and delete nothing."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from runners.cluster.api import ApiError, Connection, Object, find
from runners.cluster.connect import explained
from runners.cluster.measured import measured
from runners.cluster.needs import SERVICES
from runners.cluster.preflight import check_cluster, require
from runners.cluster.seen import Goal, is_true, uid_of
from runners.cluster.session import Session, bring_up, evidence_kept
from runners.errors import TargetError, UsageError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint
from runners.targets.lifecycle import Lifecycle

if TYPE_CHECKING:
    from runners.targets import TargetOptions

# Whoever owns it has started it; what is not ready by now gets a moment.
_READY_S = 60.0


@contextmanager
def found(
    connection: Connection,
    profile: Profile,
    run: RunDirectory,
    progress: Progress,
    options: "TargetOptions",
) -> Iterator[Endpoint]:
    """Yield where serving.existing answers; leaves everything as it was.

    Writes lifecycle.json, cluster.json and logs/. Raises TargetError where it is not there,
    not ready, or cannot be reached.
    """
    clock = connection.clock
    lifecycle = Lifecycle(run, clock.unix() - clock.now())
    with ExitStack() as stack:
        with lifecycle.recorded(), evidence_kept(lifecycle, progress):
            if profile.load.workers is not None and profile.load.workers.pods is not None:
                raise UsageError(
                    "load.workers.pods: --existing creates nothing in the cluster; use workers "
                    "here (--workers N) or load.workers.addresses"
                )
            service = find_service(connection, profile.serving.existing or "")
            try:
                require(check_cluster(connection, {}, existing=service["kind"]))
            except ApiError as error:
                raise explained(error, connection, "check the cluster") from error
            name = service["metadata"]["name"]
            goal = Goal(
                service=name,
                kind=service["kind"],
                mode=_mode(service),
                pods=_fewest(service),
                uid=uid_of(service),
                started_s=clock.now(),
                timeout_s=_READY_S,
                uri=_uri(service),
            )
            session = Session(
                connection=connection,
                profile=profile,
                progress=progress,
                logs=run.logs,
                model=profile.model.name or name,
                ca_cert=options.ca_cert,
            )
            if not is_true(service, "Ready"):
                progress.note(f"{goal.kind} {name} is not Ready; waiting up to {_READY_S:g} s")
            started = bring_up(session, goal, stack, f"looking at {name}")
            lifecycle.add("reach", goal.started_s, started.phases[-1].end_s)
        with measured(session, started, run, "kserve") as endpoint:
            # Somebody else started it, at a time that we do not know.
            endpoint.facts.pop("startup_s")
            yield endpoint


def find_service(connection: Connection, name: str) -> Object:
    """The InferenceService or LLMInferenceService of that name. Raises TargetError."""
    for kind in SERVICES:
        try:
            service = find(connection, kind, name)
        except ApiError as error:
            raise explained(error, connection, f"read {kind} {name}") from error
        if service is not None:
            return {**service, "kind": kind}
    raise TargetError(
        f"--existing {name}: {connection.place()} has no InferenceService of that name in "
        f"namespace {connection.namespace}; choose another with --namespace"
    )


def _mode(service: Object) -> str:
    annotations = service["metadata"].get("annotations") or {}
    mode = annotations.get("serving.kserve.io/deploymentMode", "")
    told = (service.get("status") or {}).get("deploymentMode", "")
    return "Knative" if {mode, told} & {"Knative", "Serverless"} else "Standard"


def _fewest(service: Object) -> int:
    """How many pods have to be ready; 0: it may be scaled to zero, the first request wakes it."""
    if service["kind"] == "LLMInferenceService":
        return int(service["spec"].get("replicas", 1))
    return int((service["spec"].get("predictor") or {}).get("minReplicas", 1))


def _uri(service: Object) -> str:
    spec = service["spec"]
    model = spec.get("model") or (spec.get("predictor") or {}).get("model") or {}
    return str(model.get("uri") or model.get("storageUri") or "the model")

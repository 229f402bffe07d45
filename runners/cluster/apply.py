"""Server-side apply of rendered objects: refused where it would touch somebody else's."""

from collections.abc import Iterable

from runners.cluster.api import (
    APPLY,
    ApiError,
    Connection,
    Object,
    find,
    path_of,
    request,
)
from runners.cluster.connect import explained
from runners.errors import TargetError
from runners.render.metadata import MANAGED_BY, RUN_LABEL

FIELD_MANAGER = MANAGED_BY
_MANAGED_LABEL = "app.kubernetes.io/managed-by"


def refuse_foreign(connection: Connection, objects: Iterable[Object], run: str) -> None:
    """Raises TargetError where an object of that name is there and not of this run.

    run: the value of our run label.
    """
    for wanted in objects:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        place = f"{kind} {name} in namespace {connection.namespace}"
        try:
            there = find(connection, kind, name, version=wanted["apiVersion"])
        except ApiError as error:
            raise explained(error, connection, f"look for {place}") from error
        if there is None:
            continue
        owner = owner_of(there)
        if owner is None:
            measure = f", or measure it with --existing {name}" if "Inference" in kind else ""
            raise TargetError(
                f"{place} is there already and was not made by this toolkit; choose another name "
                f"with --service NAME{measure}"
            )
        if owner != run:
            raise TargetError(
                f"{place} belongs to run {owner}, which is running or was killed; choose another "
                f"name with --service NAME, or remove it with ./bench.sh gc --run {owner}"
            )


def owner_of(there: Object) -> str | None:
    """The run that made an object, by its labels; None: it is not ours."""
    labels = there["metadata"].get("labels") or {}
    run = labels.get(RUN_LABEL)
    return str(run) if labels.get(_MANAGED_LABEL) == MANAGED_BY and run else None


def apply(connection: Connection, wanted: Object, dry_run: bool = False) -> Object:
    """Apply one object as our field manager, fields checked strictly; returns it as stored.

    dry_run: the server does all but keep it (defaults, validation, admission, quota).
    Raises TargetError for what the server refuses.
    """
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    query = [
        ("fieldManager", FIELD_MANAGER),
        ("fieldValidation", "Strict"),
        *([("dryRun", "All")] if dry_run else []),
    ]
    path = path_of(connection, kind, name, version=wanted["apiVersion"])
    try:
        return request(
            connection, "patch", path, query=query, body=wanted, content_type=APPLY
        )  # fmt: skip
    except ApiError as error:
        raise _refused(error, connection, kind, name) from error


def _refused(error: ApiError, connection: Connection, kind: str, name: str) -> TargetError:
    place = f"{kind} {name} in namespace {connection.namespace}"
    if error.status == 404:
        return TargetError(_nowhere(error, connection, kind))
    if error.status in (400, 422):
        return TargetError(f"the API server rejects {place}: {error.message}")
    if error.status == 403 and "quota" in error.message:
        return TargetError(f"{place} exceeds a quota: {error.message}")
    if error.status == 403 and "admission webhook" in error.message:
        return TargetError(f"the cluster's policy rejects {place}: {error.message}")
    if error.status == 409:
        return TargetError(f"{place} has fields that someone else manages: {error.message}")
    return explained(error, connection, f"apply {place}")


def _nowhere(error: ApiError, connection: Connection, kind: str) -> str:
    if error.details.get("kind") == "namespaces":
        return (
            f"namespace {connection.namespace} does not exist; make it, or choose another with "
            "--namespace"
        )
    return (
        f"the cluster does not know {kind} ({error.message}): is KServe installed there, and is "
        "serving.kserve_version right? ./bench.sh preflight tells"
    )

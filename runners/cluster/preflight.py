"""Before anything is created: is all there and allowed that a deployment will need?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from runners.cluster.api import ApiError, Connection, Object, find, listed, plural, request
from runners.cluster.needs import Named, Need, named_objects, needs
from runners.cluster.permissions import Permission, missing, permissions_for
from runners.cluster.quantity import quantity
from runners.errors import TargetError

_SYSTEM_NAMESPACES = ("kserve", "opendatahub", "redhat-ods-applications")


@dataclass(frozen=True)
class Check:
    """What was looked at and how it stands; unknown: we may not look.

    warning: it can still work out (a cluster may add nodes); failed: it cannot.
    """

    what: str
    status: Literal["ok", "warning", "failed", "unknown"]
    text: str


class PreflightError(TargetError):
    """Some checks failed; each is a line."""

    def __init__(self, failed: Sequence[Check]) -> None:
        super().__init__("; ".join(check.text for check in failed))
        self.failed = tuple(failed)

    def lines(self) -> list[str]:
        return [check.text for check in self.failed]


def check_cluster(
    connection: Connection,
    objects: Mapping[str, Object],
    existing: str | None = None,
) -> list[Check]:
    """Every check, in the order in which one would do them by hand; changes nothing.

    objects: what is about to be applied. existing: the kind that is measured in place.
    Raises ApiError only when the API server stops answering.
    """
    checks = [*_versions(connection, objects)]
    if any(check.status == "failed" for check in checks):
        return checks  # without KServe nothing else means anything
    checks += _namespace(connection)
    if any(check.status == "failed" for check in checks):
        return checks
    checks += _permissions(connection, permissions_for(objects, existing))
    wanted = needs(objects.values())
    looks: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("quota", lambda: _quotas(connection, wanted)),
        ("nodes", lambda: _nodes(connection, wanted)),
        ("named objects", lambda: _named(connection, named_objects(objects))),
    )
    for what, look in looks:
        try:
            checks += look()
        except ApiError as error:
            if error.status != 403:
                raise
            checks.append(Check(what, "unknown", f"may not look: {error.message}"))
    return checks


def require(checks: Sequence[Check]) -> None:
    """Raises PreflightError where a check failed."""
    failed = [check for check in checks if check.status == "failed"]
    if failed:
        raise PreflightError(failed)


def kserve_version(connection: Connection) -> str | None:
    """The installed KServe's version by its controller's image; None where we may not look."""
    for namespace in _SYSTEM_NAMESPACES:
        try:
            controller = find(
                connection, "Deployment", "kserve-controller-manager", namespace=namespace
            )
        except ApiError:
            continue
        if controller is None:
            continue
        for container in controller["spec"]["template"]["spec"]["containers"]:
            tag = container.get("image", "").partition("@")[0].rpartition(":")[2]
            if tag[:1] == "v" and tag[1:2].isdigit():
                return str(tag[1:].partition("-")[0])
    return None


def _versions(connection: Connection, objects: Mapping[str, Object]) -> Iterator[Check]:
    """Each kind is served under the version that it is rendered for."""
    if version := kserve_version(connection):
        yield Check("versions", "ok", f"KServe {version} is installed")
    wanted = {(each["apiVersion"], each["kind"]) for each in objects.values()}
    wanted.add(("serving.kserve.io/v1beta1", "InferenceService"))
    for version, kind in sorted(wanted):
        if "/" not in version or "." not in version:
            continue  # part of every cluster
        try:
            found = request(connection, "get", f"/apis/{version}")
        except ApiError as error:
            if error.status != 404:
                raise
            found = {}
        names = {each["name"] for each in found.get("resources") or ()}
        if plural(kind) in names:
            yield Check("versions", "ok", f"{kind} is served as {version}")
        else:
            yield Check(
                "versions",
                "failed",
                f"{connection.place()} does not serve {kind} as {version}: install KServe (a "
                "version that has it), or set serving.kserve_version to the installed one",
            )


def _namespace(connection: Connection) -> Iterator[Check]:
    name = connection.namespace
    try:
        there = find(connection, "Namespace", name)
    except ApiError as error:
        if error.status != 403:
            raise
        yield Check("namespace", "unknown", f"may not see whether namespace {name} exists")
        return
    if there is None:
        yield Check(
            "namespace",
            "failed",
            f"namespace {name} does not exist; make it, or choose another with --namespace",
        )
    elif (there.get("status") or {}).get("phase") == "Terminating":
        yield Check("namespace", "failed", f"namespace {name} is being deleted")
    else:
        yield Check("namespace", "ok", f"namespace {name} exists")


def _permissions(connection: Connection, wanted: Sequence[Permission]) -> Iterator[Check]:
    for permission in wanted:
        try:
            verbs = missing(connection, permission)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            yield Check("permissions", "unknown", f"may not ask: {error.message}")
            return
        if not verbs:
            yield Check("permissions", "ok", f"may {permission}")
            continue
        full = f"{permission.resource}.{permission.group}".rstrip(".")
        where = "the cluster" if permission.cluster_wide else f"namespace {connection.namespace}"
        yield Check(
            "permissions",
            "failed" if permission.required else "warning",
            f"may not {', '.join(verbs)} {full} in {where}, needed to {permission.for_what}; "
            "./bench.sh preflight prints the Role to apply",
        )


def _quotas(connection: Connection, wanted: Sequence[Need]) -> Iterator[Check]:
    for quota in listed(connection, "ResourceQuota"):
        name = quota["metadata"]["name"]
        status = quota.get("status") or {}
        hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
        used = status.get("used") or {}
        short = []
        for resource, bound in hard.items():
            asked = sum((_asked(need, resource) for need in wanted), Decimal(0))
            left = quantity(bound) - quantity(used.get(resource, "0"))
            if asked > left:
                short.append(
                    f"{resource}: {_amount(asked)} needed, {_amount(left)} of {bound} left"
                )
        if short:
            yield Check(
                "quota",
                "failed",
                f"ResourceQuota {name} in namespace {connection.namespace} is too small: "
                f"{'; '.join(short)}; free something, raise it, or ask for less",
            )
        else:
            yield Check("quota", "ok", f"ResourceQuota {name} has room")


def _asked(need: Need, resource: str) -> Decimal:
    """What a quota's resource name counts of a need."""
    if resource in ("pods", "count/pods"):
        return Decimal(need.pods)
    if resource.startswith("limits."):
        return need.pods * need.limits.get(resource.removeprefix("limits."), Decimal(0))
    return need.pods * need.requests.get(resource.removeprefix("requests."), Decimal(0))


def _amount(value: Decimal) -> str:
    if value >= 2**30:
        return f"{value / 2**30:.4g}Gi"
    return f"{value:.6g}"


def _nodes(connection: Connection, wanted: Sequence[Need]) -> Iterator[Check]:
    nodes = [
        node
        for node in listed(connection, "Node")
        if not (node.get("spec") or {}).get("unschedulable")
    ]
    for need in wanted:
        fits = [node for node in nodes if _fits(node, need)]
        asked = ", ".join(f"{name} {_amount(amount)}" for name, amount in need.requests.items())
        if fits:
            yield Check("nodes", "ok", f"{len(fits)} of {len(nodes)} nodes can hold a {need.part}")
            continue
        yield Check(
            "nodes",
            "warning",
            f"none of {len(nodes)} nodes can hold a {need.part} ({asked}{_where(need)})"
            f"{_has(nodes)}; unless the cluster adds one, its pod stays Pending",
        )


def _where(need: Need) -> str:
    labels = [f"{key}={value}" for key, value in need.selector.items()]
    labels += [" or ".join(need.products)] if need.products else []
    return f"; {', '.join(labels)}" if labels else ""


def _has(nodes: Sequence[Object]) -> str:
    """The GPUs there are, so that one can choose among them."""
    found = sorted(
        {
            f"{labels.get('nvidia.com/gpu.product', 'a GPU of unknown type')}"
            for node in nodes
            if (labels := node["metadata"].get("labels") or {}) is not None
            and any(name.startswith("nvidia.com/") for name in _allocatable(node))
        }
    )
    return f"; there are {', '.join(found)}" if found else "; no node has a GPU"


def _allocatable(node: Object) -> dict[str, str]:
    return dict((node.get("status") or {}).get("allocatable") or {})


def _fits(node: Object, need: Need) -> bool:
    """Whether the empty node could take one pod."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in need.selector.items()):
        return False
    if need.products and labels.get("nvidia.com/gpu.product") not in need.products:
        return False
    there = _allocatable(node)
    return all(
        quantity(there.get(name, "0")) >= amount
        for name, amount in need.requests.items()
        if name in ("cpu", "memory") or "/" in name
    )


def _named(connection: Connection, wanted: Sequence[Named]) -> Iterator[Check]:
    for named in wanted:
        try:
            there = find(connection, named.kind, named.name)
        except ApiError as error:
            if error.status != 403:
                raise
            yield Check("named objects", "unknown", f"may not look for {named.kind} {named.name}")
            continue
        if there is None:
            yield Check(
                "named objects",
                "failed",
                f"{named.where} names {named.kind} {named.name}, which does not exist"
                f"{_in_namespace(named, connection)}; make it, or correct the name",
            )
            continue
        yield Check("named objects", "ok", f"{named.kind} {named.name} exists")
        if named.kind == "PersistentVolumeClaim":
            yield from _claim(connection, there)


def _in_namespace(named: Named, connection: Connection) -> str:
    wide = named.kind in ("RuntimeClass", "StorageClass")
    return "" if wide else f" in namespace {connection.namespace}"


def _claim(connection: Connection, claim: Object) -> Iterator[Check]:
    """A claim that is not bound needs a class that can make its volume."""
    name = claim["metadata"]["name"]
    phase = (claim.get("status") or {}).get("phase")
    wanted = claim["spec"].get("storageClassName")
    if phase == "Bound" or not wanted:
        return
    if phase == "Lost":
        yield Check("named objects", "failed", f"PersistentVolumeClaim {name} lost its volume")
    elif find(connection, "StorageClass", wanted) is None:
        yield Check(
            "named objects",
            "failed",
            f"PersistentVolumeClaim {name} asks for StorageClass {wanted}, which does not exist; "
            "make the claim again with one that does",
        )

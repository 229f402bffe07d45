"""What the toolkit may have to do in a namespace, asked of the API server, and the Role for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runners.cluster.api import Connection, Object, api_version, path_of, plural, request
from runners.cluster.needs import named_objects

_READ = ("get", "list", "watch")
_OWN = ("get", "list", "watch", "create", "patch", "delete")


@dataclass(frozen=True)
class Permission:
    """Verbs on a resource; `for_what` completes "needed to …".

    required: nothing works without. cluster_wide: needs a ClusterRole.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    for_what: str
    required: bool = True
    cluster_wide: bool = False

    def __str__(self) -> str:
        full = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{', '.join(self.verbs)} {full}"


READING = (
    Permission("apps", "deployments", _READ, "follow the start-up"),
    Permission("apps", "replicasets", _READ, "see why pods are not made"),
    Permission("", "pods", _READ, "follow the start-up"),
    Permission("", "events", ("list", "watch"), "say why a start-up fails"),
    Permission("", "pods/log", ("get",), "say why an engine ends, and keep its log"),
)
CONNECTING = (
    Permission("", "services", _OWN, "reach the model from outside of the cluster", False),
    Permission("", "pods/portforward", ("get", "create"), "reach the model by port-forward", False),
)
LOOKING = (
    Permission("", "resourcequotas", ("list",), "check quotas beforehand", False),
    Permission("", "nodes", ("get", "list"), "check GPUs beforehand, record them", False, True),
    Permission("", "namespaces", ("get",), "check the namespace beforehand", False, True),
)
# Asked for only where the objects name one.
_NAMED = {
    "PersistentVolumeClaim": (
        Permission("", "persistentvolumeclaims", ("get",), "check the claim beforehand", False),
        Permission(
            "storage.k8s.io", "storageclasses", ("get",), "check the claim beforehand", False, True
        ),
    ),
    "ServiceAccount": (
        Permission("", "serviceaccounts", ("get",), "check the account beforehand", False),
    ),
    "Secret": (Permission("", "secrets", ("get",), "check the Secret beforehand", False),),
    "ConfigMap": (Permission("", "configmaps", ("get",), "check the ConfigMap beforehand", False),),
    "RuntimeClass": (
        Permission(
            "node.k8s.io", "runtimeclasses", ("get",), "check the class beforehand", False, True
        ),
    ),
}


def permissions_for(objects: Mapping[str, Object], existing: str | None = None) -> list[Permission]:
    """Everything a run with these objects does; existing: a kind that is only read."""
    owned: dict[tuple[str, str], Permission] = {}
    for each in objects.values():
        key = (group_of(each["apiVersion"]), plural(each["kind"]))
        owned.setdefault(key, Permission(*key, _OWN, "deploy and remove it"))
    if existing is not None:
        key = (group_of(api_version(existing)), plural(existing))
        owned[key] = Permission(*key, _READ, "find it")
    kinds = dict.fromkeys(named.kind for named in named_objects(objects))
    named = [each for kind in kinds for each in _NAMED.get(kind, ())]
    rest = (*READING, *CONNECTING, *LOOKING, *named)
    return [*owned.values(), *(each for each in rest if (each.group, each.resource) not in owned)]


def group_of(api_version: str) -> str:
    """The API group of an apiVersion; empty for the core one."""
    return api_version.rpartition("/")[0]


def missing(connection: Connection, permission: Permission) -> list[str]:
    """The verbs that we may not do, by SelfSubjectAccessReview. Raises ApiError."""
    return [verb for verb in permission.verbs if not _may(connection, permission, verb)]


def _may(connection: Connection, permission: Permission, verb: str) -> bool:
    resource, _, sub = permission.resource.partition("/")
    asked: dict[str, Any] = {"verb": verb, "group": permission.group, "resource": resource}
    if sub:
        asked["subresource"] = sub
    if not permission.cluster_wide:
        asked["namespace"] = connection.namespace
    review: Object = {
        "apiVersion": api_version("SelfSubjectAccessReview"),
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    path = path_of(connection, "SelfSubjectAccessReview")
    answer = request(connection, "post", path, body=review, content_type="application/json")
    return bool((answer.get("status") or {}).get("allowed"))


def roles(permissions: Sequence[Permission], namespace: str) -> list[Object]:
    """The Role, and the ClusterRole where there is something to put into it."""
    local = [each for each in permissions if not each.cluster_wide]
    wide = [each for each in permissions if each.cluster_wide]
    found = [_role("Role", local, {"name": "kserve-bench", "namespace": namespace})]
    if wide:
        found.append(_role("ClusterRole", wide, {"name": "kserve-bench"}))
    return found


def _role(kind: str, permissions: Sequence[Permission], metadata: Object) -> Object:
    rules = [
        {"apiGroups": [each.group], "resources": [each.resource], "verbs": list(each.verbs)}
        for each in permissions
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "rules": rules,
    }

"""From a path and a query to what is asked."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.kube.errors import no_such_path
from tests.kube.resources import Resource, find

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class Asked:
    """A request to an object or a collection."""

    verb: str
    resource: Resource
    version: str
    namespace: str
    name: str
    subresource: str
    query: dict[str, str] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        """A boolean of the query, read as the API machinery reads it."""
        return self.query.get(name, "false").lower() not in ("false", "0")


def split_query(target: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    return parts.path, {name: values[-1] for name, values in query.items()}


def asked(method: str, target: str, served: tuple[Resource, ...]) -> Asked:
    """Raises 404 for a path that nothing is served at."""
    path, query = split_query(target)
    steps = [step for step in path.split("/") if step]
    if steps[:1] == ["api"] and len(steps) > 2:
        group, version, rest = "", steps[1], steps[2:]
    elif steps[:1] == ["apis"] and len(steps) > 3:
        group, version, rest = steps[1], steps[2], steps[3:]
    else:
        raise no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource = find(served, group, version, rest[0])
    if resource is None or len(rest) > 3:
        raise no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    if resource.plural == "namespaces":
        namespace = ""
    if subresource and subresource not in resource.subresources:
        raise no_such_path()
    verb = verb_of(method, name, query)
    return Asked(verb, resource, version, namespace, name, subresource, query)


def verb_of(method: str, name: str, query: dict[str, str]) -> str:
    if method == "GET" and query.get("watch", "false").lower() not in ("false", "0"):
        return "watch"
    if method == "GET":
        return "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return VERBS[method]

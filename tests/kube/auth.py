"""Who asks (bearer tokens), what they may do (rules), and the reviews that tell them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.kube.errors import Object, forbidden, unauthorized
from tests.kube.resources import Resource

ANONYMOUS = "system:anonymous"


@dataclass(frozen=True)
class Rule:
    """What is allowed or denied. "*" stands for everything; a subresource is `pods/log`.

    namespace None: in every namespace and at the cluster scope.
    """

    verbs: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    groups: tuple[str, ...] = ("*",)
    namespace: str | None = None

    def covers(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        return (
            matches(self.verbs, verb)
            and matches(self.resources, resource)
            and matches(self.groups, group)
            and self.namespace in (None, namespace)
        )


def matches(allowed: Iterable[str], value: str) -> bool:
    return value in allowed or "*" in allowed


class Access:
    """Tokens and rules, to be changed while the server runs. At first all is allowed."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.users: dict[str, str] = {}
        self.allowed: list[Rule] = [Rule()]
        self.denied: list[Rule] = []

    def accept(self, token: str) -> None:
        self.users[token] = self.user

    def revoke(self, token: str) -> None:
        """From now on 401 for this token; watches that are open go on."""
        self.users.pop(token, None)

    def deny(
        self, resource: str, *verbs: str, group: str = "*", namespace: str | None = None
    ) -> None:
        """Take a right away: deny("pods/log", "get"); without verbs all of them."""
        self.denied.append(Rule(verbs or ("*",), (resource,), (group,), namespace))

    def allow_only(self, *rules: Rule) -> None:
        """Nothing but these."""
        self.allowed, self.denied = list(rules), []

    def authenticate(self, header: str) -> str:
        """User name of an Authorization header; raises 401 for a token that is not accepted."""
        if not header:
            return ANONYMOUS
        user = self.users.get(header.removeprefix("Bearer ").strip())
        if user is None:
            raise unauthorized()
        return user

    def allows(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        return any(rule.covers(verb, group, resource, namespace) for rule in self.allowed) and (
            not any(rule.covers(verb, group, resource, namespace) for rule in self.denied)
        )

    def check(
        self, user: str, verb: str, resource: Resource, subresource: str, namespace: str, name: str
    ) -> None:
        """Raises 403 with the words of RBAC."""
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        reviews = resource.plural.startswith("selfsubject") and user != ANONYMOUS
        if reviews or (user != ANONYMOUS and self.allows(verb, resource.group, plural, namespace)):
            return
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        why = (
            f'User "{user}" cannot {verb} resource "{plural}" in API group '
            f'"{resource.group}" {where}'
        )
        raise forbidden(resource, name, why)


def review(access: Access, served: Sequence[Resource], user: str, body: Object) -> Object:
    """Status of a SelfSubject…Review."""
    if body["kind"] == "SelfSubjectAccessReview":
        return access_review(access, user, body)
    if body["kind"] == "SelfSubjectRulesReview":
        return rules_review(access, served, body)
    return {"userInfo": {"username": user}}


def access_review(access: Access, user: str, body: Object) -> Object:
    """Status of a SelfSubjectAccessReview."""
    asked = body.get("spec", {}).get("resourceAttributes")
    if asked is None:
        return {"allowed": user != ANONYMOUS}
    resource = asked.get("resource", "*")
    if asked.get("subresource"):
        resource = f"{resource}/{asked['subresource']}"
    verb, group = asked.get("verb", "*"), asked.get("group", "")
    allowed = access.allows(verb, group, resource, asked.get("namespace", ""))
    return (
        {"allowed": allowed, "reason": "RBAC: allowed by a rule"} if allowed else {"allowed": False}
    )


def rules_review(access: Access, served: Sequence[Resource], body: Object) -> Object:
    """Status of a SelfSubjectRulesReview: one rule per kind and subresource."""
    namespace = body.get("spec", {}).get("namespace", "")
    rules = []
    for each in served:
        for name in (each.plural, *(f"{each.plural}/{sub}" for sub in each.subresources)):
            verbs = [
                verb for verb in each.verbs if access.allows(verb, each.group, name, namespace)
            ]
            if verbs:
                rules.append({"verbs": verbs, "apiGroups": [each.group], "resources": [name]})
    return {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}

"""The validator: every rule that concerns a profile, asked once."""

import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module

from runners.checks import rules
from runners.checks.case import Case, ClusterFacts
from runners.checks.finding import Finding
from runners.checks.rule import Hit, Rule, holds_for
from runners.profiles.error import ProfileError
from runners.profiles.load import Loaded


@cache
def all_rules(target: str | None = None) -> tuple[Rule, ...]:
    """Every rule, in the order of subjects and ids; for a target, at least those about it.

    Raises ValueError for an id used twice.
    """
    names: Iterable[str] = [module.name for module in pkgutil.iter_modules(rules.__path__)]
    if target in ("url", "simulator"):  # no engine is started: most rules need not be loaded
        names = rules.WITHOUT_AN_ENGINE
    found: dict[str, Rule] = {}
    for name in names:
        for value in vars(import_module(f"{rules.__name__}.{name}")).values():
            if isinstance(value, Rule):
                if found.get(value.id, value) is not value:
                    raise ValueError(f"two rules are called {value.id}")
                found[value.id] = value
    return tuple(found[name] for name in sorted(found))


def case_of(loaded: Loaded, cluster: ClusterFacts | None = None) -> Case:
    """The profile as rules look at it."""
    return Case(loaded.profile, loaded.tree, loaded.path.parent, cluster)


def check(loaded: Loaded, cluster: ClusterFacts | None = None) -> tuple[Finding, ...]:
    """What the rules say, in the order of the file; without what loading already said."""
    return tuple(finding for _, _, finding in hits(loaded, cluster))


def hits(loaded: Loaded, cluster: ClusterFacts | None = None) -> list[tuple[Rule, Hit, Finding]]:
    """What the rules say, each with its rule and the edits it proposes."""
    case = case_of(loaded, cluster)
    found = [
        (each, hit, _finding(each, hit, loaded))
        for each in all_rules(case.profile.target)
        if concerns(each, case)
        for hit in _look(each, case)
    ]
    return sorted(found, key=lambda item: _place(item[2]))


def concerns(rule: Rule, case: Case) -> bool:
    """Whether a rule is about this target, engine and version."""
    if case.profile.target not in rule.targets:
        return False
    if not rule.engines:
        return holds_for(rule.versions, case.kserve_version)
    return case.engine in rule.engines and holds_for(rule.versions, case.version)


def checked(loaded: Loaded, cluster: ClusterFacts | None = None) -> Loaded:
    """The profile with every finding. Raises ProfileError where one is an error."""
    findings = (*loaded.findings, *check(loaded, cluster))
    if any(finding.severity == "error" for finding in findings):
        raise ProfileError(findings)
    return replace(loaded, findings=findings)


def _look(rule: Rule, case: Case) -> Iterator[Hit]:
    """A rule that breaks on odd input says so, and the others go on."""
    try:
        yield from rule.look(case)
    except Exception as error:  # a fault of ours may not keep a user from running
        yield Hit(
            "",
            f"the rule could not be applied: {type(error).__name__}: {error}.",
            "Please report this profile.",
            severity="warning",
        )


def _finding(rule: Rule, hit: Hit, loaded: Loaded) -> Finding:
    node = loaded.tree.get(*hit.key.split(".")) if hit.key else None
    return Finding(
        rule.id,
        hit.severity or rule.severity,
        hit.key,
        hit.why,
        hit.fix,
        loaded.where(hit.key),
        rule.evidence,
        node.plain() if node else None,
        rule.versions_in_words() or None,
        rule.fails,
    )


def _place(finding: Finding) -> tuple[bool, str, int, int, str]:
    where = finding.where
    place = (where.file, where.line, where.column) if where else ("", 0, 0)
    return (where is None, *place, finding.rule)

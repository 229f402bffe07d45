"""A rule: what it looks for, how severe that is, for which versions, and how that is known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, Unpack

from runners.checks.finding import Fails, Severity

if TYPE_CHECKING:
    from runners.checks.case import Case

# How a rule is known, strongest first.
Basis = Literal[
    "executed",  # the engine's own configuration layer was run and said so
    "source",  # read in the engine's or KServe's source
    "history",  # found by comparing releases
    "documents",  # a vendor's documentation
    "arithmetic",  # follows from the numbers
    "practice",  # what makes a measurement mean what it says
]
REMOVE: Any = type("Remove", (), {"__repr__": lambda self: "REMOVE"})()


@dataclass(frozen=True)
class Change:
    """An edit that `--fix` makes: `value` at the dotted `key`, or REMOVE.

    choice: in a few words, what was chosen where the profile left it open; empty for a
    plain translation.
    """

    key: str
    value: Any
    choice: str = ""


@dataclass(frozen=True)
class Hit:
    """One place where a rule applies.

    key: dotted path in the profile. why: one sentence. fix: the line to write.
    severity: in place of the rule's, where this case is milder.
    """

    key: str
    why: str
    fix: str
    changes: tuple[Change, ...] = ()
    severity: Severity | None = None


Predicate = Callable[["Case"], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """A declaration. `look` yields a hit for each place where the rule applies.

    id: stable, `<subject>.<what>`. versions: of the engine (of KServe for rules whose
    engines are empty), as in `>=0.8.3,<0.33`; empty for all. engines: those it is about;
    empty: any. targets: where it matters. summary: one sentence, the predicate's docstring.
    """

    id: str
    severity: Severity
    fails: Fails
    basis: Basis
    evidence: str
    look: Predicate = field(repr=False)
    versions: str = ""
    engines: tuple[str, ...] = ("vllm",)
    targets: tuple[str, ...] = ("kserve", "local")

    @property
    def subject(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    @property
    def summary(self) -> str:
        """What it looks for, in one sentence."""
        return " ".join((self.look.__doc__ or "").split("\n\n")[0].split())

    def versions_in_words(self) -> str:
        """Of what, and which versions, for a reader."""
        of = " and ".join(self.engines) if self.engines else "KServe" if self.versions else ""
        return f"{of} {self.versions or '(all versions)'}" if of else ""


class Declared(TypedDict, total=False):
    """What a declaration says besides its id and predicate; see Rule."""

    severity: Required[Severity]
    fails: Required[Fails]
    basis: Required[Basis]
    evidence: Required[str]
    versions: str
    engines: tuple[str, ...]
    targets: tuple[str, ...]


def rule(id: str, **declared: Unpack[Declared]) -> Callable[[Predicate], Rule]:
    """Make a Rule of a predicate; a module of `runners.checks.rules` may hold any number."""

    def declare(look: Predicate) -> Rule:
        return Rule(id=id, look=look, **declared)

    return declare


@lru_cache(maxsize=4096)
def holds_for(versions: str, version: str) -> bool:
    """Whether `version` is among `versions` (a PEP 440 specifier set; empty: all)."""
    if not versions:
        return True
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(versions).contains(version, prereleases=True)

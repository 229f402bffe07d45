"""Engine arguments: switches, which take no value, and flags, which take one."""

from collections.abc import Iterator
from typing import Any

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.tables import Option
from runners.checks.values import said, switched, type_name

ARGS = "engine.args"


def options(case: Case) -> Iterator[tuple[str, Any, Option]]:
    """The arguments that are flags of this version, each with what is known of the flag."""
    flags = case.release.flags
    for name, value in case.args.items():
        option = flags.get(name)
        if option is not None:
            yield name, value, option


@rule(
    "arguments.no-negation",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="false is written as `--no-…`; a switch without one ends with `unrecognized "
    "arguments: --no-headless`, and so does `--no-no-…`.",
)
def no_negation(case: Case) -> Iterator[Hit]:
    """Only a switch that has a negation can be false."""
    flags = case.release.flags
    for name, value in case.args.items():
        if value is not False:
            continue
        key, option = f"{ARGS}.{name}", flags.get(name)
        positive = name.removeprefix("no_")
        if option is None and positive != name and positive in flags:
            yield Hit(
                key,
                "a negation has no negation.",
                f"{positive}: true",
                (Change(f"{ARGS}.{positive}", True), Change(key, REMOVE)),
            )
        elif option is not None and option.kind == "bool" and not option.negatable:
            yield Hit(
                key,
                f"there is no --no-{name.replace('_', '-')}; leaving it out is the same.",
                "Remove the line.",
                (Change(key, REMOVE),),
            )


@rule(
    "arguments.switch",
    severity="error",
    fails="silently",
    basis="executed",
    evidence="A switch takes no value: `--enforce-eager false` turns it on, and the parser takes "
    "the word for a model's name that nobody reads.",
    versions=">=0.10",
)
def switch(case: Case) -> Iterator[Hit]:
    """A switch is written as true or false, not as text or a number."""
    for name, value, option in options(case):
        if option.kind != "bool" or isinstance(value, bool):
            continue
        meant, key = switched(value), f"{ARGS}.{name}"
        effect = "turns it on all the same" if meant is False else "is read by nobody"
        yield Hit(
            key,
            f"{name} is a switch; the word {said(value)} after it {effect}.",
            f"{name}: {said(True if meant is None else meant)}",
            () if meant is None else (Change(key, meant),),
            severity="warning" if meant is not False else None,
        )


@rule(
    "arguments.stray-words",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The parser takes one word that belongs to no flag for a model's name; the second "
    "ends it with `unrecognized arguments`.",
    versions=">=0.10",
)
def stray_words(case: Case) -> Iterator[Hit]:
    """No words are left over beside the flags."""
    found = [name for name, value, option in options(case) if _strays(value, option)]
    words = sum(_strays(value, option) for _, value, option in options(case))
    if words > 1:
        yield Hit(
            f"{ARGS}.{found[0]}",
            f"the values of {', '.join(found)} leave {words} words that no flag takes.",
            "true or false for a switch, one value for a flag that takes one",
        )


def _strays(value: Any, option: Option) -> int:
    """How many of a value's words the flag does not take."""
    if option.kind == "bool" and not isinstance(value, bool):
        return len(value) if isinstance(value, list) else 1
    if isinstance(value, list) and option.kind not in ("list", "any", "json"):
        return max(0, len(value) - 1)
    return 0


@rule(
    "arguments.value-missing",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="`--max-num-seqs` alone ends with `expected one argument`, `--no-max-num-seqs` with "
    "`unrecognized arguments`.",
)
def value_missing(case: Case) -> Iterator[Hit]:
    """A flag that takes a value is not a switch."""
    for name, value, option in options(case):
        if not isinstance(value, bool) or option.kind in ("bool", "any"):
            continue
        if option.kind == "bool_or_str" and value:
            continue
        yield Hit(
            f"{ARGS}.{name}",
            f"{name} takes {type_name(option.kind)}, not {said(value)}.",
            f"{name}: <{type_name(option.kind)}>" if value else "Remove the line.",
            () if value else (Change(f"{ARGS}.{name}", REMOVE),),
        )

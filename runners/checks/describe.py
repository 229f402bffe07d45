"""The rules in words: one for a terminal, all of them for docs/rules.md."""

from collections.abc import Iterable
from itertools import groupby

from runners.checks.rule import Rule

BASIS_IN_WORDS = {
    "executed": "the engine's own configuration layer was run",
    "source": "read in the source",
    "history": "found by comparing releases",
    "documents": "a vendor's documentation",
    "arithmetic": "follows from the numbers",
    "practice": "what makes a measurement mean what it says",
}


def explain(rule: Rule) -> str:
    """All that is known about a rule, over several lines."""
    rows = [
        ("severity", rule.severity),
        ("without it", _without(rule)),
        ("holds for", rule.versions_in_words() or "every engine"),
        ("targets", ", ".join(rule.targets)),
        ("known by", BASIS_IN_WORDS[rule.basis]),
        ("evidence", rule.evidence),
    ]
    return "\n".join([f"{rule.id}: {rule.summary}", *(f"  {name:<10}  {v}" for name, v in rows)])


def _without(rule: Rule) -> str:
    how = {"silently": "runs, with another setting", "in the results": "runs, and misleads"}
    return how.get(rule.fails, f"fails {rule.fails}")


def reference(rules: Iterable[Rule]) -> str:
    """The text of docs/rules.md."""
    parts = [
        "# Rules of the validator",
        "",
        "This page is generated from the rules themselves (`make docs`). How to use the "
        "validator: [validate.md](validate.md).",
        "",
        "*Without it*: what happens to a profile that breaks the rule when nobody checks. "
        "*Known by*: how we know.",
    ]
    for subject, group in groupby(rules, key=lambda rule: rule.subject):
        parts += ["", f"## {subject}", ""]
        for rule in group:
            parts += [
                f"### `{rule.id}`",
                "",
                rule.summary,
                "",
                f"- {rule.severity}; without it: {_without(rule)}",
                f"- holds for {rule.versions_in_words() or 'every engine'}, "
                f"target {', '.join(rule.targets)}",
                f"- known by: {BASIS_IN_WORDS[rule.basis]}. {rule.evidence}",
                "",
            ]
        parts.pop()
    return "\n".join(parts) + "\n"

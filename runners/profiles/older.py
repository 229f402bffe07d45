"""Older spellings of a profile, put into today's: one document at a time, before inheritance.

Working document by document keeps the order of precedence: a child's older key still
beats what its parent writes in today's words.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runners.checks.finding import Finding
from runners.profiles import features
from runners.profiles.document import Node, node_of
from runners.profiles.inherit import set_at

MOVED = {
    "requests": ("load", "requests"),
    "concurrency": ("load", "concurrency"),
    "max_tokens": ("workload", "max_tokens"),
}
# Notes to the reader of older profiles; no program ever read a setting from them.
NOTES = (
    "use_cases",
    "characteristics",
    "model_requirements",
    "validation_hints",
    "model_size_hint",
    "limitations",
    "warnings",
    "recommended_alternatives",
)
KEYS = (*MOVED, *NOTES, "pattern", "vllm_features")

# What older tools did with a pattern: arrivals per second for each request in flight.
_POISSON_RATE_PER_SLOT = 1.5


def modern(root: Node, engine: str, version: str) -> tuple[Node, list[Finding]]:
    """The document in today's words, and a finding for every key that was put into them.

    engine, version: those of the resolved profile; engine arguments depend on them.
    """
    entries = dict(root.mapping)
    older = {key: entries.pop(key) for key in KEYS if key in entries}
    findings: list[Finding] = []
    tree, found = one_spelling(replace(root, value=entries))
    findings += found
    for key, path in MOVED.items():
        if key in older:
            remark = _read_as(key, older[key], f"read as {'.'.join(path)}.")
            tree = _place(tree, path, older[key], remark, findings)
    for key in NOTES:
        if key in older:
            why = "a note without effect; dropped."
            where = older[key].key_where
            findings.append(
                Finding("profile.dropped", "warning", key, why, "Make it a comment.", where)
            )
    if "pattern" in older:
        tree = _pattern(tree, older["pattern"], findings)
    if "vllm_features" in older:
        tree = _features(tree, older["vllm_features"], engine, version, findings)
    return tree, findings


def _read_as(key: str, node: Node, why: str, fix: str = "") -> Finding:
    return Finding("profile.older-spelling", "info", key, why, fix, node.key_where)


def _place(
    tree: Node, path: tuple[str, ...], node: Node, remark: Finding | None, findings: list[Finding]
) -> Node:
    """`node` at `path` with its remark, unless the document says something there: that wins."""
    section: Node | None = tree
    for depth, name in enumerate(path):
        section = section.mapping.get(name) if section else None
        last = depth == len(path) - 1
        if section is None:
            break
        if last or not isinstance(section.value, dict):
            here = ".".join(path[: depth + 1])
            key = remark.key if remark else here
            why = f"{here} is given too and wins over it."
            where = node.key_where
            findings.append(Finding("profile.overruled", "warning", key, why, "Remove one.", where))
            return tree
    if remark is not None:
        findings.append(remark)
    return set_at(tree, path, node)


def _pattern(tree: Node, node: Node, findings: list[Finding]) -> Node:
    """steady kept `concurrency` requests in flight on the guess that each takes 0.5 s."""
    path, said = ("load", "pattern"), node.value
    if said == "steady":
        why = (
            "steady is read as load.pattern closed:"
            " `concurrency` requests in flight, which steady only guessed at."
        )
        return _place(tree, path, _like(node, "closed"), _read_as("pattern", node, why), findings)
    if said in ("bursty", "heavy"):
        why = f"the pattern {said} has no counterpart."
        fix = "Write load.pattern: poisson with a load.rate."
        findings.append(
            Finding("profile.no-counterpart", "error", "pattern", why, fix, node.key_where)
        )
        return tree
    slots = tree.get("load", "concurrency")
    remark = _read_as("pattern", node, "read as load.pattern.")
    tree = _place(tree, path, node, remark, findings)
    if said == "poisson" and tree.get("load", "rate") is None and _is_count(slots):
        assert slots is not None
        rate = _POISSON_RATE_PER_SLOT * slots.value
        why = (
            f"poisson came without a rate; load.rate is {rate:g},"
            " the 1.5 arrivals per second and slot of older tools."
        )
        remark = _read_as("pattern", node, why, "Write the rate you mean as load.rate.")
        tree = _place(tree, ("load", "rate"), _like(node, rate), remark, findings)
    return tree


def _is_count(node: Node | None) -> bool:
    return node is not None and isinstance(node.value, int) and not isinstance(node.value, bool)


def _like(node: Node, value: Any) -> Node:
    return replace(node_of(value, node.flag), where=node.where, key_where=node.key_where)


def _features(tree: Node, node: Node, engine: str, version: str, findings: list[Finding]) -> Node:
    key, where = "vllm_features", node.key_where
    if node.value is None:
        findings.append(_read_as(key, node, "it is null, so it sets nothing."))
        return tree
    if not isinstance(node.value, dict):
        why, fix = "must be a mapping of engine arguments.", "Write them as engine.args."
        findings.append(Finding("profile.type", "error", key, why, fix, where))
        return tree
    if engine != "vllm":
        why, fix = f"holds settings of vllm, but engine.name is {engine}.", "Use engine.args."
        findings.append(Finding("profile.conflict", "error", key, why, fix, where))
        return tree
    placed, found = features.translate(node, features.version_of(version))
    remarks = {finding.key: finding for finding in found}
    for item in placed:
        remark = remarks.pop(item.written, None)
        tree = _place(tree, ("engine", "args", *item.path), item.node, remark, findings)
    findings += remarks.values()
    return tree


def one_spelling(root: Node) -> tuple[Node, list[Finding]]:
    """Engine arguments with underscores, so that a child's `max-num-seqs` meets its parent's."""
    arguments = root.get("engine", "args")
    if arguments is None or not arguments.mapping:
        return root, []
    entries: dict[str, Node] = {}
    findings = []
    for written, node in arguments.mapping.items():
        name = argument_name(written)
        if name in entries:
            why = f"engine.args.{name} is given twice, once with dashes."
            findings.append(
                Finding(
                    "profile.duplicate-key",
                    "error",
                    f"engine.args.{written}",
                    why,
                    "Keep one of them.",
                    node.key_where,
                )
            )
        entries[name] = node
    return set_at(root, ("engine", "args"), replace(arguments, value=entries)), findings


def argument_name(written: str) -> str:
    """An engine argument's name with underscores and without leading dashes."""
    return written.lstrip("-").replace("-", "_") or written


def is_older(path: Sequence[str]) -> bool:
    """Whether an override's path is an older spelling."""
    return path[0] in KEYS

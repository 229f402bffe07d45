"""Environment variables of the engine that have to hold numbers."""

from collections.abc import Iterator, Mapping
from functools import cache

from runners.checks.case import Case
from runners.checks.data import read_yaml
from runners.checks.rule import Change, Hit, rule
from runners.checks.tables import version_key
from runners.checks.values import said, switched


@cache
def _variables() -> Mapping[str, tuple[str, str, str]]:
    """Name of a variable → (flag, whole or number; first release; last release)."""
    table = read_yaml("vllm_environment.yaml")
    return {
        name: (kind, first, last)
        for kind, names in table.items()
        for name, (first, last) in names.items()
    }


@rule(
    "arguments.environment",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vllm/envs.py reads these with int() or float(), and since 0.11.2 the engine reads "
    "all of them before it serves: `invalid literal for int() with base 10`.",
    versions=">=0.8.2",
)
def environment(case: Case) -> Iterator[Hit]:
    """Environment variables that vLLM reads as numbers hold numbers; a flag is 0 or 1."""
    for name, value in case.environment.items():
        if not name.startswith("VLLM_") or name not in _variables():
            continue
        kind, first, last = _variables()[name]
        at = version_key(case.release.version)
        if not version_key(first) <= at <= version_key(last) or _is_number(kind, value):
            continue
        meant = switched(value) if kind == "flag" else None
        wanted = {"flag": "0 or 1", "whole": "a whole number", "number": "a number"}[kind]
        key = f"engine.env.{name}"
        yield Hit(
            key,
            f"vLLM reads it as {wanted}, and {said(value)} is none.",
            f'{name}: "{int(meant)}"' if meant is not None else f"{name}: <{wanted}>",
            () if meant is None else (Change(key, str(int(meant))),),
            severity=None if case.at_least(0, 11, 2) else "warning",
        )


def _is_number(kind: str, value: str) -> bool:
    try:
        float(value) if kind == "number" else int(value)
    except ValueError:
        return False
    return True

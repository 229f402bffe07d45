"""Amounts as profiles write them: 8k tokens, 64Gi of memory."""

import re
from typing import Any

_MULTIPLE: dict[str, int] = {
    **{letter: 1000 ** (power + 1) for power, letter in enumerate("kmgt")},
    **{letter: 1024 ** (power + 1) for power, letter in enumerate("KMGT")},
}
_UNITS: dict[str, int] = {
    "": 1,
    "k": 10**3,
    **{letter: 1000 ** (power + 2) for power, letter in enumerate("MGT")},
    **{f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGT")},
}


def whole(value: Any) -> int | None:
    """A whole number; of text also 8k (8,000) and 8K (8,192), as vLLM reads them."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if not isinstance(value, str) or len(value) > 32:
        return None
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)([kKmMgGtT]?)\s*", value, re.ASCII)
    if found is None or ("." in found[1] and found[2] not in "kmgt"):
        return None
    if not found[2]:
        return int(found[1]) if "." not in found[1] else None
    return int(float(found[1]) * _MULTIPLE[found[2]])


def number(value: Any) -> float | None:
    """A finite number, also written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if abs(read) < float("inf") else None


def gib(quantity: Any) -> float | None:
    """A Kubernetes quantity of memory in GiB; None for what is not one."""
    if not isinstance(quantity, str) or len(quantity) > 32:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?", quantity, re.ASCII)
    if found is None:
        return None
    return float(found[1]) * _UNITS[found[2] or ""] / 1024**3

"""Kubernetes quantities (500m, 32Gi) as exact numbers."""

import re
from decimal import Decimal

_UNITS = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}


def quantity(text: object) -> Decimal:
    """The number behind a quantity; raises ValueError for what is none."""
    found = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([A-Za-z]*)", str(text).strip())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"not a quantity: {text}")
    return Decimal(found[1]) * _UNITS[found[2]]

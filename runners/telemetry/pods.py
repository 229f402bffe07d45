"""The pods that serve, by name, as start-up and the watch on them told."""

import re
from collections.abc import Mapping
from typing import Any

_ADDED = re.compile(r"pod (\S+) was added")


def pods_of(facts: Mapping[str, Any]) -> tuple[str | None, frozenset[str]]:
    """(namespace, names) from an endpoint's facts, those that came during the load included."""
    cluster = facts.get("cluster") or {}
    names = {str(pod.get("name")) for pod in cluster.get("pods") or ()}
    for told in facts.get("disturbances") or ():
        found = _ADDED.search(str(told.get("text")))
        if found is not None:
            names.add(found[1])
    return cluster.get("namespace"), frozenset(names)

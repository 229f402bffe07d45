"""Files that belong to a run but may lie beside it: a group's runs share a start of the server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runners.reports.run_facts import without_secrets
from runners.rundir import RunDirectory


def served_by(run: RunDirectory) -> tuple[RunDirectory, ...]:
    """The run, and the start of its group that served it."""
    group = RunDirectory(run.path.absolute().parent.parent)
    for each in (group.read_json("group.json") or {}).get("runs", ()):
        if each["run"] == run.run_id:
            return run, RunDirectory(group / "starts" / each["start"])
    return (run,)


def json_of(run: RunDirectory, name: str) -> Any:
    """A JSON file of the run, else of the start that served it; None without either."""
    return next((found for place in served_by(run) if (found := place.read_json(name))), None)


def manifests_of(run: RunDirectory) -> dict[str, str]:
    """The Kubernetes objects that were applied, as YAML by file name, without credentials."""
    for place in served_by(run):
        folder = place / "manifests"
        if folder.is_dir():
            return {path.name: _shareable(path) for path in sorted(folder.glob("*.yaml"))}
    return {}


def _shareable(path: Path) -> str:
    try:
        objects = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return f"# cannot be read: {' '.join(str(error).split())}\n"
    for each in objects:
        if isinstance(each, dict) and each.get("kind") == "Secret":
            for part in each.keys() & {"data", "stringData"}:
                each[part] = dict.fromkeys(each[part] or (), "(hidden)")
    shown = [without_secrets(each) for each in objects]
    return yaml.safe_dump_all(shown, sort_keys=False, allow_unicode=True, width=100)


@dataclass(frozen=True)
class Event:
    """Something that happened to what was measured; at_s: since the start of load."""

    at_s: float
    kind: str
    text: str


def events_of(run: RunDirectory, environment: Mapping[str, Any]) -> list[Event]:
    """Disturbances of the service, in order of time; none where no one watched it.

    A group's cluster.json is written after its last run: until then a run has its own copy.
    """
    started = (environment.get("load") or {}).get("t0_unix_ns")
    if started is None:
        return []
    facts = (environment.get("engine") or {}).get("facts") or {}
    cluster = json_of(run, "cluster.json") or {}
    told = facts.get("disturbances") or cluster.get("disturbances") or ()
    return sorted(_events(told, started / 1e9), key=lambda event: event.at_s)


def _events(told: Any, started_s: float) -> Iterator[Event]:
    for each in told:
        if isinstance(each, Mapping) and isinstance(each.get("unix_s"), int | float):
            at = round(float(each["unix_s"]) - started_s, 3)
            yield Event(at, str(each.get("kind") or "?"), str(each.get("text") or ""))

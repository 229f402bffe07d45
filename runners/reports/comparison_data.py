"""The runs behind a comparison, read from where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.reports.run_facts import Facts, read_facts
from runners.rundir import RunDirectory

_COLOURS = 6


@dataclass(frozen=True)
class SideRun:
    """A run whose figures may be used."""

    run: RunDirectory
    results: Mapping[str, Any]
    facts: Facts

    @property
    def seed(self) -> int | None:
        """Runs of one seed sent the same requests."""
        seed = (self.facts.profile_data.get("load") or {}).get("seed")
        return seed if isinstance(seed, int) else None


@dataclass(frozen=True)
class ReadSide:
    """A side with its valid runs, in order of their seeds; colour: a variable of report.css."""

    name: str
    colour: str
    runs: tuple[SideRun, ...]


def read_runs(comparison: Mapping[str, Any], folders: Mapping[str, Path]) -> list[ReadSide]:
    """folders: side → the directory that its runs lie in. Runs that are gone are left out."""
    return [
        ReadSide(side["name"], f"var(--side{place % _COLOURS})", _runs(side, folders))
        for place, side in enumerate(comparison["sides"])
    ]


def _runs(side: Mapping[str, Any], folders: Mapping[str, Path]) -> tuple[SideRun, ...]:
    found = []
    for name in side["runs"] if side["name"] in folders else ():
        run = RunDirectory(folders[side["name"]] / name)
        results = run.read_json("results.json")
        if results and results["verdict"]["status"] != "invalid":
            found.append(SideRun(run, results, read_facts(run, results)))
    return tuple(sorted(found, key=lambda each: (each.seed is None, each.seed or 0)))

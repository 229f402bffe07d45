"""Run directories and groups that are already there, as sides of a comparison."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from runners.errors import UsageError
from runners.experiments.rounds import Finished, Round
from runners.experiments.sides import Side
from runners.rundir import RunDirectory


def read_sides(paths: Sequence[Path]) -> list[Side]:
    """A side for each path: a run, or a group of repeats; of a comparison, each of its sides.

    Raises UsageError where a path holds no finished run.
    """
    sides = [side for path in paths for side in _sides_at(path)]
    names: dict[str, int] = {}
    told = []
    for side in sides:
        names[side.name] = names.get(side.name, 0) + 1
        count = names[side.name]
        told.append(side if count == 1 else replace(side, name=f"{side.name}-{count}"))
    return told


def _sides_at(path: Path) -> list[Side]:
    if (path / "results.json").is_file():
        return [Side(path.name, (_finished(path, 0),), _profile(path), path.parent)]
    group = RunDirectory(path).read_json("group.json") if path.is_dir() else None
    if group is None:
        raise UsageError(
            f"{path}: no run and no group there (a directory with results.json or group.json)"
        )
    by_side: dict[str | None, list[Finished]] = {}
    for number, each in enumerate(group["runs"]):
        run = path / "runs" / each["run"]
        if (run / "results.json").is_file():
            by_side.setdefault(each.get("side"), []).append(_finished(run, number))
    if not by_side:
        raise UsageError(f"{path}: no run of this group is finished")
    return [
        Side(name or path.name, tuple(runs), _profile(path / "runs" / runs[0].run), path / "runs")
        for name, runs in by_side.items()
    ]


def _finished(run: Path, index: int) -> Finished:
    results = RunDirectory(run).read_json("results.json")
    seed = _profile(run).get("load", {}).get("seed", 0)
    return Finished(Round(index, run.name, seed), run.name, results or {})


def _profile(run: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((run / "profile.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{run}/profile.yaml: cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}

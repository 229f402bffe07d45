"""Made-up groups of runs, as the experiments leave them."""

from pathlib import Path
from typing import Any

from runners.experiments.compare import compare
from runners.experiments.gate import Gate
from runners.experiments.read_sides import read_sides
from runners.reports.comparison_html import write_comparison
from runners.rundir import RunDirectory
from tests.reports.synthetic_run import write_run


def write_repeats(parent: Path, name: str, slower: float, rounds: int = 3) -> RunDirectory:
    """Rounds of one load with a seed of their own each."""
    group = RunDirectory(parent / name)
    runs = [
        _entry(number, write_run(group / "runs", seed=number, slower=slower), {}, number)
        for number in range(rounds)
    ]
    _write(group, runs, "repeats", {"text": f"{rounds} of {rounds} rounds"}, None)
    return group


def write_compared(parent: Path) -> RunDirectory:
    """The comparison of two groups of three rounds, one of them with half as much TTFT again."""
    groups = [
        write_repeats(parent, "steady", slower=1.0),
        write_repeats(parent, "slower", slower=1.5),
    ]
    sides = read_sides([group.path for group in groups])
    found = compare(sides, gates=[Gate("ttft_ms.p50", 5.0)])
    return RunDirectory(write_comparison(found, sides, parent / "compared").parent)


def write_find_max(parent: Path) -> RunDirectory:
    """Loads of 8, 16 and 12 req/s; 16 is too much."""
    group = RunDirectory(parent / "find-max")
    runs, steps, curve = [], [], []
    for number, rate in enumerate((8.0, 16.0, 12.0)):
        run = write_run(group / "runs", rate=rate, failing=0, seed=number, slower=rate / 8)
        runs.append(_entry(number, run, {"load.rate": rate}, number))
        kept = rate < 16
        said = {"text": "ttft_ms.p95 at most 180", "outcome": "pass" if kept else "fail"}
        steps.append({"run": run.run_id, "load": rate, "status": "valid", "kept": kept})
        steps[-1]["objectives"] = [said]
        curve.append({"round": number + 1, "run": run.run_id, "key": "load.rate", "value": rate})
    conclusion = {
        "text": "12 req/s is the highest load shown to keep the objectives",
        "key": "load.rate",
        "limits": {"ttft_ms.p95": 180},
        "highest_kept": 12.0,
        "lowest_not_kept": 16.0,
        "steps": steps,
        "found": True,
    }
    _write(group, runs, "find-max", conclusion, curve)
    return group


def _entry(index: int, run: RunDirectory, varied: dict[str, Any], seed: int) -> dict[str, Any]:
    return {
        "round": index + 1,
        "name": f"round-{index + 1}",
        "run": run.run_id,
        "start": "1",
        "seed": seed,
        "varied": varied,
        "side": None,
        "state": "finished",
        "status": "valid",
        "reasons": [],
    }


def _write(
    group: RunDirectory, runs: list[dict[str, Any]], kind: str, conclusion: Any, curve: Any
) -> None:
    group.write_json(
        "group.json",
        {
            "schema_version": 1,
            "group_id": group.run_id,
            "profile": "cpu-speculative",
            "kind": kind,
            "settings": {},
            "seeds": {"base": 0, "rule": "base + round - 1", "prompts": "each has its own"},
            "state": "done",
            "runs": runs,
            "unfinished": [],
            "failures": [],
            "conclusion": conclusion,
            "verdict": {"status": "valid", "runs": {"valid": len(runs)}, "reasons": []},
            "simulated": False,
            "statistics": {"confidence": 0.95, "method": "Student's t over runs"},
            "metrics": None,
            "curve": curve,
            "comparison": None,
            "not_measured": {},
        },
    )

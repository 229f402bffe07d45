"""`gate`: does a run keep its objectives? For pipelines: an exit code, JUnit, annotations."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runners.errors import Exit, OutputError, UsageError

if TYPE_CHECKING:
    from runners.experiments.slo import Checked, Objective

_FILE = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("run", type=_FILE, metavar="RUN")
@click.option("--slo", type=_FILE, metavar="FILE", help="Figures with limits. [the run's profile]")
@click.option("--allow-undecided", is_flag=True, help="Undecided does not fail.")
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML there.")
@click.option("--github", is_flag=True, help="Print GitHub annotations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def gate(run: Path, **flags: Any) -> int:
    """Check a run, or a group of repeats, against objectives.

    Exit 0: all pass; 1: one failed or is undecided; 3: the run is invalid.
    """
    checked, invalid = _checked(run, flags["slo"])
    if flags["junit"] is not None:
        _write_junit(flags["junit"], run, checked)
    if flags["as_json"]:
        print(json.dumps([asdict(each) for each in checked], allow_nan=False))
    else:
        for each in checked:
            print(f"{each.outcome:9} {each.text}")
            if flags["github"] and each.outcome != "pass":
                level = "error" if each.outcome == "fail" else "warning"
                print(f"::{level} title={each.objective.metric}::{each.text}")
    if invalid:
        return Exit.RUN_INVALID
    allowed = {"pass", "undecided"} if flags["allow_undecided"] else {"pass"}
    return Exit.DONE if {each.outcome for each in checked} <= allowed else Exit.GATE_FAILED


def _checked(run: Path, slo: Path | None) -> "tuple[list[Checked], bool]":
    from runners.experiments.slo import check_group, check_run
    from runners.rundir import RunDirectory

    directory = RunDirectory(run)
    results = directory.read_json("results.json") if run.is_dir() else None
    if results is not None:
        invalid = results["verdict"]["status"] == "invalid"
        return check_run(results, _objectives(run, slo)), invalid
    summary = directory.read_json("group.json") if run.is_dir() else None
    if summary is None:
        raise UsageError(f"{run}: no run directory with a results.json, and no group")
    if summary["kind"] != "repeats":
        runs = ", ".join(str(run / "runs" / each["run"]) for each in summary["runs"][:2])
        raise UsageError(
            f"{run}: a {summary['kind']} has no one load; gate one of its runs: {runs}"
        )
    invalid = summary["verdict"]["status"] == "invalid"
    return check_group(summary, _objectives(run, slo)), invalid


def _objectives(run: Path, slo: Path | None) -> "list[Objective]":
    from runners.experiments.slo import read_objectives

    if slo is not None:
        return read_objectives(slo)
    try:
        return read_objectives(run / "profile.yaml")
    except UsageError as error:
        raise UsageError(
            f"{run}: its profile has no slo.limits; give them with --slo FILE, "
            "such as `ttft_ms.p95: 500`"
        ) from error


def _write_junit(file: Path, run: Path, checked: "Sequence[Checked]") -> None:
    """A test case for each objective; undecided ones are failures too."""
    from xml.etree.ElementTree import Element, SubElement, tostring

    failed = sum(each.outcome != "pass" for each in checked)
    suite = Element(
        "testsuite", name=f"SLO of {run.name}", tests=str(len(checked)), failures=str(failed)
    )
    for each in checked:
        case = SubElement(suite, "testcase", classname="slo", name=each.objective.metric)
        if each.outcome != "pass":
            SubElement(case, "failure", type=each.outcome, message=each.text)
    text = b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite) + b"\n"
    try:
        file.write_bytes(text)
    except OSError as error:
        raise OutputError(f"--junit {file}: cannot be written: {error.strerror}") from error

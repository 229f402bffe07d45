"""Sub-commands that run one stage again on what a run directory holds."""

from pathlib import Path

import click

from runners.errors import Exit, UsageError
from runners.rundir import RunDirectory

_RUN = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")


def _existing(path: Path, needed: str) -> RunDirectory:
    if not (path / needed).is_file():
        raise UsageError(f"{path}: no run directory with a {needed}; name one, e.g. runs/<run>")
    return RunDirectory(path)


@click.command()
@_RUN
def measure(run: Path) -> int:
    """Measure a run directory again from its records."""
    from rich.console import Console

    from runners.measure import measure as measure_run
    from runners.reports.console import print_results

    directory = _existing(run, "requests.parquet")
    results = measure_run(directory)
    print_results(results, directory, Console())
    invalid = results["verdict"]["status"] == "invalid"
    return Exit.RUN_INVALID if invalid else Exit.DONE


@click.command()
@_RUN
def report(run: Path) -> int:
    """Write report.html of a run or a group again."""
    from runners.reports.group_html import write_group_report
    from runners.reports.html import write_report

    if (run / "group.json").is_file():
        click.echo(write_group_report(RunDirectory(run)))
        return Exit.DONE
    click.echo(write_report(_existing(run, "results.json")))
    return Exit.DONE

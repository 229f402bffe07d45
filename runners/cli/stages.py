"""Sub-commands that run one stage again on what a run directory holds."""

from pathlib import Path
from typing import Any

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
@click.option(
    "--figures",
    type=click.Choice(["png", "svg"]),
    help="Export each figure as a file too; needs a Chromium.",
)
@click.option("--markdown", is_flag=True, help="Print a Markdown summary only, for a pull request.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where figures go (RUN/figures), or summary.md in place of standard output.",
)
def report(run: Path, figures: Any, *, markdown: bool, out: Path | None) -> int:
    """Write report.html of a run, a group or a comparison again."""
    if out is not None and not (figures or markdown):
        raise UsageError("--out: report.html stays with its run; give --figures or --markdown too")
    if markdown:
        _tell_markdown(run, out)
    if figures or not markdown:
        written = _report(run)
        click.echo(written)
        if figures:
            from runners.reports.figures import export_figures

            for path in export_figures(written, figures, out or run / "figures"):
                click.echo(path)
    return Exit.DONE


def _report(run: Path) -> Path:
    from runners.reports.comparison_html import write_comparison_report
    from runners.reports.group_html import write_group_report
    from runners.reports.html import write_report

    if (run / "group.json").is_file():
        return write_group_report(RunDirectory(run))
    if (run / "comparison.json").is_file():
        return write_comparison_report(RunDirectory(run))
    return write_report(_existing(run, "results.json"))


def _tell_markdown(run: Path, out: Path | None) -> None:
    from runners.reports.markdown import summary_markdown

    text = summary_markdown(run)
    if out is None:
        click.echo(text, nl=False)
    else:
        click.echo(RunDirectory(out).write_text("summary.md", text))

"""`fetch_dataset.py`: public datasets, downloaded once and checked against a pinned hash."""

from pathlib import Path
from typing import Literal

import click

from runners.errors import Exit


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("name", type=click.Choice(["spec-bench", "sharegpt"]))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to put it into. [datasets/ beside profiles/, where spec-bench.yaml looks]",
)
@click.option("--url", help="Another place that has the same file, such as a mirror.")
def fetch_dataset(
    name: Literal["spec-bench", "sharegpt"], out: Path | None, url: str | None
) -> int:
    """Download a public dataset; prints where it is.

    Exit 0: it is there and whole; 4: it cannot be had from here, with what to do instead.
    """
    from runners import data
    from runners.progress import Progress
    from runners.workloads.fetch import PUBLIC, fetch

    folder = out if out is not None else data.folder("profiles").parent / "datasets"
    public = PUBLIC[name]
    with Progress().step(f"Fetching {name}") as step:
        path = fetch(
            name,
            folder,
            lambda came: step.detail(f"{came / 1e6:.1f} of {public.size / 1e6:.1f} MB"),
            url,
        )
    click.echo(f"licence: {public.licence}", err=True)
    click.echo(path)
    return Exit.DONE

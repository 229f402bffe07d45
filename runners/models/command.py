"""The command line of scripts/make_tiny_model.py."""

import time
from pathlib import Path

import click

from runners.errors import BenchError, Exit
from runners.models.tiny import DEFAULT_ACCEPTANCE, build_pair, parse_parameters


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to fill.")
@click.option(
    "--parameters", default="29M", show_default=True, help="Size of the target, 1M to 0.5B."
)
@click.option(
    "--acceptance",
    type=float,
    help="Share of draft tokens that the target accepts (3 per step, greedy decoding), 0.01 to 1. "
    f"[default: {DEFAULT_ACCEPTANCE:g}]",
)
@click.option("--seed", default=0, show_default=True, help="Another seed, other weights.")
@click.option("--repetitive", is_flag=True, help="Answers run into loops, for n-gram speculation.")
def main(out: Path, parameters: str, acceptance: float | None, seed: int, repetitive: bool) -> None:
    """Write OUT/target and OUT/draft: a small Llama-type model and its draft model."""
    started = time.monotonic()
    try:
        pair = build_pair(
            out,
            parameters=parse_parameters(parameters),
            acceptance=acceptance,
            seed=seed,
            repetitive=repetitive,
        )
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(int(error.exit_code)) from error
    except OSError as error:
        click.echo(f"error: cannot write {out}: {error.strerror or error}", err=True)
        raise SystemExit(int(Exit.OUTPUT)) from error
    click.echo(f"{pair.target}\n{pair.draft}")
    click.echo(f"made in {time.monotonic() - started:.1f} s", err=True)

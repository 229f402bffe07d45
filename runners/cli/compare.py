"""`compare_backends` and `compare_runs`: which one, by how much, and how sure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runners.errors import Exit, UsageError
from runners.rundir import RunDirectory

if TYPE_CHECKING:
    from runners.experiments.comparison import Comparison
    from runners.experiments.variants import Variants

_FILE = click.Path(path_type=Path)


def spread_lists(arguments: Sequence[str], flags: Sequence[str] = ("--backends",)) -> list[str]:
    """`--backends a b c` (or a,b,c) as click reads it: the flag before each value."""
    found: list[str] = []
    flag: str | None = None
    for word in arguments:
        name, equals, value = word.partition("=")
        if name in flags:
            flag = name
            for each in filter(None, value.split(",") if equals else ()):
                found += [flag, each]
        elif flag is not None and not word.startswith("-"):
            for each in filter(None, word.split(",")):
                found += [flag, each]
        else:
            flag = None
            found.append(word)
    return found


class _Spread(click.Command):
    """A command whose --backends takes several words, as argparse's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread_lists(args))


@click.command(
    cls=_Spread,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--profile", metavar="P", help="The profile all sides share. [standard]")
@click.option("--model", metavar="URI", help="The model to serve (model.uri).")
@click.option(
    "--backends",
    multiple=True,
    metavar="B B…",
    help="vllm, vllm-huggingface, tgi, tensorrt-llm (tensorrt, trtllm), triton; "
    "by default all that support the profile.",
)
@click.option(
    "--vary",
    metavar="KEY=A,B…",
    help="Compare values of a profile key instead, or profiles: profile=a,b.",
)
@click.option("--baseline", metavar="SIDE", help="What the others are compared with. [the first]")
@click.option("--repeats", type=click.IntRange(1), default=5, help="Rounds of each side. [5]")
@click.option(
    "--gate", "gates", multiple=True, metavar="METRIC:+X%", help="Fail when it gets worse by more."
)
@click.option(
    "--order",
    type=click.Choice(["auto", "interleaved", "one-after-another"]),
    default="auto",
    help="All sides served at once and measured in turn, or each alone. [auto]",
)
@click.option("--target", metavar="[kserve|local|url|simulator]", help="Where it is served.")
@click.option("--requests", type=int, help="Measured requests of a round.")
@click.option("--concurrency", type=int, help="Requests in flight; with --rate, the cap.")
@click.option("--rate", type=float, help="Arrivals per second (open loop).")
@click.option("--duration", type=float, metavar="S", help="Seconds of measured load of a round.")
@click.option("--max-tokens", type=int, help="Longest answer, in tokens.")
@click.option("--namespace", help="Kubernetes namespace.")
@click.option("--seed", type=int, help="Seed of arrivals and prompts.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY.PATH=VALUE", help="Set a key on every side."
)
@click.option("--engine-python", type=_FILE, metavar="PYTHON", help="Interpreter with the engine.")
@click.option("--out", type=_FILE, default=Path("runs"), metavar="DIR", help="Parent. [runs]")
@click.option("--dry-run", is_flag=True, help="Say what would be compared, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print comparison.json only.")
@click.option("--quiet", is_flag=True, help="No progress.")
def compare_backends(**flags: Any) -> int:
    """Compare ways to serve one model: the same requests to each, round by round.

    Exit 0: done; 1: a gate failed or is undecided; 3: a run is invalid.
    """
    from runners.experiments.comparison import ORDERS
    from runners.experiments.run_group import start_group
    from runners.progress import Progress
    from runners.targets import TargetOptions

    variants = _variants(flags)
    experiment = _experiment(variants, flags)
    progress = Progress(quiet=flags["quiet"] or flags["as_json"])
    for name, why in variants.refused.items():
        progress.note(f"{name} is left out: {why}")
    progress.note(f"{', '.join(experiment.sides)}: {ORDERS[experiment.order]}")
    if flags["dry_run"]:
        return _say_plan(variants, experiment)
    options = TargetOptions(engine_python=flags["engine_python"])
    first = variants.sides[experiment.sides[0]]
    outcome = start_group(first, experiment, options, flags["out"], progress, variants.sides)
    return _told(outcome, as_json=flags["as_json"])


def _variants(flags: dict[str, Any]) -> "Variants":
    from runners.cli.flags import DEFAULT_PROFILE, overrides
    from runners.experiments.variants import of_backends, of_values

    profile = flags["profile"] or DEFAULT_PROFILE
    found = overrides({**_ABSENT, **flags, "profile": profile})
    if flags["vary"]:
        if flags["backends"]:
            raise UsageError("--vary and --backends: give one of them")
        return of_values(profile, found, flags["vary"])
    return of_backends(profile, found, flags["backends"] or None)


# Flags of bench.sh that a comparison has no use for.
_ABSENT: dict[str, Any] = {
    "url": None,
    "service": None,
    "api_key_env": None,
    "workers": None,
    "cold_connections": None,
    "backend": None,
    "extra_engine_args": None,
}


def _experiment(variants: "Variants", flags: dict[str, Any]) -> "Comparison":
    from runners.experiments.comparison import Comparison
    from runners.experiments.gate import read_gate
    from runners.experiments.variants import ALIASES

    names = list(variants.sides)
    baseline = ALIASES.get(flags["baseline"] or "", flags["baseline"]) or names[0]
    if baseline not in names:
        raise UsageError(f"--baseline {baseline}: choose one of {', '.join(names)}")
    sides = (baseline, *(name for name in names if name != baseline))
    gates = tuple(read_gate(text) for text in flags["gates"])
    order = flags["order"]
    if order == "auto":
        order = _order(variants)
    return Comparison(sides, flags["repeats"], order, gates, variants.subject)


def _order(variants: "Variants") -> Any:
    """One after another where the sides would take GPUs from each other."""
    profiles = [loaded.profile for loaded in variants.sides.values()]
    on_gpus = any(
        each.target in ("kserve", "local") and each.resources.gpu.count for each in profiles
    )
    return "one-after-another" if on_gpus else "interleaved"


def _say_plan(variants: "Variants", experiment: "Comparison") -> int:
    for name, loaded in variants.sides.items():
        model, target = loaded.profile.model.uri, loaded.profile.target
        baseline = " (baseline)" if name == experiment.sides[0] else ""
        print(
            f"{name}{baseline}: {loaded.profile.engine.name} {loaded.profile.engine.version}, "
            f"{model}, target {target}"
        )
    for name, why in variants.refused.items():
        print(f"{name}: left out: {why}")
    print(f"{experiment.repeats} rounds of each, {experiment.order}")
    return Exit.DONE


def _told(outcome: Any, *, as_json: bool) -> int:
    from runners.cli.main import complain, console_for_results

    comparison = outcome.summary.get("comparison")
    code = Exit(outcome.exit_code)
    if comparison is not None and code == Exit.DONE:
        code = gate_exit(comparison)
    if as_json:
        print(
            json.dumps(
                {
                    "group": str(outcome.group.path),
                    "comparison": comparison,
                    "exit_code": int(code),
                    "error": outcome.error,
                },
                allow_nan=False,
            )
        )
    elif comparison is not None:
        from runners.reports.comparison_console import print_comparison

        print_comparison(comparison, outcome.group, console_for_results())
    if outcome.error:
        complain(outcome.error)
    return code


def gate_exit(comparison: dict[str, Any]) -> Exit:
    """1 where a gate failed or is undecided, or where nothing could be compared."""
    pairs = comparison["comparisons"]
    gates = [gate for pair in pairs for gate in pair["gates"]]
    if any(gate["outcome"] != "pass" for gate in gates):
        return Exit.GATE_FAILED
    return Exit.DONE


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("runs", nargs=-1, type=_FILE, required=True, metavar="A B [C…]")
@click.option("--gate", "gates", multiple=True, metavar="METRIC:+X%", help="As compare_backends.")
@click.option("--force", is_flag=True, help="Compare in spite of what differs; it stays named.")
@click.option("--out", type=_FILE, metavar="DIR", help="Write comparison.json and a report there.")
@click.option("--json", "as_json", is_flag=True, help="Print comparison.json only.")
def compare_runs(runs: tuple[Path, ...], **flags: Any) -> int:
    """Compare run directories, or groups of repeats, that are already there."""
    from runners.experiments.compare import compare
    from runners.experiments.gate import read_gate
    from runners.experiments.read_sides import read_sides

    if len(runs) < 2:
        raise UsageError("two run directories or more are needed")
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run directory is named twice; compare it with another")
    gates = [read_gate(text) for text in flags["gates"]]
    sides = read_sides(runs)
    found = compare(sides, gates=gates, forced=flags["force"])
    place = None
    if flags["out"] is not None:
        from runners.reports.comparison_html import write_comparison

        place = RunDirectory(write_comparison(found, sides, flags["out"]).parent)
    if flags["as_json"]:
        print(json.dumps(found, allow_nan=False))
    else:
        from runners.cli.main import console_for_results
        from runners.reports.comparison_console import print_comparison

        print_comparison(found, place, console_for_results())
    refused = [pair for pair in found["comparisons"] if pair["obstacles"] and not pair["forced"]]
    if refused:
        raise UsageError("not comparable, as said above; --force compares them nevertheless")
    return gate_exit(found)

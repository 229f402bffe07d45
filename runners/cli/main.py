"""The command line: parse, call a stage, print. Heavy imports wait until they are needed."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runners import __version__
from runners.errors import BenchError, Exit

if TYPE_CHECKING:
    from rich.console import Console

    from runners.profiles.load import Loaded

_COMMANDS = {
    "preflight": ("runners.cli.cluster", "Check a cluster for a profile; print the Role it needs."),
    "gc": ("runners.cli.cluster", "Remove what killed runs left in a namespace."),
    "measure": ("runners.cli.stages", "Measure a run directory again from its records."),
    "validate": ("runners.cli.validate", "Check profiles without deploying anything."),
    "convert": ("runners.cli.convert", "Convert TensorRT-LLM settings to vLLM arguments."),
    "suggest-draft": ("runners.cli.suggest_draft", "Drafts for speculation that fit a model."),
    "report": ("runners.cli.stages", "Write report.html of a run directory again."),
}


# Options that ask for several runs.
_OF_GROUPS = ("saturate", "find_max", "repeats", "until", "vary")


class LazyGroup(click.Group):
    """Sub-commands whose modules are imported only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        module = import_module(_COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done · 1 gate failed · 2 bad usage or profile · 3 run invalid · "
    "4 target unusable · 5 results not written · 130 interrupted.",
)
@click.option(
    "--profile", metavar="P", help="A profile: a path, or a name in profiles/. [standard]"
)
@click.option("--list-profiles", is_flag=True, help="List the profiles that are here.")
@click.option("--dry-run", is_flag=True, help="Validate and render; print what would run.")
@click.option("--model", metavar="URI", help="The model to serve (model.uri).")
@click.option("--requests", type=int, help="Measured requests.")
@click.option("--concurrency", type=int, help="Requests in flight; with --rate, the cap.")
@click.option("--rate", type=float, help="Arrivals per second (open loop).")
@click.option("--duration", type=float, metavar="S", help="Seconds of measured load.")
@click.option("--max-tokens", type=int, help="Longest answer, in tokens.")
@click.option(
    "--cold-connections", is_flag=True, default=None, help="A new connection for each request."
)
@click.option("--workers", metavar="N", help="Load worker processes, or auto.")
@click.option("--seed", type=int, help="Seed of arrivals and prompts.")
@click.option("--target", metavar="[kserve|local|url|simulator]", help="Where the model is served.")
@click.option("--url", help="Measure this OpenAI-compatible server (implies --target url).")
@click.option("--existing", metavar="NAME", help="Measure an InferenceService that is there.")
@click.option("--context", metavar="C", help="Kubeconfig context.")
@click.option("--namespace", help="Kubernetes namespace.")
@click.option(
    "--server-dry-run", is_flag=True, help="Let the API server check the objects; create nothing."
)
@click.option("--keep", is_flag=True, help="Leave what was deployed.")
@click.option(
    "--cold-starts",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Stop and start the service N times first, and time it.",
)
@click.option(
    "--allow-port-forward",
    is_flag=True,
    default=None,
    help="Drive any load through a port-forward; the run is degraded.",
)
@click.option("--service", help="Name of the InferenceService to create.")
@click.option("--backend", help="vllm, vllm-huggingface, tgi, tensorrt-llm or triton.")
@click.option(
    "--extra-engine-args",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML laid over engine.args: vLLM's arguments, or TensorRT-LLM settings to convert.",
)
@click.option(
    "--engine-python",
    type=click.Path(path_type=Path),
    metavar="PYTHON",
    help="Interpreter that has the engine (target local).",
)
@click.option("--api-key-env", metavar="VAR", help="Environment variable that holds the API key.")
@click.option(
    "--ca-cert", type=click.Path(path_type=Path), metavar="PEM", help="Trust this CA (https)."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY.PATH=VALUE",
    help="Set any profile key; repeatable.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    metavar="DIR",
    help="Parent of the run directory. [runs]",
)
@click.option("--repeats", type=int, metavar="N", help="Run N rounds and take means over runs.")
@click.option(
    "--until",
    metavar="METRIC:PERCENT",
    help="Repeat until the mean of a figure over runs is that precise, e.g. ttft_ms.p95:5; "
    "at most --repeats [10] rounds.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=A,B…",
    help="Sweep over the values of a profile key; repeatable, every combination is run.",
)
@click.option("--saturate", is_flag=True, help="Double the load until throughput stops growing.")
@click.option(
    "--find-max", is_flag=True, help="Find the highest load that keeps the objectives (slo)."
)
@click.option(
    "--slo",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Objectives: limits of a request (ttft_ms: 500) or of the run (ttft_ms.p95: 800).",
)
@click.option("--cost", metavar="NAME", help="A price of costs/*.yaml (cost.price).")
@click.option("--resume", metavar="GROUP", help="Finish an interrupted or killed group of runs.")
@click.option("--json", "as_json", is_flag=True, help="Print a machine-readable summary only.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.version_option(__version__, prog_name="kserve-bench")
@click.pass_context
def cli(ctx: click.Context, /, **flags: Any) -> int:
    """Benchmark LLM serving: one profile in, trustworthy numbers out.

    \b
    ./bench.sh --profile cpu-smoke.yaml          a real engine on this machine
    ./bench.sh --profile standard --dry-run      what would be deployed
    ./bench.sh --profile standard --url http://localhost:8000
    """
    if ctx.invoked_subcommand is not None:
        return Exit.DONE
    if flags["list_profiles"]:
        from runners.cli.show import show_profiles

        return show_profiles(flags["as_json"])
    if flags["resume"] is not None:
        from runners.cli.groups import resume

        return resume(flags)
    loaded = _load(flags)
    if any(_given(flags[name]) for name in _OF_GROUPS):
        from runners.cli.groups import start

        return start(loaded, _target_options(flags), flags)
    if flags["dry_run"] or flags["server_dry_run"]:
        return _dry_run(loaded, flags)
    return _run(loaded, flags)


def _dry_run(loaded: "Loaded", flags: dict[str, Any]) -> int:
    if flags["server_dry_run"]:
        from runners.cli.cluster import server_dry_run

        return server_dry_run(loaded, flags["as_json"])
    from runners.cli.show import show_plan

    return show_plan(loaded, _target_options(flags), flags["as_json"])


def _given(value: Any) -> bool:
    """Whether an option was used; --repeats 0 was, and is refused later."""
    return value is not None and value is not False and value != ()


def _load(flags: dict[str, Any]) -> "Loaded":
    from runners.checks.check import checked
    from runners.cli.flags import DEFAULT_PROFILE, overrides
    from runners.profiles.load import load_profile

    return checked(load_profile(flags["profile"] or DEFAULT_PROFILE, overrides(flags)))


def _target_options(flags: dict[str, Any]) -> Any:
    from runners.targets import TargetOptions

    return TargetOptions(
        engine_python=flags["engine_python"],
        ca_cert=flags["ca_cert"],
        keep=flags["keep"],
        cold_starts=flags["cold_starts"],
    )


def _run(loaded: "Loaded", flags: dict[str, Any]) -> int:
    from runners.cli.flags import LOOK_S, short_look
    from runners.progress import Progress
    from runners.run import run

    progress = Progress(quiet=flags["quiet"] or flags["as_json"])
    for finding in loaded.findings:
        progress.note(f"{finding.severity}: {finding.line()}")
    if short_look(flags):
        progress.note(
            f"simulator: {LOOK_S:g} s of load show what a run looks like; "
            "--duration S or --requests N for more"
        )
    outcome = run(loaded, flags["out"], _target_options(flags), progress)
    if flags["as_json"]:
        print(json.dumps(_summary(outcome), allow_nan=False))
    elif outcome.results is not None:
        from runners.reports.console import print_results

        print_results(outcome.results, outcome.run, console_for_results())
    if outcome.error:
        complain(outcome.error)
    return outcome.exit_code


def console_for_results() -> "Console":
    """Standard output; wide enough for the tables where it is a file or a pipe."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110)


def _summary(outcome: Any) -> dict[str, Any]:
    kept = outcome.run.path.exists()
    summary: dict[str, Any] = {"run_directory": str(outcome.run.path) if kept else None}
    if outcome.results is not None:
        from runners.reports.console import summary as of_results

        summary |= of_results(outcome.results)
    return summary | {"exit_code": int(outcome.exit_code), "error": outcome.error}


def complain(message: str) -> None:
    """Say what went wrong: one line on stderr."""
    print(f"error: {message}", file=sys.stderr)


def main(
    arguments: list[str] | None = None,
    command: click.Command | None = None,
    name: str = "bench.sh",
) -> int:
    """Run the command line; returns the exit code. No traceback for what a user can cause.

    command: in place of the whole command line. name: how it is called in help texts.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    further: list[str] = []
    try:
        code = (command or cli).main(arguments, prog_name=name, standalone_mode=False)
        return int(code or 0)
    except click.ClickException as error:
        message, failed = f"{error.format_message()} (see --help)", Exit.USAGE
    except BenchError as error:
        message, *further = error.lines()
        failed = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        message, failed = "interrupted", Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.DONE
    if "--json" in arguments:
        print(json.dumps({"error": message, "further": further, "exit_code": int(failed)}))
    for line in (message, *further):
        complain(line)
    return failed

"""`convert`: TensorRT-LLM's settings as arguments of a vLLM version."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runners.errors import Exit, UsageError

if TYPE_CHECKING:
    from runners.convert import Conversion, Target


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--prefill",
    type=click.Path(path_type=Path),
    metavar="FILE2",
    help="Settings of the prefill side; FILE is the decode side (--to profile).",
)
@click.option("--vllm-version", metavar="V", help="vLLM to convert for. [the newest known]")
@click.option(
    "--to",
    "form",
    type=click.Choice(["args", "json", "yaml", "profile"]),
    default="args",
    help="A command line, JSON, vLLM's YAML, or a profile. [args]",
)
@click.option("--explain", is_flag=True, help="Say of each key what becomes of it, and why.")
@click.option("--gpu", metavar="GPU", help="GPU it will run on, e.g. H100: for the memory share.")
@click.option("--model", metavar="URI", help="The model: for the memory share and --to profile.")
@click.option(
    "--role",
    type=click.Choice(["decode", "prefill"]),
    help="Which side of a disaggregated pair FILE is.",
)
@click.option(
    "--dialect",
    type=click.Choice(["vllm", "dynamo"]),
    default="vllm",
    help="dynamo: the mapping that older documents list, which no current vLLM accepts. [vllm]",
)
def convert(file: Path, prefill: Path | None, form: str, **flags: Any) -> int:
    """Convert TensorRT-LLM settings (the YAML of trtllm-serve --config) to vLLM.

    \b
    convert_engine_config.py engine.yaml --explain
    convert_engine_config.py decode.yaml --prefill prefill.yaml --to profile --model hf://org/name
    """
    if prefill is not None and form != "profile":
        raise UsageError("--prefill makes a pair, which only --to profile can hold; add it")
    side = flags["role"] or ("decode" if prefill else None)
    main = _converted(file, flags, side)
    other = _converted(prefill, flags, "prefill") if prefill is not None else None
    text = _text(main, other, file, form, flags)
    if flags["explain"] and form != "json":
        _explain(main, file)
        if other is not None and prefill is not None:
            _explain(other, prefill)
    elif not flags["explain"]:
        _remark(main, file, other, prefill)
    print(text, end="")
    return Exit.DONE


def _converted(file: Path, flags: dict[str, Any], role: Any) -> "Conversion":
    from runners.convert import convert as converted
    from runners.convert import read_settings

    return converted(read_settings(file, _target(flags, role)), flags["dialect"])


def _target(flags: dict[str, Any], role: Any) -> "Target":
    from dataclasses import replace

    from runners.checks.tables import gpu, gpu_names
    from runners.convert.extra_arguments import target_of
    from runners.profiles.engine_section import ENGINE_VERSIONS

    version = flags["vllm_version"] or ENGINE_VERSIONS["vllm"]
    if not re.fullmatch(r"v?\d+\.\d+(\.\d+)*([a-z0-9.+-]*)", version):
        raise UsageError(f"--vllm-version {version}: write it as 0.32.0")
    if flags["gpu"] and gpu(flags["gpu"]) is None:
        known = ", ".join(gpu_names())
        raise UsageError(f"--gpu {flags['gpu']}: not known here; one of {known}")
    target = target_of(version.removeprefix("v"), flags["gpu"], flags["model"], Path.cwd())
    return replace(target, role=role)


def _explain(conversion: "Conversion", file: Path) -> None:
    from runners.cli.main import console_for_results
    from runners.convert import write

    console = console_for_results()
    console.print(write.table(conversion, f"{file} for vLLM {conversion.target.version}"))
    for warning in conversion.warnings:
        console.print(f"warning: {warning}", highlight=False)
    print()


def _remark(
    main: "Conversion", file: Path, other: "Conversion | None", prefill: Path | None
) -> None:
    """What is not exact, on standard error, so that the output can be piped."""
    from runners.convert import write

    lines = [f"warning: {warning}" for warning in main.warnings]
    lines += write.remarks(main, f"{file.name}: " if other else "")
    if other is not None and prefill is not None:
        lines += write.remarks(other, f"{prefill.name}: ")
    for line in lines:
        print(line, file=sys.stderr)


def _text(
    main: "Conversion", other: "Conversion | None", file: Path, form: str, flags: dict[str, Any]
) -> str:
    from runners.convert import write

    if form == "args":
        return f"{write.command_line(main)}\n"
    if form == "json":
        return f"{write.as_json(main, explained=flags['explain'])}\n"
    if form == "yaml":
        return write.as_yaml(main.args)
    return write.as_yaml(write.profile(main, file.stem, flags["model"], flags["gpu"], other))

"""Rendered vLLM command lines, read by the parser of a real vLLM."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runners.profiles.load import list_profiles, load_profile
from runners.render import render
from tests.render import pods
from tests.render.cases import CASES, FOLDER, RUN, profile_of

_PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for name, arguments in json.load(sys.stdin).items():
    print("reading", name, file=sys.stderr)
    parser.parse_args(arguments)
print("all read")
"""


def command_lines() -> dict[str, list[str]]:
    """Case or profile and role → arguments of `vllm serve` or of its API server."""
    found = {}
    objects = {case: render(profile_of(case), RUN, FOLDER) for case in CASES}
    for listed in list_profiles():
        if listed.target == "kserve":
            objects[listed.name] = render(load_profile(listed.path).profile, RUN)
    for name, rendered in objects.items():
        for role, pod in pods.pods(rendered).items():
            arguments = _vllm_arguments(pod["containers"][0])
            if arguments:
                found[f"{name}: {role}"] = arguments
    return found


def _vllm_arguments(container: dict[str, Any]) -> list[str]:
    command, arguments = container.get("command", []), container.get("args", [])
    if command[-1:] == ["vllm.entrypoints.openai.api_server"]:
        return list(arguments)
    if "serve" in arguments:
        model, *further = arguments[arguments.index("serve") + 1 :]
        return ["--model", model, *further]
    variables = {each["name"]: each.get("value", "") for each in container["env"]}
    return shlex.split(variables.get("VLLM_ADDITIONAL_ARGS", ""))


@pytest.mark.engine
def test_vllm_reads_every_rendered_argument(engine_python: Path) -> None:
    lines = command_lines()
    assert len(lines) > len(CASES) / 2
    read = subprocess.run(
        [engine_python, "-c", _PARSE],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert read.stdout.endswith("all read\n"), read.stderr[-2000:]

"""What the command line prints without running anything."""

import json
import shlex
from typing import Any

from runners.errors import Exit
from runners.profiles.load import Loaded, dump, list_profiles
from runners.profiles.model import Profile
from runners.targets import TargetOptions


def show_profiles(as_json: bool) -> int:
    """The profiles that are here: name, target, engine and what each shows."""
    listed = list_profiles()
    if as_json:
        rows = [
            {
                "name": each.name,
                "target": each.target,
                "engine": each.engine,
                "description": each.description,
                "path": str(each.path),
            }
            for each in listed
        ]
        print(json.dumps(rows))
        return Exit.DONE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("profile", "target", "engine", "what it shows"):
        table.add_column(column, overflow="fold")
    for each in listed:
        table.add_row(each.name, each.target, each.engine, each.description)
    Console().print(table)
    return Exit.DONE


def show_plan(loaded: Loaded, options: TargetOptions, as_json: bool) -> int:
    """Validate, resolve and render; standard output is YAML that kubectl could apply.

    For targets other than a cluster it is the resolved profile, with the commands that
    would run as comments.
    """
    profile = loaded.profile
    objects = _objects(profile)
    steps = _steps(profile, options)
    if as_json:
        value = {
            "profile": profile.model_dump(mode="json"),
            "findings": [finding.line() for finding in loaded.findings],
            "manifests": objects,
            "steps": steps,
        }
        print(json.dumps(value))
        return Exit.DONE
    for finding in loaded.findings:
        print(f"# {finding.severity}: {finding.line()}")
    for step in steps:
        print(f"# {step}")
    if objects:
        from runners.render import to_yaml

        print("---\n".join(["", *(to_yaml(each) for each in objects.values())]), end="")
    else:
        print(dump(profile), end="")
    return Exit.DONE


def _objects(profile: Profile) -> dict[str, Any]:
    if profile.target != "kserve":
        return {}
    from runners.render import render

    return render(profile)


def _steps(profile: Profile, options: TargetOptions) -> list[str]:
    """What a run would do, a line each."""
    from runners.load.schedule import pace

    plan = pace(profile.load)
    steps = [f"profile {profile.name}: target {profile.target}, model {profile.model.uri}"]
    if profile.target == "local":
        from runners.engines.vllm import flags

        python = str(options.engine_python or "python")
        arguments = shlex.join(flags(profile.engine.args))
        steps.append(f"start {python} -m vllm.entrypoints.openai.api_server {arguments}")
    elif profile.target == "url":
        steps.append(f"measure {profile.url}")
    amount = " or ".join(
        text
        for text in (
            f"{plan.requests} requests" if plan.requests else "",
            f"{plan.duration_s:g} s" if plan.duration_s else "",
        )
        if text
    )
    how = (
        f"closed loop, {plan.concurrency} in flight"
        if plan.rate is None
        else f"{plan.pattern} arrivals at {plan.rate:g} req/s"
        + (f", at most {plan.concurrency} in flight" if plan.concurrency else "")
    )
    warmup = (
        f"{plan.warmup_requests} requests"
        if plan.warmup_requests is not None
        else f"{plan.warmup_s:g} s"
    )
    steps.append(f"drive {amount}: {how}, after a warm-up of {warmup}")
    return steps

"""What the command line prints without running anything."""

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runners.errors import Exit
from runners.profiles.load import Loaded, dump, list_profiles
from runners.profiles.load_section import Load
from runners.profiles.model import Profile
from runners.targets import TargetOptions

if TYPE_CHECKING:
    from runners.load.schedule import Pace


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


def show_plan(
    loaded: Loaded, options: TargetOptions, as_json: bool, further: Sequence[str] = ()
) -> int:
    """Validate, resolve and render; standard output is YAML that kubectl could apply.

    For targets other than a cluster it is the resolved profile, with the commands that
    would run as comments. further: more steps, after those of one run.
    """
    profile = loaded.profile
    objects = _objects(profile)
    steps = [*_steps(profile, options), *further]
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
    objects: dict[str, Any] = {}
    if profile.target == "kserve":
        from runners.render import render

        objects |= render(profile)
    if profile.load.workers is not None and profile.load.workers.pods is not None:
        from runners.render.load_workers import render_load_workers

        objects |= render_load_workers(profile)
    return objects


def _steps(profile: Profile, options: TargetOptions) -> list[str]:
    """What a run would do, a line each."""
    steps = [f"profile {profile.name}: target {profile.target}, model {profile.model.uri}"]
    if profile.target == "local":
        from runners.engines.vllm import flags

        python = str(options.engine_python or "python")
        arguments = shlex.join(flags(profile.engine.args))
        steps.append(f"start {python} -m vllm.entrypoints.openai.api_server {arguments}")
    elif profile.target == "url":
        steps.append(f"measure {profile.url}")
    return [*steps, *_load_steps(profile)]


def _load_steps(profile: Profile) -> list[str]:
    """The load in words. Makes the schedule, so that a fault of a trace shows here."""
    import numpy as np

    from runners.load.schedule import make_schedule, pace

    load, plan = profile.load, pace(profile.load)
    schedule = make_schedule(load, profile.workload)
    limits = [
        f"{plan.requests} requests" if plan.requests else "",
        f"{plan.duration_s:g} s" if plan.duration_s else "",
    ]
    amount = " or ".join(limit for limit in limits if limit) or "the whole trace"
    step = f"drive {amount}: {_how(load, plan)}"
    if plan.pattern != "closed" and plan.concurrency:
        step += f", at most {plan.concurrency} in flight"
    if plan.warmup_requests:
        step += f", after a warm-up of {plan.warmup_requests} requests"
    elif plan.warmup_s:
        step += f", after a warm-up of {plan.warmup_s:g} s"
    if load.stop_after_failures is not None:
        budget = load.stop_after_failures
        share = f"{100 * budget.share:g} %" if budget.share else f"{budget.count} requests"
        step += f"; stop when {share} have failed"
    asked = _dataset_step(profile)
    if schedule.intended_ns is None:
        return [step, *asked]
    measured = schedule.intended_ns[~schedule.warmup]
    return [
        step,
        *asked,
        f"planned with seed {load.seed}: {len(measured)} requests over "
        f"{np.ptp(measured) / 1e9:.1f} s, {schedule.busiest_second()} in the busiest second",
    ]


def _dataset_step(profile: Profile) -> list[str]:
    """What a dataset holds, so that nothing is left out of it unseen."""
    from runners.workloads.dataset import read_dataset

    work = profile.workload
    if work.dataset is None or work.has_made_lengths:
        return []
    read = read_dataset(work.dataset)
    text = f"ask {len(read.entries)} entries of {work.dataset.file}, {read.requests} requests"
    left = f"; {read.left_out} are left out" if read.left_out else ""
    return [f"{text} before it begins over{left}"]


def _how(load: Load, plan: "Pace") -> str:
    """Which load, without its amount."""
    if plan.pattern == "closed":
        loop, think = f"closed loop, {plan.concurrency} in flight", load.think_time
        if think is None:
            return loop
        wait = f"{think.mean_s:g} s ({think.distribution})"
        return f"{loop}, each user thinking {wait} between requests"
    if load.trace is not None:
        speed = f" at {load.trace.speed:g} times its speed" if load.trace.speed != 1 else ""
        return f"replay of {load.trace.file}{speed}"
    even = "evenly spaced" if load.spacing == "even" else "poisson"
    if load.stages is not None:
        count = f"{len(load.stages)} stage{'s' if len(load.stages) > 1 else ''}"
        return f"{count} of {even} arrivals, {plan.rate:g} req/s on average"
    if load.burst is not None:
        burst = load.burst
        between = f"{burst.off_rate:g} req/s" if burst.off_rate else "none"
        on, off = f"{burst.rate:g} req/s for {burst.on_s:g} s", f"{between} for {burst.off_s:g} s"
        return f"bursts of {even} arrivals, {on}, then {off}"
    shape = f" of burstiness {load.burstiness:g}" if load.burstiness is not None else ""
    return f"{plan.pattern} arrivals{shape} at {plan.rate:g} req/s"

"""One run: the arrows of the design, one after the other, through the run directory."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from runners.errors import BenchError, Exit, worst
from runners.profiles.load import Loaded
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets import TargetOptions
from runners.targets.endpoint import Endpoint

if TYPE_CHECKING:
    from runners.load.schedule import Schedule
    from runners.workloads.prompts import Prompts


@dataclass(frozen=True)
class Outcome:
    """How a run ended. results: None when it never came to a measurement."""

    run: RunDirectory
    results: dict[str, Any] | None
    exit_code: Exit
    error: str | None = None


def run(loaded: Loaded, out: Path, options: TargetOptions, progress: Progress) -> Outcome:
    """Serve, drive, measure and report one profile.

    Raises OutputError when the run directory cannot even be made. Every later failure
    is in the outcome, together with whatever was measured before it.
    """
    directory = RunDirectory.create(out, loaded.profile.name)
    write_plan(directory, loaded.profile, [asdict(finding) for finding in loaded.findings])
    codes: list[Exit] = []
    error: str | None = None
    try:
        with signals_interrupt():
            interrupted = _serve_and_drive(loaded.profile, directory, options, progress)
        if interrupted:
            codes.append(Exit.INTERRUPTED)
    except BenchError as failure:
        codes.append(failure.exit_code)
        error = str(failure)
    except KeyboardInterrupt:
        codes.append(Exit.INTERRUPTED)
        error = "interrupted before load began; nothing was measured"
    results = None
    if (directory / "requests.parquet").exists() and Exit.OUTPUT not in codes:
        try:
            results = measure_and_report(directory, progress)
        except BenchError as failure:
            codes.append(failure.exit_code)
            error = str(failure)
    if results is not None and results["verdict"]["status"] == "invalid":
        codes.append(Exit.RUN_INVALID)
    if results is None and directory.holds_only_the_plan():
        directory.remove()
    return Outcome(directory, results, worst(*codes), error)


def write_plan(directory: RunDirectory, profile: Profile, findings: list[dict[str, Any]]) -> None:
    """Write what will be done, before anything is: profile.yaml and findings.json."""
    from runners.profiles.load import dump

    directory.write_text("profile.yaml", dump(profile))
    directory.write_json("findings.json", findings)


def measure_and_report(directory: RunDirectory, progress: Progress) -> dict[str, Any]:
    """The last two stages; they need only what the earlier ones left."""
    from runners.measure import measure
    from runners.reports.html import write_report

    with progress.step("Measuring"):
        results = measure(directory)
    with progress.step("Writing report.html"):
        write_report(directory)
    return results


def _serve_and_drive(
    profile: Profile, directory: RunDirectory, options: TargetOptions, progress: Progress
) -> bool:
    """Returns whether a person stopped the load early."""
    from runners.load.remote_client import refuse_what_cannot_drive
    from runners.load.schedule import make_schedule
    from runners.targets import open_endpoint

    # Planned first: a trace that cannot be read must not cost a deployment.
    refuse_what_cannot_drive(profile)
    schedule = make_schedule(profile.load, profile.workload)
    with open_endpoint(profile, directory, progress, options) as endpoint:
        return drive_round(profile, schedule, endpoint, directory, progress)


def drive_round(
    profile: Profile,
    schedule: "Schedule",
    endpoint: Endpoint,
    directory: RunDirectory,
    progress: Progress,
) -> bool:
    """Drive one load at an endpoint that answers, and write its records and environment.json.

    Returns whether a person stopped the load early.
    """
    from runners.environment import describe

    driven = _drive(profile, schedule, endpoint, directory, progress)
    directory.write_json("environment.json", describe(endpoint, profile.load.seed, driven))
    return bool(driven["interrupted"])


def _drive(
    profile: Profile,
    schedule: "Schedule",
    endpoint: Endpoint,
    directory: RunDirectory,
    progress: Progress,
) -> dict[str, Any]:
    """Build prompts, send them, scrape beside; returns the load facts."""
    from runners.load.drive import drive
    from runners.telemetry.gpu_watch import Watch
    from runners.telemetry.scrape import Scraper, write_scrapes

    urls = [endpoint.metrics_url] if endpoint.metrics_url else []
    scrapers = [
        Scraper(url, ca_cert=endpoint.ca_cert, api_key_env=endpoint.api_key_env)
        for url in (*urls, *endpoint.more_metrics_urls)
    ]
    # Before the prompts: while they are made the GPUs are idle.
    with Watch(profile, endpoint) as watch:
        prompts = _prompts(profile, schedule, endpoint, progress)
        with ExitStack() as scraping, progress.step("Driving load") as step:
            for scraper in scrapers:
                scraping.enter_context(scraper)
            driven = drive(
                profile,
                schedule,
                prompts,
                endpoint,
                directory,
                lambda sent: step.detail(f"{sent.done} answered, {sent.failed} failed"),
            )
    beside = watch.rows(driven.t0_ns, driven.facts["t0_unix_ns"])
    write_scrapes(scrapers, directory, driven.t0_ns, beside)
    # A port-forward begins on this machine and leads away from it.
    forwarded = endpoint.facts.get("route") == "port-forward"
    shared = is_this_host(endpoint.base_url) and not forwarded
    return driven.facts | {"shared_host": shared} | watch.facts


def _prompts(
    profile: Profile, schedule: "Schedule", endpoint: Endpoint, progress: Progress
) -> "Prompts":
    from runners.workloads.prompts import make_prompts

    with progress.step("Making prompts") as step:
        count = int(schedule.prompt_id.max()) + 1
        prompts = make_prompts(
            profile.workload,
            count,
            profile.load.seed,
            endpoint.tokenizer,
            lengths=schedule.input_tokens,
        )
        step.detail(f"{count} prompts")
    return prompts


def is_this_host(base_url: str) -> bool:
    """Whether an address is one of this machine's own."""
    import socket
    from urllib.parse import urlsplit

    host = urlsplit(base_url).hostname or ""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # Only an address of ours can be bound.
            probe.bind((socket.getaddrinfo(host, 0, probe.family)[0][4][0], 0))
    except OSError:
        return False
    return True


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run as Ctrl-C does: cleaned up, what was measured kept."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heeded = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # nohup ignores SIGHUP on purpose; a shell's & ignores SIGINT by accident
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Facts about where a run took place: environment.json."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from runners import __version__
from runners.targets.endpoint import Endpoint


def describe(endpoint: Endpoint, seed: int, load: dict[str, Any]) -> dict[str, Any]:
    """The content of environment.json; what cannot be known is null."""
    return {
        "toolkit": {"version": __version__, "git_revision": git_revision()},
        "host": {
            "name": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gib": memory_gib(),
        },
        "engine": {
            "name": endpoint.engine,
            "version": endpoint.engine_version,
            "facts": endpoint.facts,
        },
        "target": endpoint.target,
        "base_url": endpoint.base_url,
        "model": endpoint.model,
        "simulated": endpoint.simulated,
        "seed": seed,
        "load": load,
    }


def git_revision() -> str | None:
    """The toolkit's own revision, with -dirty for local changes; None outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def processor() -> str | None:
    """The processor's model name, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def memory_gib() -> float | None:
    """Physical memory in GiB."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None

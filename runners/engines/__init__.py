"""What an engine is: its environment, command line, and start-up log."""

import os
from pathlib import Path


def home() -> Path:
    """Where the toolkit keeps engine environments and models.

    $KSERVE_BENCH_HOME, else .cache in a checkout, else kserve-bench in the user's cache
    directory (XDG base directory specification).
    """
    chosen = os.environ.get("KSERVE_BENCH_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "bench.sh").is_file():
        return checkout / ".cache"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "kserve-bench"

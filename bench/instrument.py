"""What the measuring instrument costs and how far it can be trusted, beside its peers.

    make bench                                          everything, about half an hour
    .venv/bin/python bench/instrument.py --quick        a minute, ourselves only
    .venv/bin/python bench/instrument.py --only cost,accuracy --peers vllm --rounds 5

All load goes to a small server of our own (mock_server.c) on 127.0.0.1. Peers take part
where they are installed: vLLM's environment as target local makes it, the others by
`make bench-peers`. docs/instrument.md explains the figures.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import accuracy, cost, open_loop, volume
from bench.clients import installed

PARTS = ("cost", "accuracy", "competitor", "open-loop", "memory", "measuring", "workers")


def parts(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """What each part runs; --quick is the same with little of everything."""
    quick, rounds = options.quick, options.rounds
    clients = installed(options.peers)
    cells = cost.cells(500 if quick else options.requests, options.prompt_tokens)
    streams = [64] if quick else [1, 64, 256, 512]
    rates, seconds = ([100.0], 2.0) if quick else ([20.0, 100.0, 300.0, 1000.0], options.seconds)
    return {
        "cost": lambda: cost.measure(clients, cells[:1] if quick else cells, rounds),
        "accuracy": lambda: accuracy.measure(clients, streams, rounds, competitor=False),
        "competitor": lambda: accuracy.measure(
            clients, [64 if quick else 512], rounds, competitor=True
        ),
        "open-loop": lambda: open_loop.measure(
            rates, ["constant", "poisson"], [1, 2], seconds, rounds
        ),
        "memory": lambda: volume.memory(2_000 if quick else 100_000, 128),
        "measuring": lambda: volume.measuring(20_000 if quick else 1_000_000, [0, 16]),
        "workers": lambda: volume.second_worker(2_000 if quick else 20_000, 128, rounds),
    }


def machine() -> dict[str, Any]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little of everything, no peers")
    parser.add_argument("--only", metavar="A,B", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=None, help="[3; 1 when quick]")
    parser.add_argument("--requests", type=int, default=4000, help="per run without delays")
    parser.add_argument("--prompt-tokens", type=int, default=16, help="of the cost part")
    parser.add_argument("--seconds", type=float, default=10.0, help="per open loop run")
    parser.add_argument("--peers", metavar="A,B", default="vllm,guidellm,aiperf", help="or none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.peers = [] if options.quick else options.peers.split(",")
    wanted = options.only.split(",") if options.only else list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"--only {unknown[0]}: choose of {', '.join(PARTS)}")
    figures: dict[str, Any] = {"machine": machine(), "rounds": options.rounds}
    print(" · ".join(f"{key} {value}" for key, value in figures["machine"].items()))
    available = parts(options)
    for name in wanted:
        figures[name] = available[name]()
        if options.json:  # after every part: an interrupted evening keeps what it has
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

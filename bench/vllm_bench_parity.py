"""Hold our figures against `vllm bench serve` and the engine's own, on one running engine.

    .venv/bin/python bench/vllm_bench_parity.py [--concurrency 1 8] [--rounds 3]

Starts the profile cpu-smoke's engine once, then measures in turn: ours, theirs, ours, …
Same prompt and answer lengths, ignore_eos, greedy; a new seed per run, so that no run
finds the other's prompts in the prefix cache. Throughput should agree. TTFT is judged by
the engine's own histogram; the peer's is printed beside it and is no judge, because its
client counts its own queueing as the server's latency.

On a virtual machine an engine with one stream is faster beside a client that keeps the
processors busy: a processor that slept takes long to wake for each token. So both are
measured with the processors kept awake by idle-priority spinners; --let-sleep leaves them
out and shows the effect.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from runners.engines.environment import find_engine
from runners.profiles.load import load_profile
from runners.progress import Progress
from runners.run import run
from runners.rundir import RunDirectory
from runners.targets import TargetOptions, open_endpoint
from runners.targets.endpoint import Endpoint

INPUT_TOKENS, OUTPUT_TOKENS = 128, 64

_PEER = """
import sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""


_SPINNER = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile 1: pass"


@contextmanager
def awake(wanted: bool) -> Iterator[None]:
    """Keep every processor from sleeping, at a priority that yields to everything else."""
    count = (os.cpu_count() or 1) if wanted else 0
    spinners = [subprocess.Popen([sys.executable, "-c", _SPINNER]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@dataclass(frozen=True)
class Figures:
    """One run: output tokens per second, mean TTFT in ms as seen by client and engine."""

    throughput: float
    ttft_ms: float
    engine_ttft_ms: float | None


def ours(endpoint: Endpoint, concurrency: int, requests: int, seed: int, out: Path) -> Figures:
    settings: list[tuple[str, Any]] = [
        ("target", "url"),
        ("url", endpoint.base_url),
        ("model.tokenizer", str(endpoint.tokenizer)),
        ("load.concurrency", concurrency),
        ("load.requests", requests),
        ("load.duration_s", None),
        ("load.seed", seed),
        ("workload.input_tokens", INPUT_TOKENS),
        ("workload.max_tokens", OUTPUT_TOKENS),
        ("workload.ignore_eos", True),
    ]
    loaded = load_profile("cpu-smoke", settings)
    outcome = run(loaded, out, TargetOptions(), Progress(quiet=True))
    if outcome.results is None:
        raise SystemExit(f"our run failed: {outcome.error}")
    metrics = outcome.results["metrics"]
    return Figures(
        metrics["output_throughput_tok_s"]["value"],
        metrics["ttft_ms"]["mean"]["value"],
        outcome.results["server"]["ttft_mean_ms"],
    )


def theirs(
    endpoint: Endpoint, python: Path, concurrency: int, requests: int, seed: int, out: Path
) -> Figures:
    file = out / f"peer-{concurrency}-{seed}.json"
    arguments = [
        "--backend", "openai-chat", "--endpoint", "/v1/chat/completions",
        "--base-url", endpoint.base_url, "--model", endpoint.model,
        "--tokenizer", str(endpoint.tokenizer), "--dataset-name", "random",
        "--random-input-len", str(INPUT_TOKENS), "--random-output-len", str(OUTPUT_TOKENS),
        "--ignore-eos", "--temperature", "0", "--seed", str(seed),
        "--max-concurrency", str(concurrency), "--num-prompts", str(requests),
        "--num-warmups", str(2 * concurrency), "--save-result",
        "--result-dir", str(file.parent), "--result-filename", file.name,
    ]  # fmt: skip
    done = subprocess.run(
        [str(python), "-c", _PEER, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"vllm bench serve failed: {done.stderr.strip().splitlines()[-1]}")
    result = json.loads(file.read_text(encoding="utf-8"))
    return Figures(result["output_throughput"], result["mean_ttft_ms"], None)


def mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):8.1f}{spread}"


def report(concurrency: int, our: list[Figures], their: list[Figures]) -> None:
    ratios = [a.throughput / b.throughput for a, b in zip(our, their, strict=True)]
    engine = [each.engine_ttft_ms for each in our if each.engine_ttft_ms is not None]
    print(f"\nconcurrency {concurrency}, {len(our)} rounds")
    print(f"  output tok/s   ours {mean_and_spread([each.throughput for each in our])}")
    print(f"                theirs {mean_and_spread([each.throughput for each in their])}")
    print(f"                 ratio {fmean(ratios):.3f} ({min(ratios):.3f} … {max(ratios):.3f})")
    print(f"  mean TTFT, ms  ours {mean_and_spread([each.ttft_ms for each in our])}")
    if engine:
        print(f"          engine's own {mean_and_spread(engine)}")
    print(f"                theirs {mean_and_spread([each.ttft_ms for each in their])}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests-per-slot", type=int, default=16)
    parser.add_argument("--let-sleep", action="store_true", help="no spinners")
    options = parser.parse_args()
    loaded = load_profile("cpu-smoke")
    with tempfile.TemporaryDirectory() as folder, awake(not options.let_sleep):
        out = Path(folder)
        directory = RunDirectory.create(out, "engine")
        with open_endpoint(loaded.profile, directory, Progress(), TargetOptions()) as endpoint:
            python = find_engine(Progress()).path
            for concurrency in options.concurrency:
                requests = options.requests_per_slot * concurrency
                our, their = [], []
                for turn in range(options.rounds):
                    seed = 1000 * concurrency + 2 * turn
                    our.append(ours(endpoint, concurrency, requests, seed, out))
                    their.append(theirs(endpoint, python, concurrency, requests, seed + 1, out))
                report(concurrency, our, their)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Load generators side by side: how each is started, and what it says it saw."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.mock import Floats
from runners.engines import home
from runners.engines.environment import find_engine
from runners.models.tiny import resolve_tiny
from runners.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
PROFILE = Path(__file__).with_name("instrument.yaml")

_VLLM_BENCH = """
import sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Work:
    """What is asked of a load generator; `rate` makes it an open loop.

    prompt_tokens: short by default, because a client that makes its prompts with a tokenizer
    pays for their length before its first request, and that is not what is compared.
    """

    requests: int
    tokens: int
    concurrency: int | None = None
    rate: float | None = None
    pattern: str = "constant"
    workers: int | None = None
    prompt_tokens: int = 16


@dataclass(frozen=True)
class Seen:
    """A client's own view, in ms; gap_ms is None where it keeps no single arrivals."""

    ttft_ms: Floats
    tpot_ms: Floats
    gap_ms: Floats | None


@dataclass(frozen=True)
class Client:
    """name; command(url, work, folder); seen(folder), of a closed loop's run."""

    name: str
    command: Callable[[str, Work, Path], list[str]]
    seen: Callable[[Path], Seen]


def ours() -> Client:
    """Run as a user runs it, with a profile for these benchmarks."""
    return Client("ours", our_command, lambda folder: our_view(run_directory(folder)))


def our_command(url: str, work: Work, folder: Path) -> list[str]:
    command = [str(ROOT / ".venv" / "bin" / "python"), "-P", "-m", "runners.cli"]
    command += ["--profile", str(PROFILE), "--url", url, "--out", str(folder / "runs")]
    command += ["--requests", str(work.requests), "--max-tokens", str(work.tokens), "--quiet"]
    command += ["--set", f"workload.input_tokens={work.prompt_tokens}"]
    if work.concurrency is not None:
        command += ["--concurrency", str(work.concurrency)]
    if work.rate is not None:
        command += ["--rate", str(work.rate), "--set", f"load.pattern={work.pattern}"]
    if work.workers is not None:
        command += ["--set", f"load.workers={work.workers}"]
    return command


def run_directory(folder: Path) -> Path:
    """The one run below folder/runs."""
    (found,) = (folder / "runs").iterdir()
    return found


def our_view(run: Path) -> Seen:
    import pyarrow.parquet as pq

    requests = pq.read_table(run / "requests.parquet").to_pandas()
    requests = requests[requests["error"].isna()]
    ttft = (requests["first_content_ns"] - requests["sent_ns"]) / 1e6
    span = requests["last_content_ns"] - requests["first_content_ns"]
    chunks = pq.read_table(run / "chunks.parquet", columns=["request_id", "arrival_ns"])
    ids = chunks["request_id"].to_numpy()
    gaps = np.diff(chunks["arrival_ns"].to_numpy())[ids[1:] == ids[:-1]] / 1e6
    tpot = span / (requests["output_tokens"] - 1) / 1e6
    return Seen(ttft.to_numpy(), tpot.to_numpy(), gaps)


def vllm_bench() -> Client:
    python = find_engine(Progress(quiet=True)).path
    return Client(
        "vllm bench serve",
        lambda url, work, folder: [str(python), "-c", _VLLM_BENCH, *_vllm(url, work, folder)],
        _vllm_view,
    )


def _vllm(url: str, work: Work, folder: Path) -> list[str]:
    arguments = [
        "--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--base-url", url,
        "--model", "mock", "--tokenizer", str(_tokenizer()), "--dataset-name", "random",
        "--random-input-len", str(work.prompt_tokens), "--random-output-len", str(work.tokens),
        "--num-prompts", str(work.requests), "--disable-tqdm", "--save-result", "--save-detailed",
        "--result-dir", str(folder), "--result-filename", "vllm.json",
    ]  # fmt: skip
    if work.concurrency is not None:
        arguments += ["--max-concurrency", str(work.concurrency)]
    if work.rate is not None:
        burstiness = "1.0" if work.pattern == "poisson" else "inf"
        arguments += ["--request-rate", str(work.rate), "--burstiness", burstiness]
    return arguments


def _vllm_view(folder: Path) -> Seen:
    result = json.loads((folder / "vllm.json").read_text(encoding="utf-8"))
    gaps = [np.array(each) * 1000 for each in result["itls"]]
    counts = result["output_lens"]
    tpot = [each.sum() / (count - 1) for each, count in zip(gaps, counts, strict=True)]
    return Seen(np.array(result["ttfts"]) * 1000, np.array(tpot), np.concatenate(gaps))


def guidellm() -> Client:
    program = peer_environment("guidellm") / "bin" / "guidellm"
    return Client(
        "guidellm",
        lambda url, work, folder: [str(program), *_guidellm(url, work, folder)],
        _guidellm_view,
    )


def _guidellm(url: str, work: Work, folder: Path) -> list[str]:
    profile = f"kind=concurrent,streams={work.concurrency}"
    if work.rate is not None:
        profile = f"kind={work.pattern},rate={work.rate}"
    return [
        "run", "--backend", f"kind=openai_http,target={url},model=mock",
        "--profile", profile, "--constraint", f"kind=max_requests,count={work.requests}",
        "--tokenizer", f"kind=huggingface_auto,model={_tokenizer()}",
        "--data",
        f"kind=synthetic_text,prompt_tokens={work.prompt_tokens},output_tokens={work.tokens}",
        "--output", f"kind=json,path={folder / 'guidellm.json'}", "--disable-console",
    ]  # fmt: skip


def _guidellm_view(folder: Path) -> Seen:
    """Its mean per request is all it keeps of the gaps between arrivals."""
    report = json.loads((folder / "guidellm.json").read_text(encoding="utf-8"))
    requests: list[dict[str, Any]] = report["benchmarks"][0]["requests"]["successful"]
    return Seen(
        np.array([each["time_to_first_token_ms"] for each in requests]),
        np.array([each["inter_token_latency_ms"] for each in requests]),
        None,
    )


def aiperf() -> Client:
    program = peer_environment("aiperf") / "bin" / "aiperf"
    return Client(
        "aiperf",
        lambda url, work, folder: [str(program), *_aiperf(url, work, folder)],
        _aiperf_view,
    )


def _aiperf(url: str, work: Work, folder: Path) -> list[str]:
    arguments = [
        "profile", "-m", "mock", "--url", url, "--endpoint-type", "chat", "--streaming",
        "--request-count", str(work.requests), "--tokenizer", str(_tokenizer()),
        "--synthetic-input-tokens-mean", str(work.prompt_tokens),
        "--output-tokens-mean", str(work.tokens), "--use-server-token-count", "--ui", "none",
        "--no-server-metrics", "--no-gpu-telemetry",
        "--output-artifact-dir", str(folder / "aiperf"),
    ]  # fmt: skip
    if work.concurrency is not None:
        arguments += ["--concurrency", str(work.concurrency)]
    if work.rate is not None:
        arguments += ["--request-rate", str(work.rate), "--arrival-pattern", work.pattern]
    return arguments


def _aiperf_view(folder: Path) -> Seen:
    ttft, tpot, gaps = [], [], []
    for line in (folder / "aiperf" / "profile_export.jsonl").read_text().splitlines():
        metrics = json.loads(line)["metrics"]
        if "time_to_first_token" not in metrics:
            continue
        chunk_gaps = np.array(metrics["inter_chunk_latency"]["value"])
        ttft.append(metrics["time_to_first_token"]["value"])
        tpot.append(chunk_gaps.sum() / (metrics["output_sequence_length"]["value"] - 1))
        gaps.append(chunk_gaps)
    return Seen(np.array(ttft), np.array(tpot), np.concatenate(gaps))


def peer_environment(name: str) -> Path:
    """Where `make bench-peers` installs a peer."""
    return ROOT / ".cache" / "bench-peers" / name


def installed(names: list[str]) -> list[Client]:
    """Ourselves and those of the named peers that are here."""
    clients = [ours()]
    if "vllm" in names:
        clients.append(vllm_bench())
    for name, make in (("guidellm", guidellm), ("aiperf", aiperf)):
        if name in names and (peer_environment(name) / "bin" / name).exists():
            clients.append(make())
    return clients


def _tokenizer() -> Path:
    """A small tokenizer for peers that make their prompts with one."""
    return resolve_tiny("tiny://target", home() / "models", Progress(quiet=True))

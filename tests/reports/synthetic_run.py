"""A made-up but plausible run directory, so that reports are tested without an engine."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import yaml

from runners.rundir import RunDirectory

WARMUP_S, END_S = 4.0, 29.0


class MakeRun(Protocol):
    """rate: arrivals per second; failing: share of the requests; model: the served name.

    slower: a factor of the time to the first token.
    """

    def __call__(
        self,
        rate: float = 8.0,
        failing: float = 0.02,
        model: str = "llama-60m",
        seed: int = 0,
        slower: float = 1.0,
    ) -> RunDirectory: ...


def _requests(
    rng: np.random.Generator,
    rate: float,
    failing: float,
    answer: tuple[int, int],
    slower: float,
) -> pd.DataFrame:
    intended = np.cumsum(rng.exponential(1 / rate, int(rate * END_S)))
    size = len(intended)
    sent = intended + rng.exponential(0.004, size)
    tokens = rng.integers(*answer, size)
    first = sent + rng.lognormal(np.log(0.055 * slower), 0.35, size)
    last = first + (tokens - 1) * rng.normal(0.021, 0.0012, size)
    failed = rng.random(size) < failing
    table = pd.DataFrame(
        {
            "request_id": np.arange(size, dtype="int32"),
            "worker": np.int16(0),
            "prompt_id": np.arange(size, dtype="int32"),
            "warmup": intended < WARMUP_S,
            "intended_ns": (intended * 1e9).astype("int64"),
            "sent_ns": pd.array((sent * 1e9).astype("int64"), dtype="Int64"),
            "first_content_ns": pd.array((first * 1e9).astype("int64"), dtype="Int64"),
            "last_content_ns": pd.array((last * 1e9).astype("int64"), dtype="Int64"),
            "end_ns": pd.array(((last + 0.0004) * 1e9).astype("int64"), dtype="Int64"),
            "prompt_tokens": pd.array(np.full(size, 128), dtype="Int32"),
            "output_tokens": pd.array(tokens, dtype="Int32"),
            "cached_tokens": pd.array(np.full(size, 40), dtype="Int32"),
            "token_source": "usage",
            "chunks": tokens.astype("int32"),
            "requested_tokens": np.int32(64),
            "finish_reason": "stop",
            "capped": False,
            "status": pd.array(np.full(size, 200), dtype="Int16"),
            "error": pd.array([None] * size, dtype="object"),
            "error_detail": pd.array([None] * size, dtype="object"),
        }
    )
    table.loc[failed, ["first_content_ns", "last_content_ns", "output_tokens"]] = pd.NA
    table.loc[failed, "error"] = rng.choice(["timeout", "http_503"], int(failed.sum()))
    table.loc[failed, "error_detail"] = "upstream said: <b>no healthy replica</b>"
    table.loc[failed, "chunks"] = 0
    return table


def _chunks(rng: np.random.Generator, requests: pd.DataFrame) -> pd.DataFrame:
    good = requests[requests["error"].isna()]
    first, last = (
        good[f"{which}_content_ns"].to_numpy(dtype="float64") for which in ("first", "last")
    )
    sizes = good["chunks"].to_numpy()
    owner = np.repeat(np.arange(len(good)), sizes)
    starts = np.cumsum(sizes) - sizes
    steps = rng.lognormal(0, 0.12, len(owner))
    steps[starts] = 0
    reached = np.cumsum(steps)
    reached -= np.repeat(reached[starts], sizes)
    whole = np.bincount(owner, steps, minlength=len(good))
    arrival = first[owner] + reached / whole[owner] * (last - first)[owner]
    return pd.DataFrame(
        {
            "request_id": good["request_id"].to_numpy(dtype="int32")[owner],
            "arrival_ns": arrival.astype("int64"),
            "bytes": np.int32(4),
            "tokens": np.float32(1),
            "kind": "content",
        }
    )


def _server(requests: pd.DataFrame) -> pd.DataFrame:
    rows: list[tuple[int, str, str, str, float]] = []
    for second in range(int(END_S) + 2):
        at = int((second + 0.3) * 1e9)
        begun = (requests["sent_ns"] <= at).sum()
        running = int(begun - (requests["end_ns"] <= at).sum())
        values = {
            "vllm:prompt_tokens_total": begun * 128.0,
            "vllm:num_requests_running": min(running, 10),
            "vllm:num_requests_waiting": max(0, running - 10),
            "vllm:kv_cache_usage_perc": min(1.0, running * 0.031),
        }
        rows.extend(
            (at, "127.0.0.1:8000", name, '{"engine": "0"}', v) for name, v in values.items()
        )
    table = pd.DataFrame(rows, columns=["t_ns", "source", "metric", "labels", "value"])
    return table.astype({"t_ns": "int64", "value": "float64"})


def _around(value: float, share: float = 0.01, skew: float = 1.0) -> dict[str, float]:
    return {"value": value, "low": value * (1 - share), "high": value * (1 + share * skew)}


def _distribution(values: Any) -> dict[str, Any] | None:
    if len(values) == 0:
        return None
    points = {f"p{q}": _around(float(np.percentile(values, q)), 0.03, 2) for q in (50, 90, 95, 99)}
    mean, most = float(np.mean(values)), float(np.max(values))
    return {"count": len(values), "mean": _around(mean), **points, "max": most}


def _metrics(requests: pd.DataFrame, chunks: pd.DataFrame) -> dict[str, Any]:
    good = requests[~requests["warmup"] & requests["error"].isna()]
    sent, first = good["sent_ns"], good["first_content_ns"]
    last = good["last_content_ns"]
    gaps = chunks.groupby("request_id")["arrival_ns"].diff().dropna() / 1e6
    seconds = END_S - WARMUP_S
    ok = len(good) > 0
    rates = {
        "request_throughput_req_s": len(good) / seconds,
        "output_throughput_tok_s": float(good["output_tokens"].sum()) / seconds,
        "total_throughput_tok_s": float(good["output_tokens"].sum()) * 3.1 / seconds,
        "goodput_req_s": 0.93 * len(good) / seconds,
        "goodput_fraction": 0.93,
        "acceptance_rate": 0.704,
        "prefix_cache_hit_rate": 0.312,
        "cost_per_million_output_tokens": 4.18,
    }
    return {
        "ttft_ms": _distribution(((first - sent) / 1e6).to_numpy(dtype=float)),
        "ttft_from_intended_ms": _distribution(
            ((first - good["intended_ns"]) / 1e6).to_numpy(dtype=float)
        ),
        "tpot_ms": _distribution(
            ((last - first) / (good["output_tokens"] - 1) / 1e6).to_numpy(dtype=float)
        ),
        "inter_chunk_latency_ms": _distribution(gaps.to_numpy()),
        "e2e_latency_ms": _distribution(((last - sent) / 1e6).to_numpy(dtype=float)),
        **{key: _around(value) if ok else None for key, value in rates.items()},
        "mean_acceptance_length": _around(3.1) if ok else None,
        "energy_j_per_output_token": None,
        "startup_s": {"value": 43.1},
        "model_weights_gib": {"value": 0.482},
        "kv_cache_gib": {"value": 4.0},
    }


def _results(
    run_id: str, model: str, requests: pd.DataFrame, chunks: pd.DataFrame
) -> dict[str, Any]:
    measured = requests[~requests["warmup"]]
    by_error = {str(k): int(v) for k, v in measured["error"].value_counts().items()}
    failed = sum(by_error.values())
    status = "invalid" if failed == len(measured) else "degraded" if failed else "valid"
    share = failed / len(measured)
    reasons = [f"{share:.1%} of the requests failed (limit 0.1 %)"] if failed else []
    metrics = _metrics(requests, chunks)
    nothing = {key: "no request completed" for key, value in metrics.items() if value is None}
    cost = metrics["cost_per_million_output_tokens"]
    if cost:
        cost |= {"currency": "USD", "price_source": "list price", "price_date": "2025-11"}
    return {
        "schema_version": 1,
        "run_id": run_id,
        "profile": "cpu-speculative",
        "target": "local",
        "engine": {"name": "vllm", "version": "0.32.0"},
        "model": model,
        "interrupted": False,
        "simulated": False,
        "verdict": {"status": status, "reasons": reasons},
        "window": {"start_s": WARMUP_S, "end_s": END_S, "method": "mser", "warmup_s": WARMUP_S},
        "metrics": metrics,
        "requests": {"ok": len(measured) - failed, "failed": failed, "by_error": by_error}
        | {"prompt_tokens": 128 * (len(measured) - failed)}
        | {"output_tokens": int(measured["output_tokens"].sum())},
        "server": {
            "sources": ["127.0.0.1:8000"],
            "scrapes": 30,
            "cached_prompt_tokens": 4821.0,
            "preemptions": 0.0,
            "drafts": 3111.0,
            "acceptance_per_position": [0.81, 0.7, 0.604],
            "ttft_mean_ms": 49.7,
            "ttft_count": 192.0,
            "kv_cache_usage_mean": 0.213,
            "kv_cache_usage_max": 0.41,
            "token_check": {"client": 8225, "server": 8230, "difference": -0.0006},
        },
        "client": {
            "offered": {"planned_req_s": 8.01, "sent_req_s": 8.0},
            "send_lag_ms": {"count": 192, "p50": 2.7, "p99": 18.4, "max": 22.1},
        },
        "statistics": {"confidence": 0.95},
        "not_measured": nothing | {"energy_j_per_output_token": "no GPU telemetry"},
    }


def _profile(model: str, seed: int) -> dict[str, Any]:
    return {
        "name": "cpu-speculative",
        "description": "A draft model proposes, the target accepts.",
        "target": "local",
        "model": {"uri": "tiny://target?parameters=29M", "name": model},
        "engine": {
            "name": "vllm",
            "args": {"max_model_len": 2048, "gpu_memory_utilization": 0.9},
            "env": {"HF_TOKEN": "hf_do_not_show"},
        },
        "load": {"pattern": "poisson", "rate": 8.0, "duration_s": 25.0, "seed": seed},
        "workload": {"kind": "synthetic", "api": "chat", "input_tokens": 128, "max_tokens": 64},
        "slo": {"ttft_ms": 200.0, "tpot_ms": 30.0},
    }


def _environment() -> dict[str, Any]:
    arguments = [
        "--model",
        "tiny://target?parameters=29M",
        "--max-model-len",
        "2048",
        "--api-key",
        "sk-hidden",
    ]
    return {
        "toolkit": {"version": "0.1.0", "git_revision": "0f1e2d3"},
        "engine": {"name": "vllm", "version": "0.32.0", "facts": {"engine_arguments": arguments}},
        "target": "local",
        "simulated": False,
        "load": {
            "pattern": "poisson",
            "rate": 8.0,
            "concurrency": None,
            "interrupted": False,
            "t0_unix_ns": 1_700_000_000 * 10**9,
        },
    }


def _lifecycle() -> dict[str, Any]:
    spans = {"start process": 2.1, "load weights": 6.4, "compile": 21.8, "first answer": 1.6}
    start, phases = 1.7e9, []
    for name, duration in spans.items():
        phases.append({"name": name, "start_unix_s": start, "duration_s": duration})
        start += duration
    return {"phases": phases, "failure": None}


def write_run(
    parent: Path,
    rate: float = 8.0,
    failing: float = 0.02,
    model: str = "llama-60m",
    answer: tuple[int, int] = (24, 65),
    seed: int = 0,
    slower: float = 1.0,
) -> RunDirectory:
    """Write every file that the reports read.

    failing: a share of the requests. answer: least tokens of an answer, one more than the most.
    """
    rng = np.random.default_rng(7 + seed)
    run = RunDirectory.create(parent, "cpu-speculative")
    requests = _requests(rng, rate, failing, answer, slower)
    chunks = _chunks(rng, requests)
    requests.to_parquet(run / "requests.parquet")
    chunks.to_parquet(run / "chunks.parquet")
    _server(requests).to_parquet(run / "server.parquet")
    run.write_json("results.json", _results(run.run_id, model, requests, chunks))
    run.write_json("environment.json", _environment())
    run.write_json("lifecycle.json", _lifecycle())
    run.write_text("profile.yaml", yaml.safe_dump(_profile(model, seed), sort_keys=False))
    return run

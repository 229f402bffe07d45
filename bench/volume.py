"""(e, f) Large runs: memory, measuring a million requests, and a second worker."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.clients import PROFILE, ROOT, Work, ours, run_directory
from bench.meter import Metered, meter
from bench.mock import Timetable
from bench.tables import show, spread
from bench.trial import trial
from runners.profiles.load import dump, load_profile
from runners.rundir import RunDirectory

_ROWS_AT_ONCE = 1 << 20


def memory(requests: int, tokens: int, concurrency: int = 256) -> dict[str, Any]:
    """Peak memory of a large run, chunk stamps on; prints it and returns the figures."""
    work = Work(requests, tokens, concurrency=concurrency)
    with trial(ours(), work, Timetable(), logged=False) as done:
        metered = done.metered
    row = (
        f"{requests} × {tokens}",
        f"{metered.peak_mb:.0f}",
        f"{metered.wall_s:.1f}",
        f"{metered.cpu_s:.1f}",
        f"{metered.cpu_s / requests / tokens * 1e6:.2f}",
    )
    columns = ("requests × tokens", "peak MB", "wall s", "CPU s", "CPU s/1M tokens, start-up in it")
    show(f"Memory of a run, {concurrency} streams, no delays, whole process tree", columns, [row])
    return {"requests": requests, "tokens": tokens, **asdict(metered)}


def measuring(requests: int, chunks_each: Sequence[int]) -> dict[str, Any]:
    """Time and memory of `bench.sh measure` on a made-up run; 0 chunks: none were kept."""
    rows, figures = [], []
    for chunks in chunks_each:
        metered = _measured(requests, chunks)
        rows.append(
            (
                f"{requests} requests, {requests * chunks} chunks",
                f"{metered.wall_s:.1f}",
                f"{metered.cpu_s:.1f}",
                f"{metered.peak_mb:.0f}",
            )
        )
        figures.append({"requests": requests, "chunks_each": chunks, **asdict(metered)})
    show("Measuring, from the command to the results", ("run", "wall s", "CPU s", "peak MB"), rows)
    return {"measuring": figures}


def _measured(requests: int, chunks_each: int) -> Metered:
    with tempfile.TemporaryDirectory(prefix="instrument-") as name:
        folder = Path(name)
        run = made_up_run(folder / "run", requests, chunks_each)
        python = str(ROOT / ".venv" / "bin" / "python")
        metered = meter([python, "-P", "-m", "runners.cli", "measure", str(run.path)], folder)
        if metered.exit_code:
            words = (folder / "output.txt").read_text(errors="replace").strip()[-2000:]
            raise SystemExit(f"measure ended with {metered.exit_code}: {words}")
        return metered


def made_up_run(path: Path, requests: int, chunks_each: int) -> RunDirectory:
    """A run directory of an open loop at 10,000 requests per second, ok throughout."""
    path.mkdir(parents=True)
    run = RunDirectory(path)
    settings = [("url", "http://127.0.0.1:1"), ("load.rate", 10_000.0), ("load.requests", requests)]
    run.write_text("profile.yaml", dump(load_profile(PROFILE, settings).profile))
    load = {"t0_monotonic_ns": 0, "pattern": "poisson", "rate": 10_000.0, "arrival_stamp": "kernel"}
    run.write_json("environment.json", {"target": "url", "seed": 0, "load": load})
    rng = np.random.default_rng(0)
    intended = np.cumsum(rng.exponential(1e5, requests)).astype(np.int64)
    sent = intended + rng.exponential(2e4, requests).astype(np.int64)
    first = sent + rng.gamma(10.0, 5e6, requests).astype(np.int64)
    gap = rng.gamma(20.0, 5e5, requests).astype(np.int64)
    tokens = max(chunks_each, 64)
    _write_requests(run, intended, sent, first, first + (tokens - 1) * gap, tokens)
    if chunks_each:
        _write_chunks(run / "chunks.parquet", first, gap, chunks_each)
    return run


def _write_requests(
    run: RunDirectory, intended: Any, sent: Any, first: Any, last: Any, tokens: int
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(sent)
    ids = np.arange(count, dtype=np.int32)
    none = pa.nulls(count, pa.string())
    same = {"prompt_tokens": 16, "output_tokens": tokens, "chunks": tokens}
    plan = {"request_id": ids, "intended_ns": intended, "worker": np.zeros(count, np.int16)}
    plan |= {"prompt_id": ids, "requested_tokens": np.full(count, tokens, np.int32)}
    plan |= {"warmup": np.zeros(count, bool)}
    pq.write_table(pa.table(plan), run / "schedule.parquet")
    columns = plan | {name: np.full(count, value, np.int32) for name, value in same.items()}
    columns |= {"sent_ns": sent, "first_content_ns": first, "last_content_ns": last}
    columns |= {"end_ns": last + 1000, "cached_tokens": pa.nulls(count, pa.int32())}
    columns |= {"status": np.full(count, 200, np.int16), "error": none, "error_detail": none}
    columns |= {"token_source": pa.array(["usage"] * count), "capped": np.zeros(count, bool)}
    columns |= {"finish_reason": pa.array(["length"] * count)}
    pq.write_table(pa.table(columns), run / "requests.parquet")


def _write_chunks(path: Path, first: Any, gap: Any, chunks_each: int) -> None:
    """In blocks, as the real writer does: all of it at once would not fit in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    step = max(1, _ROWS_AT_ONCE // chunks_each)
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema(
        [
            ("request_id", pa.int32()),
            ("arrival_ns", pa.int64()),
            ("bytes", pa.int32()),
            ("tokens", pa.float32()),
            ("kind", kind),
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, len(first), step):
            firsts, gaps = first[begin : begin + step], gap[begin : begin + step]
            arrivals = firsts[:, None] + gaps[:, None] * np.arange(chunks_each)
            ids = np.repeat(np.arange(begin, begin + len(firsts), dtype=np.int32), chunks_each)
            count = len(ids)
            kinds = pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), ["content"])
            sizes, ones = np.full(count, 6, np.int32), np.ones(count, np.float32)
            columns = [ids, arrivals.ravel(), sizes, ones, kinds]
            writer.write_table(pa.table([pa.array(each) for each in columns], schema=schema))


@dataclass(frozen=True)
class Rate:
    """load_req_s: requests over the time from the first send to the last answer.
    written_req_s: over the time until the command has ended, start-up taken off: answers are
    understood when there is time for it, at the latest after the last."""

    load_req_s: float
    written_req_s: float
    cpu_s: float


def second_worker(
    requests: int, tokens: int, rounds: int, counts: Sequence[int] = (1, 2)
) -> dict[str, Any]:
    """Rates of one and of two workers where a response is one send of the server, so that
    it is not the limit; prints them and returns the figures."""
    found: dict[int, list[Rate]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            found[count].append(_rate(Work(requests, tokens, concurrency=256, workers=count)))
    rows = []
    for count, runs in found.items():
        cells = [f"{count} workers"]
        for name in ("load_req_s", "written_req_s"):
            rates = [getattr(each, name) for each in runs]
            one = [getattr(each, name) for each in found[counts[0]]]
            cells += [spread(rates, 0), spread([a / b for a, b in zip(rates, one, strict=True)])]
        rows.append((*cells, spread([each.cpu_s for each in runs], 1)))
    rates_of = ("req/s of load", "× one", "req/s to results", "× one")
    columns = ("256 streams, one send per response", *rates_of, "CPU s")
    show(f"A second worker, {requests} requests × {tokens} tokens", columns, rows)
    return {"workers": [{"count": n, "runs": [vars(r) for r in runs]} for n, runs in found.items()]}


def _rate(work: Work) -> Rate:
    import pyarrow.parquet as pq

    timetable = Timetable(whole=True)
    with trial(ours(), replace(work, requests=work.workers or 1), timetable, logged=False) as first:
        start_s = first.metered.wall_s
    with trial(ours(), work, timetable, logged=False) as done:
        path = run_directory(done.folder) / "requests.parquet"
        times = pq.read_table(path, columns=["sent_ns", "last_content_ns"]).to_pandas()
        span = times["last_content_ns"].max() - times["sent_ns"].min()
        count, metered = len(times), done.metered
    return Rate(count / span * 1e9, count / (metered.wall_s - start_s), metered.cpu_s)

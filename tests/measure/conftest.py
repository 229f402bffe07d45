"""Run directories written by hand, so that every figure can be worked out on paper."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from runners.rundir import RunDirectory

MS = 1_000_000

REQUESTS = pa.schema(
    [
        ("request_id", pa.int32()),
        ("worker", pa.int16()),
        ("prompt_id", pa.int32()),
        ("warmup", pa.bool_()),
        ("intended_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("first_content_ns", pa.int64()),
        ("last_content_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        ("token_source", pa.string()),
        ("chunks", pa.int32()),
        ("requested_tokens", pa.int32()),
        ("finish_reason", pa.string()),
        ("status", pa.int16()),
        ("error", pa.string()),
        ("error_detail", pa.string()),
        ("capped", pa.bool_()),
    ]
)
CHUNKS = pa.schema(
    [
        ("request_id", pa.int32()),
        ("arrival_ns", pa.int64()),
        ("bytes", pa.int32()),
        ("tokens", pa.float32()),
        ("kind", pa.string()),
    ]
)
SCHEDULE = pa.schema(
    [
        ("request_id", pa.int32()),
        ("intended_ns", pa.int64()),
        ("worker", pa.int16()),
        ("prompt_id", pa.int32()),
        ("requested_tokens", pa.int32()),
        ("warmup", pa.bool_()),
    ]
)
SERVER = pa.schema(
    [
        ("t_ns", pa.int64()),
        ("source", pa.string()),
        ("metric", pa.string()),
        ("labels", pa.string()),
        ("value", pa.float64()),
    ]
)

Row = dict[str, Any]


class WriteRun(Protocol):
    """Times in the rows are in ms; `server`: instant in ms to {sample name: value}."""

    def __call__(
        self,
        requests: Sequence[Row],
        *,
        chunks: Sequence[tuple[int, float, float | None]] | None = None,
        server: Mapping[float, Mapping[str, float]] | None = None,
        schedule: Sequence[Row] | None = None,
        load: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
        window: str = "detect",
        **profile: Any,
    ) -> RunDirectory: ...


def answered(
    request_id: int, sent: float, first: float, last: float, tokens: int = 5, **more: Any
) -> Row:
    """A request that was answered; times in ms."""
    return {
        "request_id": request_id,
        "intended_ns": sent,
        "sent_ns": sent,
        "first_content_ns": first,
        "last_content_ns": last,
        "end_ns": last,
        "prompt_tokens": 10,
        "output_tokens": tokens,
        "token_source": "usage",
        "chunks": tokens,
        "status": 200,
    } | more


def failed(request_id: int, sent: float, error: str = "timeout", **more: Any) -> Row:
    """A request that failed 5 ms after it was sent."""
    return {
        "request_id": request_id,
        "intended_ns": sent,
        "sent_ns": sent,
        "end_ns": sent + 5,
        "error": error,
    } | more


@pytest.fixture
def ok_request() -> Callable[..., Row]:
    return answered


@pytest.fixture
def failed_request() -> Callable[..., Row]:
    return failed


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    def write(
        requests: Sequence[Row],
        *,
        chunks: Sequence[tuple[int, float, float | None]] | None = None,
        server: Mapping[float, Mapping[str, float]] | None = None,
        schedule: Sequence[Row] | None = None,
        load: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
        window: str = "detect",
        **profile: Any,
    ) -> RunDirectory:
        run = RunDirectory(tmp_path / "20261121T000000Z-synthetic-abc123")
        run.path.mkdir()
        plain = {"worker": 0, "prompt_id": 0, "warmup": False, "capped": False, "chunks": 0}
        _write(run / "requests.parquet", [plain | row for row in requests], REQUESTS)
        if chunks is not None:
            rows = [
                {"request_id": owner, "arrival_ns": at, "bytes": 4, "tokens": tokens}
                for owner, at, tokens in chunks
            ]
            _write(run / "chunks.parquet", rows, CHUNKS)
        if schedule is not None:
            _write(
                run / "schedule.parquet", [{"warmup": False} | row for row in schedule], SCHEDULE
            )
        if server is not None:
            _write(run / "server.parquet", _samples(server), SERVER)
        document = {"name": "synthetic", "model": {"uri": "tiny://llama"}} | profile
        document["load"] = {"window": window}
        run.write_text("profile.yaml", yaml.safe_dump(document))
        run.write_json(
            "environment.json",
            {
                "engine": {"name": "vllm", "version": "0.32.0", "facts": dict(facts or {})},
                "target": "local",
                "model": "llama",
                "simulated": False,
                "seed": 0,
                "load": {"pattern": "closed", "interrupted": False} | dict(load or {}),
            },
        )
        return run

    return write


def _write(path: Path, rows: Sequence[Row], schema: Any) -> None:
    columns = {
        name: [
            None
            if row.get(name) is None
            else round(row[name] * MS)
            if name.endswith("_ns")
            else row[name]
            for row in rows
        ]
        if any(name in row for row in rows)
        else [None] * len(rows)
        for name in schema.names
    }
    pq.write_table(pa.table(columns, schema=schema), path)


def _samples(server: Mapping[float, Mapping[str, float]]) -> list[Row]:
    rows: list[Row] = []
    for at, samples in server.items():
        for name, value in ({"up": 1.0} | dict(samples)).items():
            metric, _, labels = name.partition("{")
            rows.append(
                {
                    "t_ns": at,
                    "source": "127.0.0.1:8000",
                    "metric": metric,
                    "labels": "{" + labels if labels else "{}",
                    "value": value,
                }
            )
    return rows

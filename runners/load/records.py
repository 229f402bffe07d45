"""Records: what workers wrote, merged exactly, as the run directory's parquet files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from runners.load.answer import KINDS
from runners.load.worker import CHUNK_COLUMNS
from runners.rundir import RunDirectory, writing

_CHUNK_ROWS_AT_ONCE = 1 << 20


def write_records(
    folders: Sequence[Path],
    run: RunDirectory,
    *,
    keep_responses: bool,
    labels: Sequence[str | None] | None = None,
) -> None:
    """Merge worker files into requests.parquet and chunks.parquet (responses.parquet).

    labels: by prompt id; they become a column of the requests.
    """
    rows = _read_rows(folders)
    _write_requests(rows, run, keep_responses, labels)
    _write_chunks(folders, run)


def _read_rows(folders: Sequence[Path]) -> list[list[Any]]:
    """Request rows of all workers by request id; a line cut short by a kill is left out."""
    rows: list[list[Any]] = []
    for folder in folders:
        for path in sorted(folder.glob("requests-*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    rows.append(orjson.loads(line))
                except orjson.JSONDecodeError:
                    continue
    rows.sort(key=lambda row: row[0])
    return rows


def _write_requests(
    rows: list[list[Any]],
    run: RunDirectory,
    keep_responses: bool,
    labels: Sequence[str | None] | None,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
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
            ("connect_ns", pa.int64()),
            ("tls_ns", pa.int64()),
        ]
    )
    columns = list(zip(*rows, strict=True)) or [()] * (len(schema) + 1)
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=False)],
        schema=schema,
    )
    if labels is not None:
        named = [labels[prompt_id] for prompt_id in table["prompt_id"].to_pylist()]
        table = table.append_column("label", pa.array(named, pa.string()))
    path = run / "requests.parquet"
    with writing(path):
        pq.write_table(table, path)
    if keep_responses:
        texts = pa.table(
            {"request_id": table["request_id"], "text": pa.array(columns[-1], pa.string())}
        )
        path = run / "responses.parquet"
        with writing(path):
            pq.write_table(texts, path)


def _write_chunks(folders: Sequence[Path], run: RunDirectory) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("request_id", pa.int32()),
            ("arrival_ns", pa.int64()),
            ("bytes", pa.int32()),
            ("tokens", pa.float32()),
            ("kind", pa.dictionary(pa.int8(), pa.string())),
        ]
    )
    path = run / "chunks.parquet"
    width = len(CHUNK_COLUMNS)
    with writing(path), pq.ParquetWriter(path, schema) as writer:
        for file in (f for folder in folders for f in sorted(folder.glob("chunks-*.i64"))):
            for part in _blocks(file, width):
                tokens = part[:, 3] / 1000.0
                kinds = pa.DictionaryArray.from_arrays(
                    pa.array(part[:, 4].astype(np.int8)), pa.array(KINDS)
                )
                writer.write_table(
                    pa.table(
                        [
                            pa.array(part[:, 0].astype(np.int32)),
                            pa.array(part[:, 1]),
                            pa.array(part[:, 2].astype(np.int32)),
                            pa.array(tokens.astype(np.float32), mask=part[:, 3] < 0),
                            kinds,
                        ],
                        schema=schema,
                    )
                )


def _blocks(file: Path, width: int) -> Iterator["npt.NDArray[np.int64]"]:
    """The whole rows of a file, a bounded number at a time."""
    with file.open("rb") as source:
        while True:
            values = np.fromfile(source, dtype=np.int64, count=_CHUNK_ROWS_AT_ONCE * width)
            rows = len(values) // width
            if not rows:
                return
            yield values[: rows * width].reshape(-1, width)

"""Traces: when requests came somewhere else, and how long they and their answers were.

Two forms are read, line by line:
- azure: CSV with a header TIMESTAMP, ContextTokens, GeneratedTokens (in any order, further
  columns are passed over) and ISO times with up to nine digits of a second, as in the Azure
  LLM inference traces of 2023 and 2024.
- mooncake: a JSON object per line with timestamp (ms), input_length and output_length, as
  in the Mooncake traces; hash_ids are passed over.
"""

import csv
import re
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from runners.errors import UsageError
from runners.profiles.load_section import Trace

_AZURE = ("timestamp", "contexttokens", "generatedtokens")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_TOKENS = 2**31 - 1
_LATEST_NS = 2**62


@dataclass(frozen=True)
class Recorded:
    """Requests in order of arrival: ns after the first, tokens of prompt and answer."""

    time_ns: npt.NDArray[np.int64]
    input_tokens: npt.NDArray[np.int32]
    output_tokens: npt.NDArray[np.int32]


class _BrokenError(Exception):
    """What is wrong with a line."""


@dataclass
class _Rows:
    time_ns: "array[int]" = field(default_factory=lambda: array("q"))
    input_tokens: "array[int]" = field(default_factory=lambda: array("i"))
    output_tokens: "array[int]" = field(default_factory=lambda: array("i"))

    def add(self, time_ns: int, input_tokens: int, output_tokens: int) -> None:
        if not -_LATEST_NS < time_ns < _LATEST_NS:
            raise _BrokenError("the time is out of range")
        self.time_ns.append(time_ns)
        self.input_tokens.append(input_tokens)
        self.output_tokens.append(output_tokens)


class _Lines:
    """The lines of a file as text; `number` is that of the latest, from 1."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = next(self._file)
        self.number += 1
        return raw.decode("utf-8-sig" if self.number == 1 else "utf-8")


def read_trace(trace: Trace) -> Recorded:
    """Read a trace, sort it by time, and play it `speed` times faster.

    Raises UsageError with file and line for anything that cannot be read.
    """
    path, rows = Path(trace.file), _Rows()
    try:
        with path.open("rb") as file:
            form = trace.format or _form(file)
            lines = _Lines(file)
            try:
                (_mooncake if form == "mooncake" else _azure)(lines, rows)
            except UnicodeDecodeError as error:
                raise UsageError(f"{path}:{lines.number}: not UTF-8 text") from error
            except (_BrokenError, csv.Error) as error:
                raise UsageError(f"{path}:{lines.number}: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"load.trace.file: {path} cannot be read: {reason}; "
            "a relative path starts at the working directory"
        ) from error
    if not rows.time_ns:
        raise UsageError(f"{path}: the trace holds no request")
    return _in_order(rows, trace.speed)


def _form(file: BinaryIO) -> str:
    """The form by its first character: only JSON begins with a brace."""
    begin = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return "mooncake" if begin.startswith(b"{") else "azure"


def _in_order(rows: _Rows, speed: float) -> Recorded:
    times = np.array(rows.time_ns, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    times = times[order] - times[order[0]]
    if speed != 1.0:
        times = np.round(times / speed).astype(np.int64)
    return Recorded(
        times,
        np.array(rows.input_tokens, dtype=np.int32)[order],
        np.array(rows.output_tokens, dtype=np.int32)[order],
    )


def _azure(lines: _Lines, rows: _Rows) -> None:
    places: list[int] = []
    for cells in csv.reader(lines):
        if not any(cell.strip() for cell in cells):
            continue
        if not places:
            places = _places(cells)
            continue
        if len(cells) <= max(places):
            raise _BrokenError(f"{len(cells)} columns, fewer than the header names")
        time, prompt, answer = (cells[place].strip() for place in places)
        rows.add(
            _nanoseconds(time), _count("ContextTokens", prompt), _count("GeneratedTokens", answer)
        )


def _places(header: list[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    missing = [name for name in _AZURE if name not in names]
    if missing:
        raise _BrokenError(
            "no header with TIMESTAMP, ContextTokens and GeneratedTokens; "
            "an azure trace begins with one"
        )
    return [names.index(name) for name in _AZURE]


def _mooncake(lines: _Lines, rows: _Rows) -> None:
    for text in lines:
        if not text.strip():
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise _BrokenError(f"not JSON: {error}") from error
        if not isinstance(value, dict):
            raise _BrokenError("not a JSON object")
        time = value.get("timestamp")
        if isinstance(time, bool) or not isinstance(time, int | float):
            raise _BrokenError("timestamp is not a number of milliseconds")
        rows.add(
            round(time * 1_000_000),
            _count("input_length", value.get("input_length")),
            _count("output_length", value.get("output_length")),
        )


def _count(name: str, value: Any) -> int:
    """A number of tokens: at least 1, because a server cannot be asked for none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        shown = "missing" if value is None else f"not a whole number: {str(value)[:40]!r}"
        raise _BrokenError(f"{name} is {shown}")
    if not 1 <= value <= _MOST_TOKENS:
        raise _BrokenError(f"{name} is {value}; at least 1 is needed, so leave the line out")
    return value


def _nanoseconds(text: str) -> int:
    """An ISO time as ns since 1970; without an offset it is read as UTC."""
    match = _TIME.fullmatch(text)
    if not match:
        raise _BrokenError(f"TIMESTAMP is not a time such as 2023-11-16 18:15:46.68: {text[:40]!r}")
    seconds, fraction, offset = match.groups()
    return _whole_seconds(seconds, offset or "Z") * 10**9 + int((fraction or "0").ljust(9, "0"))


@lru_cache(maxsize=64)
def _whole_seconds(text: str, offset: str) -> int:
    try:
        moment = datetime.fromisoformat(text + offset)
    except ValueError as error:
        raise _BrokenError(f"TIMESTAMP is not a time: {error}") from error
    return (moment - _EPOCH) // timedelta(seconds=1)

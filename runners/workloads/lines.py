"""Files of texts and of JSON objects; every fault is told with file and line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from runners.errors import UsageError

Json = dict[str, Any]


def broken(path: Path, line: int, why: str) -> UsageError:
    """The one line that names a fault."""
    return UsageError(f"{path}:{line}: {why}")


def unreadable(path: Path, error: OSError, way_out: str) -> UsageError:
    """The one line for a file that the system does not give."""
    reason = error.strerror or str(error)
    return UsageError(f"workload.dataset.file: {path} cannot be read: {reason}; {way_out}")


def json_lines(path: Path) -> Iterator[tuple[int, Json]]:
    """(line number, object) of each line that is not blank. Raises UsageError, OSError."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if not line.strip():
                continue
            try:
                value = orjson.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise broken(path, number, "not UTF-8 text") from error
            except orjson.JSONDecodeError as error:
                cut = "" if raw.endswith(b"\n") else "; the file seems to be cut short"
                raise broken(path, number, f"not JSON: {error.msg}{cut}") from error
            if not isinstance(value, dict):
                raise broken(path, number, "not a JSON object")
            yield number, value


def whole_text(path: Path) -> str:
    """A text file. Raises UsageError for what is not UTF-8, and OSError."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise broken(path, line, "not UTF-8 text") from error

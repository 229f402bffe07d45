"""The run directory: every stage reads and writes here, so each can be re-run alone."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runners.errors import OutputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any operating-system failure while writing `path` into an OutputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}; choose another place with --out DIR"
        ) from error


def fresh_path(parent: Path, name: str) -> Path:
    """`parent/<UTC time>-<name>-<short id>`: where a new run or group goes; makes nothing."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    slug = re.sub(r"[^a-zA-Z0-9._-]+", "-", name).strip("-") or "run"
    return parent / f"{stamp}-{slug}-{secrets.token_hex(3)}"


class RunDirectory:
    """Paths of one run, and JSON files written whole or not at all.

    Raises OutputError (exit 5) for anything that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunDirectory":
        """Make `parent/<UTC time>-<name>-<short id>/`."""
        path = fresh_path(parent, name)
        with writing(path):
            (path / "logs").mkdir(parents=True)
        return cls(path)

    def holds_only_the_plan(self) -> bool:
        """Whether nothing has come of the run: no record, no log, no object."""
        plan = {"profile.yaml", "findings.json", "logs"}
        return {each.name for each in self.path.iterdir()} <= plan and not any(self.logs.iterdir())

    def remove(self) -> None:
        """Take the directory away."""
        import shutil

        with writing(self.path):
            shutil.rmtree(self.path)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write_text(self, name: str, text: str) -> Path:
        """Write a file atomically: a reader sees the old text or the new, never half."""
        path = self.path / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(path.name + ".part")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write JSON; NaN and infinities are refused (ValueError): they are not JSON."""
        return self.write_text(
            name, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        )

    def read_json(self, name: str) -> Any:
        """Read a JSON file; None where it does not exist."""
        path = self.path / name
        if not path.exists():
            return None
        return json.loads(path.read_text(encoding="utf-8"))

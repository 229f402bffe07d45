"""Keeping generated documents in step with what they are made from."""

import sys
from collections.abc import Mapping
from pathlib import Path


def export(docs: Path, generated: Mapping[str, str], check: bool = False) -> int:
    """Write `generated` (file name → text) into `docs`; the exit code.

    With `check` nothing is written: 1 when a file differs from what would be, else 0.
    """
    stale = []
    for name, text in generated.items():
        path = docs / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            docs.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        done = "is out of date; run `make docs`" if check else "written"
        print(f"docs/{name} {done}", file=sys.stderr)
    return 1 if check and stale else 0

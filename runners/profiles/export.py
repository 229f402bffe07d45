"""Keeping the generated profile documents in step with the model."""

import json
import sys
from pathlib import Path

from runners.profiles.reference import page
from runners.profiles.schema import editor_schema


def export(docs: Path, check: bool = False) -> int:
    """Write profile.schema.json and profiles.md into `docs`; the exit code.

    With `check` nothing is written: 1 when a file differs from what would be, else 0.
    """
    schema = json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"
    stale = []
    for name, text in (("profile.schema.json", schema), ("profiles.md", page())):
        path = docs / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            docs.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        done = "differs from the model; run scripts/export_profile_schema.py"
        print(f"docs/{name} {done if check else 'written'}", file=sys.stderr)
    return 1 if check and stale else 0

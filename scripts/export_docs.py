#!/usr/bin/env python3
"""Write the generated files of docs/ from what they describe; with --check only compare."""

import json
import sys

import _environment

from runners.checks.check import all_rules
from runners.checks.describe import reference
from runners.export import export
from runners.profiles.reference import page
from runners.profiles.schema import editor_schema

if __name__ == "__main__":
    generated = {
        "profile.schema.json": json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n",
        "profiles.md": page(),
        "rules.md": reference(all_rules()),
    }
    sys.exit(export(_environment.ROOT / "docs", generated, check="--check" in sys.argv[1:]))

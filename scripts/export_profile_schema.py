#!/usr/bin/env python3
"""Write docs/profile.schema.json and docs/profiles.md from the profile model; --check compares."""

import sys

import _environment

from runners.profiles.export import export

if __name__ == "__main__":
    sys.exit(export(_environment.ROOT / "docs", check="--check" in sys.argv[1:]))

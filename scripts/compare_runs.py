#!/usr/bin/env python3
"""Compare runs that are already there, and say which is better and how sure that is."""

import sys

import _environment  # noqa: F401

from runners.cli.compare import compare_runs
from runners.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command=compare_runs, name="compare_runs.py"))

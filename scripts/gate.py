#!/usr/bin/env python3
"""Check a run against service level objectives; the exit code is the answer."""

import sys

import _environment  # noqa: F401

from runners.cli.gate import gate
from runners.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command=gate, name="gate.py"))

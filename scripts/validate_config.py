#!/usr/bin/env python3
"""Check a profile before anything is deployed: what the engine or KServe would reject."""

import sys

import _environment  # noqa: F401

from runners.cli.main import main
from runners.cli.validate import validate

if __name__ == "__main__":
    sys.exit(main(command=validate, name="validate_config.py"))

#!/usr/bin/env python3
"""Download a public dataset (spec-bench, sharegpt), checked against its pinned hash."""

import sys

import _environment  # noqa: F401

from runners.cli.fetch_dataset import fetch_dataset
from runners.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command=fetch_dataset, name="fetch_dataset.py"))

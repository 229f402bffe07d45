#!/usr/bin/env python3
"""Serve one model in several ways, send each the same requests, and say which is better."""

import sys

import _environment  # noqa: F401

from runners.cli.compare import compare_backends
from runners.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command=compare_backends, name="compare_backends.py"))

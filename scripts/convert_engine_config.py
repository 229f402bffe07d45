#!/usr/bin/env python3
"""Convert TensorRT-LLM's settings (trtllm-serve --config) to arguments of a vLLM version."""

import sys

import _environment  # noqa: F401

from runners.cli.convert import convert
from runners.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command=convert, name="convert_engine_config.py"))

"""Compile the benchmarks' own server where it is missing or older than its source."""

import os
import shutil
import subprocess
from pathlib import Path

from runners.engines import home

SOURCE = Path(__file__).with_name("mock_server.c")
SOURCES = (SOURCE, SOURCE.with_name("mock_wire.h"))


def mock_server() -> Path:
    """The compiled server; SystemExit with one line where there is no compiler."""
    program = home() / "bench" / "mock_server"
    newest = max(source.stat().st_mtime for source in SOURCES)
    if program.exists() and program.stat().st_mtime > newest:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise SystemExit("bench: a C compiler is needed for the server; apt install gcc")
    program.parent.mkdir(parents=True, exist_ok=True)
    draft = program.with_suffix(f".{os.getpid()}")  # a server that runs keeps its file
    command = [compiler, "-O2", "-Wall", "-Wextra", "-std=gnu17", "-o", str(draft), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {SOURCE.name} does not compile: {done.stderr.strip()}")
    draft.replace(program)
    return program


if __name__ == "__main__":
    print(mock_server())

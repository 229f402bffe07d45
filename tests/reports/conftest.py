"""Fixtures of the report tests."""

from pathlib import Path

import pytest

from runners.rundir import RunDirectory
from tests.reports.synthetic_run import MakeRun, write_run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A measured run in a fresh directory; see `write_run` for what can be varied."""

    def make(rate: float = 8.0, failing: float = 0.02, model: str = "llama-60m") -> RunDirectory:
        return write_run(tmp_path, rate, failing, model)

    return make

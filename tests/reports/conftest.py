"""Fixtures of the report tests."""

import os
from pathlib import Path

import pytest

from runners.reports.browser import find_browser
from runners.rundir import RunDirectory
from tests.reports.synthetic_group import write_compared, write_find_max
from tests.reports.synthetic_run import MakeRun, write_run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A measured run in a fresh directory; see `write_run` for what can be varied."""

    def make(
        rate: float = 8.0,
        failing: float = 0.02,
        model: str = "llama-60m",
        seed: int = 0,
        slower: float = 1.0,
    ) -> RunDirectory:
        return write_run(tmp_path, rate, failing, model, seed=seed, slower=slower)

    return make


@pytest.fixture
def compared(tmp_path: Path) -> RunDirectory:
    """What compare_runs.py --out leaves; see `write_compared`."""
    return write_compared(tmp_path)


@pytest.fixture
def find_max(tmp_path: Path) -> RunDirectory:
    """A group of --find-max that found the highest load, without its report."""
    return write_find_max(tmp_path)


@pytest.fixture(scope="session")
def browser() -> None:
    """A Chromium to open reports with.

    Without one a test is skipped; with REQUIRE_BROWSER=1 it fails instead, so that an automatic
    run cannot lose these tests in silence.
    """
    if find_browser() is None:
        reason = "no Chromium here to open reports with"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

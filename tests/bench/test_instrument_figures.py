"""How the instrument's benchmarks come to their figures."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import errors_of
from bench.clients import Seen
from bench.cost import Cost
from bench.meter import meter
from bench.mock import Truth
from bench.open_loop import dispersion, gap_cv
from bench.volume import made_up_run
from runners.measure import measure

BURN_IN_AN_ORPHAN = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.Popen([sys.executable, "-c", burn], start_new_session=True)
"""


def test_even_arrivals_have_no_dispersion_and_no_spread_of_gaps() -> None:
    times = np.arange(1000) * 10
    assert gap_cv(times) == 0.0
    assert dispersion(times, 20) == 0.0


def test_poisson_arrivals_have_dispersion_one_and_pairs_have_two() -> None:
    times = np.cumsum(np.random.default_rng(1).exponential(1.0, 100_000))
    assert gap_cv(times) == pytest.approx(1.0, abs=0.02)
    assert dispersion(times, 2.0) == pytest.approx(1.0, abs=0.05)
    assert dispersion(np.repeat(times, 2), 2.0) == pytest.approx(2.0, abs=0.1)


def test_errors_are_client_minus_server_and_joined_where_each_request_is_known() -> None:
    arrival = np.arange(4) * 1_000_000_000
    sends = tuple(np.array([50, 60, 70]) * 1_000_000 + start for start in arrival)
    sent = tuple(each + 500_000 for each in sends)
    truth = Truth(np.full(4, -1), arrival, arrival, sends, sent)
    seen = Seen(np.array([50.0, 51.0, 52.0, 53.0]), np.full(4, 10.5), None)
    errors = errors_of(seen, truth, seen.ttft_ms)
    assert errors.ttft_p50 == 1.5
    assert errors.tpot_p50 == 0.5
    assert errors.gap_p50 is None
    assert errors.ttft_each_p50 == 1.0  # of 0, 0.5, 1.5 and 2.5 beyond the send's end
    assert errors_of(seen, truth, seen.ttft_ms[:3]).ttft_each_p50 is None


def test_cost_is_told_per_token_and_per_request() -> None:
    cost = Cost(cpu_s=2.0, wall_s=9.0, peak_mb=1.0, tokens=500_000, requests=4_000)
    assert cost.per_million_tokens == 4.0
    assert cost.per_thousand_requests == 0.5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a subreaper")
def test_a_command_is_charged_for_what_outlives_it(tmp_path: Path) -> None:
    metered = meter([sys.executable, "-c", BURN_IN_AN_ORPHAN], tmp_path)
    assert metered.exit_code == 0
    assert metered.cpu_s >= 0.3


def test_a_made_up_run_is_one_that_can_be_measured(tmp_path: Path) -> None:
    results = measure(made_up_run(tmp_path / "run", requests=300, chunks_each=4))
    assert results["requests"]["ok"] == 300
    assert results["metrics"]["ttft_ms"]["count"] > 0
    assert results["metrics"]["inter_chunk_latency_ms"] is not None

"""Each dialect driven for real: what the client recorded against what the simulator did."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import pytest

from runners.load.drive import drive
from runners.load.schedule import make_schedule
from runners.profiles.model import Profile
from runners.rundir import RunDirectory
from runners.simulator.process import Running
from runners.targets.endpoint import Endpoint
from runners.workloads.prompts import make_prompts
from tests.simulator.raw_http import truths

Simulator = Callable[..., Running]
REQUESTS, TOKENS = 6, 8


def profile(api: str, **workload: object) -> Profile:
    return Profile.model_validate(
        {
            "name": "dialect",
            "model": {"uri": "x"},
            "load": {"concurrency": 1, "requests": REQUESTS},
            "workload": {"api": api, "max_tokens": TOKENS, **workload},
        }
    )


def driven(wanted: Profile, running: Running, folder: Path) -> tuple[RunDirectory, int]:
    """The records of the profile's load, and its start on CLOCK_MONOTONIC in ns."""
    run = RunDirectory.create(folder, "run")
    schedule = make_schedule(wanted.load, wanted.workload)
    prompts = make_prompts(wanted.workload, int(schedule.prompt_id.max()) + 1, 0, None)
    endpoint = Endpoint(running.base_url, "simulated", "simulator", simulated=True)
    facts = drive(wanted, schedule, prompts, endpoint, run, lambda sent: None)
    return run, facts.t0_ns


@pytest.mark.parametrize("api", ["chat", "completions", "tgi", "triton", "oip"])
def test_chunks_and_arrivals_are_those_of_the_truth(
    api: str, tmp_path: Path, simulator: Simulator
) -> None:
    running = simulator(ttft_ms=10, itl_ms=10, tokens_per_chunk=2)
    run, t0_ns = driven(profile(api), running, tmp_path)
    requests = pq.read_table(run / "requests.parquet").to_pylist()
    chunks = pq.read_table(run / "chunks.parquet").to_pylist()
    log = truths(running.base_url)
    # Warm-up included.
    assert len(requests) == len(log) >= REQUESTS
    late_ns = []
    # One at a time: both are in the order of sending.
    for request, truth in zip(requests, log, strict=True):
        assert (request["error"], request["output_tokens"]) == (None, TOKENS)
        assert truth["outcome"] == "length"
        mine = [chunk for chunk in chunks if chunk["request_id"] == request["request_id"]]
        assert request["chunks"] == len(mine)
        assert [chunk["tokens"] for chunk in mine] == truth["tokens"]
        late_ns += [
            chunk["arrival_ns"] + t0_ns - sent_ns
            for chunk, sent_ns in zip(mine, truth["sent_ns"], strict=True)
        ]
    # Each chunk has the stamp of its own event: not before it, and not of the one after.
    assert min(late_ns) > -200_000
    assert median(late_ns) < 5_000_000


@pytest.mark.parametrize("api", ["tgi", "triton", "oip"])
def test_without_streaming_there_is_one_arrival_and_no_first_token(
    api: str, tmp_path: Path, simulator: Simulator
) -> None:
    run, _ = driven(profile(api, stream=False), simulator(ttft_ms=1, itl_ms=0), tmp_path)
    for request in pq.read_table(run / "requests.parquet").to_pylist():
        assert (request["error"], request["output_tokens"], request["chunks"]) == (None, TOKENS, 1)
        assert request["first_content_ns"] is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drop:2", "broken_stream"),
        ("malformed:2", "malformed"),
        ("error-event:2", "stream_error"),
        ("empty", "empty"),
        ("status:503", "http_503"),
    ],
)
def test_what_goes_wrong_has_the_same_class_in_every_dialect(
    fault: str, error: str, tmp_path: Path, simulator: Simulator
) -> None:
    running = simulator(ttft_ms=1, itl_ms=0, fault=fault)
    for api in ("tgi", "triton", "oip"):
        run, _ = driven(profile(api), running, tmp_path)
        requests = pq.read_table(run / "requests.parquet").to_pylist()
        assert {request["error"] for request in requests} == {error}

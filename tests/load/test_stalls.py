"""A loop that was away: what the worker notes of it, and that the verdict tells."""

from pathlib import Path

import pytest

from runners.load.drive import drive
from runners.load.schedule import make_schedule
from runners.load.stalls import Turns
from runners.measure import measure
from runners.profiles.load import dump
from runners.profiles.model import Profile
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint
from runners.workloads.prompts import make_prompts
from tests.load.scripted_server import LAST_CHUNK, STREAM_HEAD, Conversation, chunked, serve

MS = 1_000_000
EVENT = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'


def test_the_wait_is_that_of_a_random_instant() -> None:
    turns = Turns(begun_ns=0)
    for _ in range(1000):
        turns.add(MS)
    turns.add(500 * MS)
    turns.end(10_000 * MS)
    assert turns.stalls == 1
    # During the last 100 of the 500 ms, 1 % of the time, one waits for no longer than 100 ms.
    assert turns.wait_p99_ns == pytest.approx(400 * MS)


def test_an_idle_loop_lets_nothing_wait() -> None:
    turns = Turns(begun_ns=0)
    for _ in range(5000):
        turns.add(1000)
    turns.end(10_000 * MS)
    assert (turns.stalls, turns.wait_p99_ns) == (0, 0.0)


def test_answers_that_take_long_to_understand_degrade_a_run(tmp_path: Path) -> None:
    # More than a worker keeps unread, so that it must understand answers while others arrive.
    answer = STREAM_HEAD + chunked(EVENT * 30_000, b"data: [DONE]\n\n") + LAST_CHUNK

    def play(talk: Conversation) -> None:
        while talk.request():
            talk.send(answer)

    with serve(play) as server:
        load = {"concurrency": 1, "requests": 40, "warmup": {"requests": 0}}
        profile = Profile.model_validate(
            {"name": "stall", "target": "url", "url": server.url, "model": {"uri": "m"}}
            | {"load": load}
        )
        run = RunDirectory.create(tmp_path, "stall")
        run.write_text("profile.yaml", dump(profile))
        schedule = make_schedule(profile.load, profile.workload)
        prompts = make_prompts(profile.workload, 40, 0, None)
        endpoint = Endpoint(server.url, "m", "url", simulated=False)
        driven = drive(profile, schedule, prompts, endpoint, run, lambda sent: None)
    run.write_json("environment.json", {"load": driven.facts})
    assert driven.facts["gc_pauses"] == 0
    assert driven.facts["loop_stalls"] >= 3
    (said,) = (r for r in measure(run)["verdict"]["reasons"] if "event loop stalled" in r)
    assert f"({driven.facts['loop_stalls']} stalls)" in said

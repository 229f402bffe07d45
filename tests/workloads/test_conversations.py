"""A later turn is asked with the answer to the one before, by the worker that has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from runners.errors import UsageError
from runners.load.conversation import Conversations, Rows
from runners.load.drive import drive
from runners.load.exchange import Exchange
from runners.load.schedule import make_schedule
from runners.profiles.model import Profile
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint
from runners.workloads.prompts import make_prompts
from tests.load.scripted_server import LAST_CHUNK, STREAM_HEAD, Conversation, chunked, serve

Messages = list[dict[str, str]]
Answer = Callable[[Messages], bytes]


def event(**delta: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


def streamed(*events: bytes) -> bytes:
    return STREAM_HEAD + chunked(b"".join(events), b"data: [DONE]\n\n") + LAST_CHUNK


def echo(messages: Messages) -> bytes:
    """Thinks, then answers in two pieces with what it was asked last."""
    asked = messages[-1]["content"]
    return streamed(event(reasoning="hm"), event(content=f"re {asked}"), event(content=" ✓"))


def profile(file: Path, load: dict[str, Any], **dataset: Any) -> Profile:
    return Profile.model_validate(
        {
            "name": "talk",
            "target": "url",
            "url": "http://localhost:1",
            "model": {"uri": "m"},
            "load": {"warmup": {"requests": 0}, **load},
            "workload": {
                "kind": "dataset",
                "max_tokens": 4,
                "dataset": {"source": "jsonl", "file": str(file), "turns": "all", **dataset},
            },
        }
    )


def talks(folder: Path, *turns: list[str]) -> Path:
    file = folder / "talks.jsonl"
    rows = ({"turns": each, "category": str(len(each))} for each in turns)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def driven(wanted: Profile, answer: Answer, folder: Path) -> tuple[RunDirectory, list[Messages]]:
    """The run, and the messages of every request in the order of their arrival."""

    def play(talk: Conversation) -> None:
        while talk.request():
            talk.send(answer(json.loads(talk.body)["messages"]))

    run = RunDirectory.create(folder, "run")
    schedule = make_schedule(wanted.load, wanted.workload)
    prompts = make_prompts(wanted.workload, len(schedule), 0, None)
    with serve(play) as server:
        endpoint = Endpoint(server.url, "m", "url", simulated=False)
        drive(wanted, schedule, prompts, endpoint, run, lambda sent: None)
    return run, [json.loads(body)["messages"] for _, _, body in server.log.requests]


def told(*texts: str) -> Messages:
    """What was said, by the user and the server in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]


def test_every_turn_carries_the_answers_before_it_without_the_thoughts(tmp_path: Path) -> None:
    file = talks(tmp_path, ["a", "b", "c"], ["x"], ["y", "z"])
    run, asked = driven(profile(file, {"concurrency": 1, "requests": 6}), echo, tmp_path)
    assert asked == [
        told("a"),
        told("a", "re a ✓", "b"),
        told("a", "re a ✓", "b", "re b ✓", "c"),
        told("x"),
        told("y"),
        told("y", "re y ✓", "z"),
    ]
    requests = pq.read_table(run / "requests.parquet").to_pydict()
    assert requests["request_id"] == [*range(6)]
    assert requests["label"] == ["3", "3", "3", "1", "2", "2"]
    assert requests["error"] == [None] * 6
    # Due when the answer came, never before.
    assert requests["intended_ns"][1] >= requests["end_ns"][0]
    schedule = pq.read_table(run / "schedule.parquet").to_pydict()
    assert schedule["turn"] == [0, 1, 2, 0, 0, 1]
    assert schedule["label"] == requests["label"]


def test_an_answer_that_failed_ends_its_conversation_and_no_other(tmp_path: Path) -> None:
    def answer(messages: Messages) -> bytes:
        if messages[-1]["content"] == "a":
            return b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
        return echo(messages)

    file = talks(tmp_path, ["a", "b"], ["x", "y"])
    run, asked = driven(profile(file, {"concurrency": 1, "requests": 4}), answer, tmp_path)
    assert asked == [told("a"), told("x"), told("x", "re x ✓", "y")]
    requests = pq.read_table(run / "requests.parquet").to_pydict()
    assert requests["request_id"] == [0, 2, 3]
    assert requests["error"] == ["http_500", None, None]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_share_conversations_and_send_each_turn_once(workers: int, tmp_path: Path) -> None:
    pairs = [[f"{at} first", f"{at} second"] if at % 3 else [f"{at} alone"] for at in range(40)]
    total = sum(map(len, pairs))
    load = {"concurrency": 6, "requests": total, "workers": workers}
    run, asked = driven(profile(talks(tmp_path, *pairs), load), echo, tmp_path)
    expected = [told(pair[0]) for pair in pairs]
    expected += [told(pair[0], f"re {pair[0]} ✓", pair[1]) for pair in pairs if len(pair) > 1]
    assert sorted(asked, key=json.dumps) == sorted(expected, key=json.dumps)
    requests = pq.read_table(run / "requests.parquet").to_pydict()
    schedule = pq.read_table(run / "schedule.parquet").to_pydict()
    assert requests["request_id"] == [*range(total)]
    assert requests["worker"] == schedule["worker"]
    assert len(set(schedule["worker"])) == workers


def test_a_load_longer_than_its_dataset_begins_over_with_it(tmp_path: Path) -> None:
    file = talks(tmp_path, ["a", "b"], ["x"])
    load = {"concurrency": 2, "requests": 40}
    run, asked = driven(profile(file, load), echo, tmp_path)
    assert len(asked) == 40
    assert {json.dumps(each) for each in asked} == {
        json.dumps(each) for each in (told("a"), told("a", "re a ✓", "b"), told("x"))
    }
    ids = pq.read_table(run / "requests.parquet")["request_id"].to_pylist()
    assert ids == [*range(40)]


def test_a_plan_that_begins_over_goes_on_counting() -> None:
    rows = Rows([0, 1, 2], [4, 5, 6], [True, True, False], None, [0, 1, 0])
    bodies = [json.dumps({"messages": told(text)}).encode() for text in ("a", "b", "x")]
    conversations = Conversations(rows, bodies, lambda body: body)
    asked = Exchange(request_id=3, prompt_id=0, requested_tokens=4, warmup=False, intended_ns=0)
    turn = conversations.next_turn(asked, "re a")
    assert turn is not None
    assert (turn.request_id, turn.prompt_id, turn.requested_tokens) == (4, 1, 5)
    assert not turn.warmup and not turn.goes_on
    assert json.loads(turn.message)["messages"] == told("a", "re a", "b")
    assert [at for at in range(6) if rows.goes_on(at)] == [0, 3]


def test_messages_recorded_ahead_are_kept_in_front(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    system = {"role": "system", "content": "Be short."}
    file.write_text(json.dumps({"messages": [system, *told("a", "recorded", "b")]}))
    _, asked = driven(profile(file, {"concurrency": 1, "requests": 2}), echo, tmp_path)
    assert asked == [[system, *told("a")], [system, *told("a", "re a ✓", "b")]]


def test_conversations_in_an_open_loop_are_refused_before_anything_starts(tmp_path: Path) -> None:
    wanted = profile(talks(tmp_path, ["a", "b"]), {"rate": 5.0, "requests": 5})
    with pytest.raises(UsageError, match="closed loop"):
        make_schedule(wanted.load, wanted.workload)

"""Fetching a dataset: whole and the right one, or one line that says what to do."""

import hashlib
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from runners.errors import Exit, OutputError, TargetError
from runners.workloads import fetch as fetching
from runners.workloads.fetch import PUBLIC, fetch
from tests.load.scripted_server import Conversation, Server, plain, serve

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b'{"question_id": 81}\n' * 1000


@pytest.fixture(autouse=True)
def _known_content(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    known = {"spec-bench": replace(PUBLIC["spec-bench"], sha256=digest, size=len(CONTENT))}
    monkeypatch.setattr(fetching, "PUBLIC", known)


def answering(body: bytes, status: str = "200 OK", cut: int = 0) -> AbstractContextManager[Server]:
    def play(talk: Conversation) -> None:
        while talk.request():
            whole = plain(status, body)
            talk.send(whole[: len(whole) - cut])
            if cut:
                return

    return serve(play)


def test_the_pinned_hash_is_that_of_the_questions(shared_dir: Path) -> None:
    file = shared_dir / "data" / "spec_bench" / "question.jsonl"
    data = file.read_bytes()
    assert hashlib.sha256(data).hexdigest() == PUBLIC["spec-bench"].sha256
    assert len(data) == PUBLIC["spec-bench"].size


def test_what_is_fetched_is_whole_and_not_fetched_again(tmp_path: Path) -> None:
    seen: list[int] = []
    with answering(CONTENT) as server:
        path = fetch("spec-bench", tmp_path / "new", seen.append, server.url)
        again = fetch("spec-bench", tmp_path / "new", seen.append, server.url)
        assert len(server.log.requests) == 1
    assert path == again == tmp_path / "new" / "spec-bench.jsonl"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)


@pytest.mark.parametrize(
    ("body", "status", "cut", "says"),
    [
        (CONTENT + b"!", "200 OK", 0, "not the spec-bench that is known"),
        (CONTENT, "200 OK", 500, "put it at"),
        (b"gone", "404 Not Found", 0, "HTTP 404"),
    ],
)
def test_anything_else_is_told_in_one_line_and_leaves_no_file(
    body: bytes, status: str, cut: int, says: str, tmp_path: Path
) -> None:
    (tmp_path / "spec-bench.jsonl").write_bytes(b"an older one")
    with (
        answering(body, status, cut) as server,
        pytest.raises(TargetError) as caught,
    ):
        fetch("spec-bench", tmp_path, url=server.url)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["spec-bench.jsonl"]
    assert (tmp_path / "spec-bench.jsonl").read_bytes() == b"an older one"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with answering(CONTENT) as server, pytest.raises(OutputError):
        fetch("spec-bench", tmp_path / "file", url=server.url)


def test_without_a_network_the_script_says_what_to_do(tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / "fetch_dataset.py")
    nowhere = "http://127.0.0.1:9/file.json"
    ended = subprocess.run(
        [sys.executable, script, "sharegpt", "--out", str(tmp_path), "--url", nowhere],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == Exit.TARGET
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("error: ")]
    assert str(tmp_path / "sharegpt.json") in line
    assert PUBLIC["sharegpt"].sha256 in line
    assert list(tmp_path.iterdir()) == []

"""The benchmarks' own server: what it says, and the log by which clients are judged."""

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from bench.mock import Timetable, Truth, read_log, serving

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")), reason="no C compiler here"
)


def asked(url: str, tokens: int, request_id: int, **more: object) -> list[dict[str, object]]:
    """The events of one streamed answer but for its last, which has to be [DONE]."""
    body = {"model": "mock", "messages": [], "max_tokens": tokens, "stream": True, **more}
    headers = {"X-Request-Id": str(request_id)}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    *events, last, rest = answer.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def logged(folder: Path, timetable: Timetable) -> Truth:
    """The log after requests 7 (5 tokens) and 8 (3 tokens), one after the other."""
    with serving(timetable, folder / "log") as url:
        asked(url, 5, 7)
        asked(url, 3, 8)
    return read_log(folder / "log")


@pytest.mark.parametrize("whole", [False, True])
def test_an_answer_is_a_role_then_the_tokens_then_the_usage(tmp_path: Path, whole: bool) -> None:
    with serving(Timetable(whole=whole)) as url:
        role, *content, usage = asked(url, 4, 1)
    deltas = [event["choices"][0] for event in (role, *content)]  # type: ignore[index]
    assert [each["delta"].get("content") for each in deltas] == ["", *[" token"] * 4]
    assert [each["finish_reason"] for each in deltas] == [None] * 4 + ["length"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 16, "total_tokens": 20, "completion_tokens": 4}


def test_usage_in_every_event_counts_up_where_it_is_asked_for() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    with serving(Timetable()) as url:
        compact = json.dumps(
            {"max_tokens": 3, "stream": True, "stream_options": options}, separators=(",", ":")
        )
        text = httpx.post(f"{url}/v1/chat/completions", content=compact).text
    events = [json.loads(each[6:]) for each in text.split("\n\n")[:-2]]
    assert [each["usage"]["completion_tokens"] for each in events] == [0, 1, 2, 3, 3]


def test_the_log_has_every_send_in_its_order_and_never_before_it_was_due(tmp_path: Path) -> None:
    truth = logged(tmp_path, Timetable(ttft_ms=4.0, itl_ms=2.0))
    assert truth.request_id.tolist() == [7, 8]
    assert [len(each) for each in truth.sends] == [5, 3]
    assert (truth.arrival <= truth.read).all()
    assert truth.read[0] < truth.read[1]
    for read, sends in zip(truth.read, truth.sends, strict=True):
        due = read + 4_000_000 + 2_000_000 * np.arange(len(sends))
        assert (sends >= due).all()
    assert all(
        (after > before).all() for before, after in zip(truth.sends, truth.sent, strict=True)
    )


def test_figures_of_the_log_come_from_the_kernels_stamp_of_the_request(tmp_path: Path) -> None:
    sends = (np.array([1_050_000_000, 1_060_000_000, 1_080_000_000]),)
    one = np.array([1_000_000_000])
    truth = Truth(np.array([-1]), one, one + 7_000_000, sends, sends)
    assert truth.ttft_ms.tolist() == [50.0]
    assert truth.tpot_ms.tolist() == [15.0]
    assert truth.gap_ms.tolist() == [10.0, 20.0]
    assert truth.read_late_ms.tolist() == [7.0]

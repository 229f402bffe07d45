"""Events out of bytes: however the network splits them, the records are the same."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runners.load.dialects import DIALECTS
from runners.load.exchange import Exchange, ResponseFraming
from runners.load.reading import read_answer
from runners.load.sse import EventStream
from tests.load.scripted_server import LAST_CHUNK, STREAM_HEAD, chunked


def events(*pieces: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    stream = EventStream([data for _, data in pieces], [stamp for stamp, _ in pieces])
    return list(iter(stream.next, None))


def test_fields_comments_and_line_ends() -> None:
    stream = b": comment\n\nevent: x\r\ndata: one\r\ndata:two\r\n\r\nid: 7\n\ndata: three"
    assert [data for _, data in events((1, stream))] == [b"one\ntwo", b"three"]


def test_the_stamp_is_that_of_the_piece_which_completed_the_event() -> None:
    pieces = [(10, b"data: a"), (20, b"\n"), (30, b"\ndata: b\n\ndata"), (40, b": c\n\n")]
    assert events(*pieces) == [(30, b"a"), (30, b"b"), (40, b"c")]


def _event(text: str, tokens: int, end: str) -> bytes:
    value = {
        "choices": [{"delta": {"content": text}, "finish_reason": None}],
        "usage": {"completion_tokens": tokens, "prompt_tokens": 5},
    }
    return f"data: {json.dumps(value, ensure_ascii=False)}{end}".encode()


def _understand(data: bytes, cuts: list[int]) -> tuple[object, ...]:
    framing = ResponseFraming()
    exchange = Exchange(0, 0, 8, False, 0)
    framing.exchange = exchange
    edges = sorted({0, *(cut % len(data) for cut in cuts), len(data)})
    reads = [data[start:stop] for start, stop in pairwise(edges)]
    framing.feed(reads, range(len(reads)))
    answer = read_answer(DIALECTS["chat"], exchange, stream=True, keep_text=True)
    chunks = [(chunk.bytes, chunk.kind, chunk.tokens) for chunk in answer.chunks]
    return exchange.complete, answer.error, "".join(answer.texts), chunks, answer.output_tokens


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=40),
    end=st.sampled_from(["\n\n", "\r\n\r\n"]),
)
def test_any_split_of_the_same_bytes_gives_the_same_records(
    texts: list[str], cuts: list[int], end: str
) -> None:
    body = [_event(text, 2 * index + 2, end) for index, text in enumerate(texts)]
    data = STREAM_HEAD + chunked(*body, f"data: [DONE]{end}".encode()) + LAST_CHUNK
    whole = _understand(data, [])
    assert whole[:3] == (True, None, "".join(texts))
    assert sum(tokens for _, _, tokens in whole[3]) == 2 * len(texts)  # type: ignore[attr-defined]
    assert _understand(data, cuts) == whole

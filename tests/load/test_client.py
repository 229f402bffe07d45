"""The client against servers that behave and servers that do not."""

import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runners.load.answer import Answer
from runners.load.client import Client
from runners.load.clock import monotonic_ns
from runners.load.dialects import DIALECTS
from runners.load.exchange import Exchange
from runners.load.limits import Limits, Planned
from runners.load.reading import read_answer
from runners.load.stream import resolve, tls_context
from tests.load.scripted_server import (
    LAST_CHUNK,
    STREAM_HEAD,
    Conversation,
    Play,
    Server,
    chunked,
    plain,
    serve,
)


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


ONE_AT_A_TIME = Limits(1, None, None, None, timeout_ns=5_000_000_000, give_up_after=10_000)
FREELY = replace(ONE_AT_A_TIME, concurrency=None)


def drive(
    server: Server,
    count: int,
    *,
    limits: Limits = ONE_AT_A_TIME,
    ca: Path | None = None,
    intended_ns: int | None = None,
) -> tuple[list[tuple[Exchange, Answer]], Client]:
    """Send `count` requests and return each exchange with its answer, in order of ending."""
    tls = tls_context(ca) if server.url.startswith("https") else None
    seen: list[tuple[Exchange, Answer]] = []

    def finished(exchange: Exchange) -> bool:
        answer = read_answer(DIALECTS["chat"], exchange, stream=True)
        seen.append((exchange, answer))
        return (exchange.error or answer.error) is None

    client = Client(resolve(server.host, server.port, tls), limits, finished)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {server.host}\r\n"
    message = (head + "Content-Length: 2\r\n\r\n{}").encode()

    def plan() -> Iterator[Planned]:
        for index in range(count):
            due = None if intended_ns is None else index * intended_ns
            yield Planned(index, index, 8, False, due, message)

    client.connect_ahead(
        0 if limits.cold else limits.concurrency or 1, monotonic_ns() + 1_000_000_000
    )
    client.run(plan(), monotonic_ns() + 1_000_000)
    return seen, client


def one(play: Play, limits: Limits = ONE_AT_A_TIME) -> tuple[Exchange, Answer]:
    with serve(play) as server:
        seen, _ = drive(server, 1, limits=limits)
    assert len(seen) == 1
    return seen[0]


def error_of(exchange: Exchange, answer: Answer) -> tuple[str | None, str]:
    return exchange.error or answer.error, exchange.error_detail or answer.error_detail or ""


def streaming(*gaps_s: float) -> Play:
    """Answer every request with one content event after each gap."""

    def play(talk: Conversation) -> None:
        while talk.request():
            talk.send(STREAM_HEAD)
            for gap in gaps_s:
                time.sleep(gap)
                talk.send(chunked(event("word")))
            talk.sock.sendall(chunked(DONE) + LAST_CHUNK)

    return play


def test_arrivals_are_stamped_when_the_server_sent_them() -> None:
    with serve(streaming(0.05, 0.02, 0.02)) as server:
        seen, client = drive(server, 3)
    assert client.kernel_stamps, "Linux stamps arrivals in the kernel"
    assert [len(answer.chunks) for _, answer in seen] == [3, 3, 3]
    arrivals = [chunk.arrival_ns for _, answer in seen for chunk in answer.chunks]
    # the log has the head of each response first
    sends = [at for index, at in enumerate(server.log.sends) if index % 4]
    late_ms = [(arrived - at) / 1e6 for arrived, at in zip(arrivals, sends, strict=True)]
    # the log stamps after sendall returned, when loopback has delivered already; the last
    # event may share its read with the end of the stream, right behind it
    assert all(-15 < late < 2 for late in late_ms), late_ms


def test_one_connection_serves_successive_requests() -> None:
    with serve(streaming(0.0)) as server:
        seen, client = drive(server, 5)
    assert len(seen) == 5
    assert server.log.connections == 1
    assert client.tally.reconnects == 0


def test_cold_connections_are_timed_apart(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serve(streaming(0.0), tls=context) as server:
        seen, _ = drive(server, 3, ca=certificate[0], limits=replace(ONE_AT_A_TIME, cold=True))
    assert server.log.connections == 3
    for exchange, _ in seen:
        connect, tls = exchange.connect_ns, exchange.tls_ns
        assert connect is not None and tls is not None and exchange.sent_ns is not None
        assert 0 < connect < tls, "a handshake takes longer than a loopback connection"
        assert exchange.intended_ns + connect + tls <= exchange.sent_ns


def test_sent_lies_before_the_server_has_the_request() -> None:
    with serve(streaming(0.0)) as server:
        seen, _ = drive(server, 3)
    for (exchange, _), (received, _, _) in zip(seen, server.log.requests, strict=True):
        assert exchange.sent_ns is not None
        assert exchange.sent_ns < received


def test_open_loop_keeps_its_times_when_the_server_is_slow() -> None:
    with serve(streaming(0.3)) as server:
        seen, _ = drive(server, 4, intended_ns=20_000_000, limits=FREELY)
    seen.sort(key=lambda pair: pair[0].request_id)
    sent = [exchange.sent_ns for exchange, _ in seen]
    assert all(value is not None for value in sent)
    spread = (sent[-1] or 0) - (sent[0] or 0)
    assert spread < 250_000_000, "arrivals wait for no answer"
    assert not any(exchange.capped for exchange, _ in seen), "there is no cap to wait for"
    assert [exchange.intended_ns - seen[0][0].intended_ns for exchange, _ in seen] == [
        0, 20_000_000, 40_000_000, 60_000_000,
    ]  # fmt: skip


def test_a_cap_delays_and_says_so() -> None:
    with serve(streaming(0.1)) as server:
        seen, _ = drive(server, 3, intended_ns=1_000_000)
    assert [exchange.capped for exchange, _ in seen] == [False, True, True]
    assert (seen[2][0].sent_ns or 0) - seen[2][0].intended_ns > 150_000_000


def test_a_stream_cut_short_is_broken() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        talk.send(STREAM_HEAD + chunked(event("a"), event("b")))

    exchange, answer = one(play)
    assert error_of(exchange, answer)[0] == "broken_stream"
    assert len(answer.chunks) == 2, "what did arrive is kept"


def test_an_error_event_is_told_with_its_message() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        error = b'data: {"error": {"message": "out of blocks", "code": 500}}\n\n'
        talk.send(STREAM_HEAD + chunked(event("a"), error) + LAST_CHUNK)

    assert error_of(*one(play)) == ("stream_error", "out of blocks")


def test_a_silent_server_times_out() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        talk.sock.recv(1)

    error, detail = error_of(*one(play, replace(ONE_AT_A_TIME, timeout_ns=300_000_000)))
    assert error == "timeout"
    assert "0.3 s" in detail


@pytest.mark.parametrize(
    ("response", "error", "detail"),
    [
        (plain("401 Unauthorized", b'{"error": {"message": "bad key"}}'), "http_401", "bad key"),
        (plain("503 Busy", b"come back"), "http_503", "come back"),
        (
            plain("307 Moved", b"", b"Location: https://elsewhere/v1"),
            "http_307",
            "redirect to https://elsewhere/v1 is not followed",
        ),
        (
            plain("200 OK", b"x", b"Content-Encoding: gzip"),
            "malformed",
            "the answer came gzip-encoded though not asked",
        ),
        (b"SSH-2.0-OpenSSH\r\n", "broken_stream", "not HTTP/1.1"),
    ],
)
def test_refusals_are_classified(response: bytes, error: str, detail: str) -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        talk.send(response)
        talk.sock.recv(1)

    found, message = error_of(*one(play))
    assert found == error
    assert detail in message


def test_an_interim_response_is_not_the_answer() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.send(STREAM_HEAD + chunked(event("a"), DONE) + LAST_CHUNK)
        talk.sock.recv(1)

    exchange, answer = one(play)
    assert error_of(exchange, answer)[0] is None
    assert exchange.status == 200


def test_a_body_may_end_with_the_connection() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        talk.send(event("a") + DONE)

    assert error_of(*one(play))[0] is None


@pytest.mark.parametrize(
    "tail",
    [
        [b"0\r\n\r\n"],
        [b"0", b"\r\n\r\n"],
        [b"0\r\n", b"\r\n"],
        [b"0\r\n\r", b"\n"],
        [b"0\r\nX-Trailer: a\r\n\r\n"],
        [b"0;extension\r\nX-Trailer: a\r\n", b"\r\n"],
    ],
)
def test_the_end_of_an_answer_is_seen_however_it_is_cut(tail: list[bytes]) -> None:
    # Lines of \r\n put an empty line at the end of many reads, and of one in mid-event.
    first, second = (event(text).replace(b"\n\n", b"\r\n\r\n") for text in ("a", "b"))

    def play(talk: Conversation) -> None:
        while talk.request():
            whole = chunked(first, second, DONE)
            cut = len(chunked(first)) + 20
            for piece in (STREAM_HEAD, whole[:cut], whole[cut:], *tail):
                talk.send(piece)
                time.sleep(0.004)  # to be a packet, and a read, of its own

    with serve(play) as server:
        seen, _ = drive(server, 2, limits=replace(ONE_AT_A_TIME, timeout_ns=2_000_000_000))
    assert [error_of(*pair)[0] for pair in seen] == [None, None]
    assert [[chunk.bytes for chunk in answer.chunks] for _, answer in seen] == [[1, 1], [1, 1]]
    assert server.log.connections == 1, "nothing of an answer is left on its connection"


def test_a_stream_that_falls_silent_keeps_what_had_arrived() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        for piece in (STREAM_HEAD, chunked(event("a")), chunked(event("b"))):
            talk.send(piece)
            time.sleep(0.01)
        talk.sock.recv(1)

    exchange, answer = one(play, replace(ONE_AT_A_TIME, timeout_ns=300_000_000))
    assert error_of(exchange, answer)[0] == "timeout"
    assert len(answer.chunks) == 2


def test_a_kept_alive_connection_that_the_server_closed_is_replaced() -> None:
    def play(talk: Conversation) -> None:
        talk.request()
        talk.send(STREAM_HEAD + chunked(event("a"), DONE) + LAST_CHUNK)

    with serve(play) as server:
        seen, _ = drive(server, 3, intended_ns=100_000_000)
    assert [error_of(*pair)[0] for pair in seen] == [None, None, None]
    assert server.log.connections == 3


def test_no_server_is_a_connect_error_and_not_an_endless_loop() -> None:
    with serve(streaming(0.0)) as server:
        pass
    seen, client = drive(server, 1000, limits=replace(ONE_AT_A_TIME, give_up_after=3))
    assert {error_of(*pair)[0] for pair in seen} == {"connect"}
    assert len(seen) < 10
    assert client.tally.stopped == "the first 3 requests all failed"


def test_ipv6() -> None:
    with serve(streaming(0.0), ipv6=True) as server:
        seen, _ = drive(server, 2)
    assert [error_of(*pair)[0] for pair in seen] == [None, None]


def test_tls_answers_carry_kernel_stamps_too(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serve(streaming(0.05, 0.02), tls=context) as server:
        seen, client = drive(server, 2, ca=certificate[0])
    assert [error_of(*pair)[0] for pair in seen] == [None, None]
    assert client.kernel_stamps
    assert [len(answer.chunks) for _, answer in seen] == [2, 2]


def test_an_unknown_certificate_is_refused(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serve(streaming(0.0), tls=context) as server:
        seen, _ = drive(server, 1)
    error, detail = error_of(*seen[0])
    assert error == "connect"
    assert "certificate not accepted: self" in detail

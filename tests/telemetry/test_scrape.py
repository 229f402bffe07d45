"""Scraping a live endpoint: what is kept, and that trouble stays a gap in the record."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from runners.errors import OutputError
from runners.rundir import RunDirectory
from runners.telemetry.counters import increase, read_server
from runners.telemetry.scrape import Scraper, parse_samples

EXPOSITION = """\
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="a \\"b\\""} 1234.0
# TYPE vllm:generation_tokens_created gauge
vllm:generation_tokens_created{engine="0"} 1.7e+09
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.01"} 3.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 4.0
vllm:time_to_first_token_seconds_count{engine="0"} 4.0
vllm:time_to_first_token_seconds_sum{engine="0"} 0.5
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf"} 9.0
vllm:iteration_tokens_total_count{engine="0"} 9.0
vllm:iteration_tokens_total_sum{engine="0"} 90.0
"""


class Endpoint(ThreadingHTTPServer):
    """Counts one token more per answer; `behave` may be "500", "garbage" or "text"."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = "text"
        self.answered = 0
        self.seen_headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/metrics"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.answered += 1
        server.seen_headers.append({k.lower(): v for k, v in self.headers.items()})
        body = f"vllm:generation_tokens_total {server.answered}\n"
        if server.behave == "garbage":
            body = 'vllm:generation_tokens_total{engine="0" nonsense\n'
        self.send_response(500 if server.behave == "500" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_what_is_kept_of_an_exposition() -> None:
    samples = {(name, labels): value for name, labels, value in parse_samples(EXPOSITION)}
    names = {name for name, _ in samples}
    assert (
        samples["vllm:generation_tokens_total", json.dumps({"engine": "0", "model_name": 'a "b"'})]
        == 1234.0
    )
    assert "vllm:generation_tokens_created" not in names
    assert "vllm:time_to_first_token_seconds_bucket" in names
    assert "vllm:iteration_tokens_total_bucket" not in names
    assert {"vllm:iteration_tokens_total_sum", "vllm:iteration_tokens_total_count"} <= names


def test_the_load_lies_between_the_first_scrape_and_the_last(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    with Scraper(endpoint.url, interval_s=60.0) as scraper:
        start = time.monotonic_ns()
        end = time.monotonic_ns()
    scraper.write(RunDirectory(tmp_path), start)
    server = read_server(tmp_path / "server.parquet")
    assert server is not None
    first, last = server.instants
    assert first <= 0 and last >= end - start
    assert increase(server, ("vllm:generation_tokens_total",), int(first), int(last)) == 1.0
    table = pq.read_table(tmp_path / "server.parquet")
    assert table.column_names == ["t_ns", "source", "metric", "labels", "value"]
    assert set(table["source"].to_pylist()) == {f"127.0.0.1:{endpoint.server_port}"}


class Clock:
    """A clock that only waiting and scraping move; every wake-up comes 3 ms late."""

    def __init__(self) -> None:
        self.now = 100.0
        self.scraped: list[float] = []
        self.takes = [0.3, 0.3, 0.3, 2.1, 0.3, 0.3]

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return round(self.now * 1e9)

    def wait(self, timeout: float) -> bool:
        self.now += timeout + 0.003
        return len(self.scraped) == len(self.takes)

    def scrape(self, timeout_s: float) -> None:
        assert timeout_s < 1.0
        self.now += self.takes[len(self.scraped)]
        self.scraped.append(self.now - 100.0 - self.takes[len(self.scraped)])


def test_scrapes_stay_on_their_grid_and_a_missed_instant_is_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, scraper = Clock(), Scraper("http://127.0.0.1:9/metrics", interval_s=1.0)
    monkeypatch.setattr("runners.telemetry.scrape.time", clock)
    monkeypatch.setattr(scraper, "_stop", clock)
    monkeypatch.setattr(scraper, "_scrape", clock.scrape)
    scraper._run()
    # The fourth starts at 4.003 s and takes 2.1 s, past the instants 5 and 6.
    assert clock.scraped == pytest.approx([1.003, 2.003, 3.003, 4.003, 7.003, 8.003])
    assert [scrape.at_ns / 1e9 - 100 for scrape in scraper.scrapes] == pytest.approx([5.0, 6.0])
    assert scraper.gaps == 2


@pytest.mark.parametrize(("trouble", "noticed"), [("500", 1), ("garbage", 0)])
def test_a_failed_scrape_is_a_gap_and_never_ends_a_run(
    endpoint: Endpoint, tmp_path: Path, trouble: str, noticed: int
) -> None:
    with Scraper(endpoint.url, interval_s=60.0) as scraper:
        endpoint.behave = trouble
    # Text that cannot be read is only noticed when it is parsed, after the run.
    assert scraper.gaps == noticed
    scraper.write(RunDirectory(tmp_path), scraper.scrapes[0].at_ns)
    server = read_server(tmp_path / "server.parquet")
    assert server is not None
    assert server.gaps == 1
    assert server.instants.tolist() == [0]


def test_without_an_answering_server_there_is_no_file(tmp_path: Path) -> None:
    with Scraper("http://127.0.0.1:9/metrics", interval_s=60.0) as scraper:
        pass
    scraper.write(RunDirectory(tmp_path), 0)
    assert not (tmp_path / "server.parquet").exists()
    assert scraper.gaps == 2
    assert scraper.last_failure


def test_a_missing_certificate_file_is_a_gap_too(tmp_path: Path) -> None:
    with Scraper("https://127.0.0.1:9/metrics", 60.0, ca_cert=tmp_path / "none.pem") as scraper:
        pass
    assert scraper.gaps == 1


def test_the_key_is_sent_and_not_kept(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHETIC_KEY", "sesame")
    with Scraper(endpoint.url, 60.0, api_key_env="SYNTHETIC_KEY") as scraper:
        pass
    assert endpoint.seen_headers[0]["authorization"] == "Bearer sesame"
    assert endpoint.seen_headers[0]["accept-encoding"] == "identity"
    assert "sesame" not in str(vars(scraper) | {"_client": None})


def test_an_unwritable_place_is_an_output_error(endpoint: Endpoint, tmp_path: Path) -> None:
    with Scraper(endpoint.url, 60.0) as scraper:
        pass
    with pytest.raises(OutputError, match="--out"):
        scraper.write(RunDirectory(tmp_path / "missing"), 0)

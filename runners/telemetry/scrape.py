"""Scraping a Prometheus endpoint beside the load.

A thread of its own asks once per period, on an absolute grid so that nothing drifts, and
keeps the raw text with CLOCK_MONOTONIC stamps. Text is parsed after the run: parsing would
take processor time from the client that is being measured.
"""

import json
import os
import re
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runners.rundir import RunDirectory, writing

if TYPE_CHECKING:
    import httpx

FIRST_AND_LAST_TIMEOUT_S = 5.0
# Two series of our own, named as Prometheus itself names them.
UP = "up"
SCRAPE_DURATION = "scrape_duration_seconds"

_KEPT_BUCKETS = re.compile(r"time_to_first_token|inter_token_latency|e2e|queue_time|queue_duration")


@dataclass(frozen=True)
class Scrape:
    """One GET: its mid-point on CLOCK_MONOTONIC, how long it took, and what came back.

    body: zlib-compressed text; None when the scrape failed, then `failure` says why.
    """

    at_ns: int
    duration_ns: int
    body: bytes | None
    failure: str | None = None


class Scraper:
    """Scrapes `metrics_url` while the context is open; it never raises into the run.

    One scrape happens on entering and one on leaving, so that the counters before and after
    the load are both known. Failed scrapes stay in the record as gaps.

    ca_cert: a PEM file to trust instead of the system's. api_key_env: the environment
    variable whose value is sent as a bearer token; the value is not kept.
    """

    def __init__(
        self,
        metrics_url: str,
        interval_s: float = 1.0,
        ca_cert: Path | None = None,
        api_key_env: str | None = None,
    ) -> None:
        self.metrics_url = metrics_url
        self.interval_s = interval_s
        self.scrapes: list[Scrape] = []
        self._ca_cert = ca_cert
        self._api_key_env = api_key_env
        self._client: httpx.Client | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)

    @property
    def source(self) -> str:
        """Host and port of the endpoint."""
        return urlsplit(self.metrics_url).netloc.rpartition("@")[2]

    @property
    def gaps(self) -> int:
        """How many scrapes failed so far."""
        return sum(scrape.body is None for scrape in self.scrapes)

    @property
    def last_failure(self) -> str | None:
        """Why the most recent failed scrape failed."""
        return next((s.failure for s in reversed(self.scrapes) if s.failure), None)

    def __enter__(self) -> "Scraper":
        self._open()
        self._scrape(FIRST_AND_LAST_TIMEOUT_S)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._scrape(FIRST_AND_LAST_TIMEOUT_S)
        if self._client is not None:
            self._client.close()

    def write(self, run: RunDirectory, t0_monotonic_ns: int) -> None:
        """`write_scrapes` of this one alone."""
        write_scrapes([self], run, t0_monotonic_ns)

    def _open(self) -> None:
        import ssl

        import httpx

        # Plain text, not compressed: compressing would cost the engine's process time.
        headers = {"accept": "text/plain", "accept-encoding": "identity"}
        key = os.environ.get(self._api_key_env) if self._api_key_env else None
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            trusted = ssl.create_default_context(cafile=self._ca_cert)
            self._client = httpx.Client(headers=headers, verify=trusted, trust_env=False)
        except (OSError, ValueError, UnicodeError) as error:
            self._failed(time.monotonic_ns(), 0, str(error) or type(error).__name__)

    def _run(self) -> None:
        start = time.monotonic()
        tick = 1
        while not self._stop.wait(max(0.0, start + tick * self.interval_s - time.monotonic())):
            self._scrape(0.8 * self.interval_s)
            reached = int((time.monotonic() - start) / self.interval_s)
            for missed in range(tick + 1, reached + 1):
                at_ns = int((start + missed * self.interval_s) * 1e9)
                self._failed(at_ns, 0, "the scrape before it took too long")
            tick = max(tick, reached) + 1

    def _scrape(self, timeout_s: float) -> None:
        if self._client is None:
            return
        before = time.monotonic_ns()
        try:
            answer = self._client.get(self.metrics_url, timeout=timeout_s)
            after = time.monotonic_ns()
            if answer.status_code != 200:
                self._failed(before, after - before, f"HTTP {answer.status_code}")
                return
            body = zlib.compress(answer.content, 1)
        # Whatever goes wrong here is a gap in the record, never the end of the run.
        except Exception as error:
            self._failed(before, time.monotonic_ns() - before, f"{type(error).__name__}: {error}")
            return
        self.scrapes.append(Scrape((before + after) // 2, after - before, body))

    def _failed(self, at_ns: int, duration_ns: int, reason: str) -> None:
        self.scrapes.append(Scrape(at_ns + duration_ns // 2, duration_ns, None, reason[:200]))


Row = tuple[int, str, str, str, float]


def write_scrapes(
    scrapers: Sequence[Scraper],
    run: RunDirectory,
    t0_monotonic_ns: int,
    more: Sequence[Row] = (),
) -> None:
    """Parse what was kept and write server.parquet; nothing where no scrape succeeded.

    Each scraper is a source of its own. t0_monotonic_ns: the instant that becomes 0. more:
    further rows (ns from that instant, source, metric, labels as JSON, value). Raises
    OutputError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    none = all(scrape.body is None for scraper in scrapers for scrape in scraper.scrapes)
    if none and not more:
        return
    times: list[Any] = []
    sources: list[Any] = []
    metrics: list[Any] = []
    labels: list[Any] = []
    values: list[Any] = []
    for scraper in scrapers:
        for scrape in scraper.scrapes:
            for metric, label, value in scrape_rows(scrape):
                times.append(scrape.at_ns - t0_monotonic_ns)
                sources.append(scraper.source)
                metrics.append(metric)
                labels.append(label)
                values.append(value)
    for row in more:
        for column, cell in zip((times, sources, metrics, labels, values), row, strict=True):
            column.append(cell)
    table = pa.table(
        {
            "t_ns": pa.array(times, pa.int64()),
            "source": pa.array(sources, pa.string()),
            "metric": pa.array(metrics, pa.string()),
            "labels": pa.array(labels, pa.string()),
            "value": pa.array(values, pa.float64()),
        }
    )
    path = run / "server.parquet"
    with writing(path):
        draft = path.with_name(path.name + ".part")
        pq.write_table(table, draft, compression="zstd")
        draft.replace(path)


def scrape_rows(scrape: Scrape) -> Iterator[tuple[str, str, float]]:
    """(metric, labels as JSON, value) of one scrape; only `up` 0 where it failed."""
    samples: list[tuple[str, str, float]] = []
    up = scrape.body is not None
    if scrape.body is not None:
        try:
            samples = list(parse_samples(zlib.decompress(scrape.body).decode("utf-8")))
        except ValueError:
            up = False
    yield UP, "{}", float(up)
    yield SCRAPE_DURATION, "{}", scrape.duration_ns / 1e9
    if up:
        yield from samples


def parse_samples(text: str) -> Iterator[tuple[str, str, float]]:
    """(sample name as on the wire, labels as JSON with sorted keys, value) of an exposition.

    Creation times are left out, and so are histogram buckets except those of time to first
    token, inter-token latency, end-to-end latency and queue time. Raises ValueError.
    """
    from prometheus_client.parser import text_string_to_metric_families

    kept = "\n".join(line for line in text.splitlines() if _wanted(line)) + "\n"
    for family in text_string_to_metric_families(kept):
        for sample in family.samples:
            yield sample.name, _label_json(sample.labels), float(sample.value)


def _wanted(line: str) -> bool:
    if line.startswith("#"):
        return True
    name = re.split(r"[{ \t]", line, maxsplit=1)[0]
    if name.endswith("_created"):
        return False
    return not name.endswith("_bucket") or _KEPT_BUCKETS.search(name) is not None


def _label_json(labels: dict[str, Any]) -> str:
    return json.dumps(labels, sort_keys=True, ensure_ascii=False)

"""GPUs and engines of our pods from a Prometheus server that scrapes them.

Asked once, after the load, for the raw samples of the run: a range selector in an instant
query gives them with the instants of their scrapes, where query_range would repeat the last
value on a grid of its own and move the edges.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from runners.telemetry.counters import GPU_SOURCE
from runners.telemetry.dcgm import FIELDS
from runners.telemetry.scrape import UP, Row

TIMEOUT_S = 20.0
# A scrape after the end of load is waited for, so that the end can be interpolated.
PATIENCE_S = 60.0
CLOCK_TOLERANCE_S = 2.0
# The exporter's labels, as they are where Prometheus keeps its own names, and where not.
_LABELS = (("exported_namespace", "exported_pod"), ("namespace", "pod"))

Series = list[dict[str, Any]]


@dataclass(frozen=True)
class Wanted:
    """What is asked for. names: a pattern of metric names; called: as a person would say."""

    names: str
    called: str
    of_gpus: bool


GPUS = Wanted("|".join(FIELDS), "DCGM metrics of our GPUs", True)
# Where pods themselves cannot be reached; histograms without their buckets.
ENGINE = Wanted("(vllm:|tgi_|trtllm_|nv_).*", "engine metrics of our pods", False)


class Prometheus:
    """Notes the time while the context is open, and asks on leaving; it never raises.

    facts: an endpoint's; its pods are read from it when asked, so that those that came during
    the load are among them. uuids: GPUs by name, where there are no pods.
    """

    def __init__(
        self,
        url: str,
        facts: Mapping[str, Any],
        uuids: Iterable[str] = (),
        token_env: str | None = None,
        patience_s: float = PATIENCE_S,
        wanted: Wanted = GPUS,
    ) -> None:
        self._url = url.rstrip("/")
        self._facts, self._uuids, self._token_env = facts, tuple(uuids), token_env
        self._patience_s, self._wanted = patience_s, wanted
        self._start_s = 0.0
        self._found: Series = []
        self._why: str | None = None

    @property
    def source(self) -> str:
        server = urlsplit(self._url).netloc.rpartition("@")[2]
        return f"{GPU_SOURCE if self._wanted.of_gpus else ''}prometheus {server}"

    def __enter__(self) -> "Prometheus":
        self._start_s = time.time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._why = "the run ended before Prometheus was asked"
            return
        try:
            self._collect(time.time())
        except KeyboardInterrupt:  # the load is over: nothing but the wait is cut short
            self._why = None if self._found else "interrupted while Prometheus was asked"
        # Whatever goes wrong here is a gap in the record, never the end of the run.
        except Exception as failure:
            said = " ".join(str(failure).split())[:200]
            self._why = f"Prometheus {self._url}: {said or type(failure).__name__}"

    def missing(self) -> str | None:
        """Why nothing was seen; None where something was."""
        return self._why

    def rows(self, t0_monotonic_ns: int, t0_unix_ns: int) -> Iterator[Row]:
        """What was seen, for server.parquet. t0: the start of load on two clocks."""
        looks = set()
        for one in self._found:
            labels = dict(one["metric"])
            metric, source = labels.pop("__name__"), self._source_of(labels)
            text = json.dumps(labels, sort_keys=True, ensure_ascii=False)
            for unix_s, value in one["values"]:
                at = round(float(unix_s) * 1e9) - t0_unix_ns
                looks.add((at, source))
                yield at, source, metric, text, float(value)
        for at, source in sorted(looks):
            yield at, source, UP, "{}", 1.0

    def _source_of(self, labels: Mapping[str, str]) -> str:
        """Each pod of an engine is scraped at instants of its own; GPUs stay one source."""
        pod = next((labels[pod] for _, pod in _LABELS if labels.get(pod)), None)
        return self.source if self._wanted.of_gpus or not pod else f"{self.source} {pod}"

    def _collect(self, end_s: float) -> None:
        import httpx

        headers = {}
        token = os.environ.get(self._token_env) if self._token_env else None
        if token:
            headers["authorization"] = f"Bearer {token}"
        with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            chosen = self._chosen(client)
            if chosen is None:
                return
            deadline = time.monotonic() + self._patience_s
            while True:
                # One interval more at the start, for a sample before it.
                length = time.time() - self._start_s + 60
                self._found = self._ask(client, f"{chosen}[{length:.0f}s]")
                if _reaches(self._found, end_s) or time.monotonic() > deadline:
                    return
                time.sleep(min(1.0, self._patience_s))

    def _chosen(self, client: Any) -> str | None:
        """The selector that finds our GPUs; None, with the reason kept, where none does."""
        from runners.telemetry.pods import pods_of

        namespace, pods = pods_of(self._facts)
        names = f'__name__=~{_quoted(self._wanted.names)},__name__!~".*_bucket"'
        if self._uuids:
            selectors = [f"{{{names},UUID=~{_any_of(self._uuids)}}}"]
        elif pods and namespace:
            selectors = [
                f"{{{names},{space}={_quoted(namespace)},{pod}=~{_any_of(pods)}}}"
                for space, pod in _LABELS
            ]
        else:
            self._why = (
                "Prometheus knows GPUs by pod, and no pods are known here; add "
                "`telemetry: {gpus: [<UUID>]}` to the profile"
            )
            return None
        for selector in selectors:
            if self._ask(client, f"{selector}[10m]"):
                return selector
        self._why = f"Prometheus {self._url} has no {self._wanted.called}"
        return None

    def _ask(self, client: Any, query: str) -> Series:
        answer = client.get(f"{self._url}/api/v1/query", params={"query": query})
        said = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        if answer.status_code != 200 or said.get("status") != "success":
            raise ValueError(said.get("error") or f"HTTP {answer.status_code}")
        if date := answer.headers.get("date"):
            off = parsedate_to_datetime(date).timestamp() - time.time()
            # The header has whole seconds.
            if abs(off + 0.5) > CLOCK_TOLERANCE_S:
                raise ValueError(f"its clock is {off:+.0f} s from this machine's")
        return [one for one in said["data"]["result"] if one.get("values")]


def _reaches(found: Series, end_s: float) -> bool:
    return bool(found) and all(float(one["values"][-1][0]) >= end_s for one in found)


def _any_of(names: Iterable[str]) -> str:
    return _quoted("|".join(re.escape(name).replace(r"\-", "-") for name in sorted(names)))


def _quoted(text: str) -> str:
    return json.dumps(text)

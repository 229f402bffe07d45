"""report.html: one file, offline, safe to open, whatever the run left behind."""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from runners.errors import UsageError
from runners.reports.html import write_report
from runners.reports.series import (
    chunk_gaps_ms,
    distribution,
    in_flight,
    read_chunks,
    read_requests,
)
from runners.rundir import RunDirectory
from tests.reports.synthetic_run import MakeRun


class Page(HTMLParser):
    """Elements with their attributes, texts outside of script and style, scripts by id."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.styles = ""
        self.scripts: list[tuple[str | None, str]] = []
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs).get("id"), ""))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._inside and self._inside[-1] == "style":
            self.styles += data
        else:
            self.text += data

    def plots(self) -> dict[str, Mapping[str, Any]]:
        drawings = next(text for name, text in self.scripts if name == "drawings")
        return {drawing["name"]: drawing["plot"] for drawing in json.loads(drawings)}


def test_one_small_file_that_loads_nothing_from_elsewhere(make_run: MakeRun) -> None:
    path = write_report(make_run())
    assert path.stat().st_size < 6_000_000
    page = Page(path)
    loading = {"src", "href", "srcset", "data", "action", "poster", "background"}
    assert not [pair for pair in page.tags if loading & pair[1].keys()]
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"@import|url\(", page.styles)
    ours = [text for _, text in page.scripts if "plotly.js v" not in text[:500]]
    assert len(page.scripts) == 3
    assert len(ours) == 2
    assert not [text for text in ours if re.search(r"https?:|\bfetch\(|\bimport\b", text)]
    policy = [a for tag, a in page.tags if tag == "meta" and "default-src 'none'" in str(a)]
    assert policy


def test_every_figure_has_its_data(make_run: MakeRun) -> None:
    run = make_run()
    page = Page(write_report(run))
    plots = page.plots()
    assert plots.keys() == {
        "ttft",
        "e2e-latency",
        "gaps",
        "startup",
        "timeline",
        "prompt-length",
        "answer-length",
    }
    assert all(len(trace["x"]) for plot in plots.values() for trace in plot["data"])
    metrics = run.read_json("results.json")["metrics"]
    marks = plots["ttft"]["data"][-1]
    assert marks["x"] == [
        pytest.approx(metrics["ttft_ms"][key]["value"], abs=1e-3)
        for key in ("p50", "p90", "p95", "p99")
    ]
    window = run.read_json("results.json")["window"]
    edges = [s["x0"] for s in plots["timeline"]["layout"]["shapes"] if s["type"] == "line"]
    assert edges == [window["start_s"], window["end_s"]]


def test_text_from_outside_stays_text(make_run: MakeRun) -> None:
    evil = "</script><script>alert(1)</script>"
    run = make_run(model=evil)
    run.write_json(
        "lifecycle.json",
        {"phases": [{"name": evil, "start_unix_s": 1.0, "duration_s": 2.0}], "failure": evil},
    )
    results = run.read_json("results.json")
    results["verdict"]["reasons"] = [evil]
    results["not_measured"] = {evil: evil}
    run.write_json("results.json", results)
    page = Page(write_report(run))
    assert len(page.scripts) == 3
    assert not [text for _, text in page.scripts if text.startswith("alert(1)")]
    assert page.text.count(evil) >= 4
    assert "<b>no healthy replica</b>" in page.text


def test_credentials_do_not_reach_the_report(make_run: MakeRun) -> None:
    html = write_report(make_run()).read_text(encoding="utf-8")
    assert "hf_do_not_show" not in html
    assert "sk-hidden" not in html
    assert "max_tokens: 64" in html


def test_a_run_in_which_every_request_failed(make_run: MakeRun) -> None:
    run = make_run(failing=1.0)
    page = Page(write_report(run))
    assert {"ttft", "e2e-latency", "gaps", "answer-length"}.isdisjoint(page.plots())
    assert "timeline" in page.plots()
    assert "INVALID" in page.text
    assert "No request completed inside the window." in page.text
    assert "NaN" not in next(text for name, text in page.scripts if name == "drawings")


@pytest.mark.parametrize("kept", [(), ("requests.parquet",), ("server.parquet",)])
def test_absent_files_leave_a_report(make_run: MakeRun, kept: tuple[str, ...]) -> None:
    run = make_run()
    for path in run.path.iterdir():
        if path.is_file() and path.name not in {"results.json", *kept}:
            path.unlink()
    page = Page(write_report(run))
    assert "54.4" in page.text
    assert ("timeline" in page.plots()) == bool(kept)


def test_connections_refused_from_the_start_are_drawn(make_run: MakeRun) -> None:
    run = make_run(failing=1.0)
    requests = pd.read_parquet(run / "requests.parquet").assign(error="connect")
    requests["sent_ns"] = pd.array([None] * len(requests), dtype="Int64")
    requests.to_parquet(run / "requests.parquet")
    (run / "server.parquet").unlink()
    plot = Page(write_report(run)).plots()["timeline"]
    assert [len(trace["x"]) for trace in plot["data"]] == [len(requests)]


def test_large_runs_are_drawn_with_few_points(make_run: MakeRun) -> None:
    run = make_run(rate=400.0, failing=0.2)
    path = write_report(run)
    assert path.stat().st_size < 6_000_000
    plots = Page(path).plots()
    drawn = [len(trace["x"]) for plot in plots.values() for trace in plot["data"]]
    assert max(drawn) <= 5000


def test_without_results_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"results\.json"):
        write_report(RunDirectory.create(tmp_path, "empty"))


def test_series_agree_with_the_records(make_run: MakeRun) -> None:
    run = make_run()
    window = run.read_json("results.json")["window"]
    requests = read_requests(run, window)
    chunks = read_chunks(run, requests)
    assert requests is not None
    assert chunks is not None
    table, pieces = (pd.read_parquet(run / f"{name}.parquet") for name in ("requests", "chunks"))
    good = table[table["error"].isna() & ~table["warmup"] & (table["sent_ns"] <= 29e9)]
    gaps = pieces[pieces["request_id"].isin(good["request_id"])].groupby("request_id")
    expected = gaps["arrival_ns"].diff().dropna().to_numpy() / 1e6
    assert sorted(chunk_gaps_ms(chunks, requests)) == pytest.approx(sorted(expected))
    instants, running = in_flight(requests)
    halfway = instants[len(instants) // 2]
    alive = (table["sent_ns"] / 1e9 <= halfway) & (table["end_ns"] / 1e9 > halfway)
    assert running[len(instants) // 2] == alive.sum()
    assert running[-1] == 0


def test_thinned_distribution_keeps_its_ends_and_its_tail() -> None:
    values = np.random.default_rng(0).lognormal(size=200_000)
    drawn, share = distribution(values)
    assert len(drawn) <= 600
    assert (drawn[0], drawn[-1]) == (values.min(), values.max())
    for quantile in (0.5, 0.99, 0.999):
        there = np.interp(quantile, share, drawn)
        assert there == pytest.approx(np.quantile(values, quantile), rel=0.01)

"""Reports of comparisons and groups say what comparison.json and group.json hold."""

import json
import re
from math import exp
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from runners.cli.stages import report
from runners.errors import UsageError
from runners.reports.comparison_html import write_comparison_report
from runners.reports.group_html import write_group_report
from runners.reports.html import write_report
from runners.rundir import RunDirectory
from tests.reports.synthetic_run import MakeRun
from tests.reports.test_write_report import Page


def test_the_verdicts_come_first_with_their_figures(compared: RunDirectory) -> None:
    page = Page(compared / "report.html")
    found = compared.read_json("comparison.json")["comparisons"][0]["metrics"]["ttft_ms.p50"]
    assert found["verdict"] == "worse"
    first = page.text.index("slower against steady: worse in")
    assert first < page.text.index("Latency of the sides") < page.text.index("What differs")
    change = f"{100 * (found['ratio']['value'] - 1):+.1f} %"
    row = page.text[page.text.index("TTFT p50, ms ↓") :][:200]
    assert change in row
    assert "fail" in page.text
    assert (compared / "report.html").stat().st_size < 6_000_000


def test_the_forest_holds_the_intervals_and_the_gate(compared: RunDirectory) -> None:
    plot = Page(compared / "report.html").plots()["forest-1"]
    metrics = compared.read_json("comparison.json")["comparisons"][0]["metrics"]
    shown = [name for name, found in metrics.items() if found.get("ratio")]
    assert len(plot["data"]) == len(shown)
    middle = plot["data"][shown.index("ttft_ms.p50")]["x"][1]
    assert exp(middle) == pytest.approx(metrics["ttft_ms.p50"]["ratio"]["value"], abs=1e-3)
    gate = [shape["x0"] for shape in plot["layout"]["shapes"] if "dash" in shape["line"]]
    assert [exp(at) for at in gate] == [pytest.approx(1.05)]


def test_sides_are_laid_over_each_other(compared: RunDirectory) -> None:
    plots = Page(compared / "report.html").plots()
    assert [trace["name"] for trace in plots["side-ttft"]["data"]] == ["steady", "slower"]
    lines = [t for t in plots["rounds-ttft-ms-p50"]["data"] if t["mode"] == "lines"]
    assert [len(line["x"]) for line in lines] == [2, 2, 2]


def test_without_its_runs_a_comparison_can_still_be_told(compared: RunDirectory) -> None:
    comparison = compared.read_json("comparison.json")
    for side in comparison["sides"]:
        side["folder"] = "/nowhere"
    compared.write_json("comparison.json", comparison)
    page = Page(write_comparison_report(compared))
    assert "forest-1" in page.plots()
    assert "No run of the sides has" in page.text


def test_what_differs_is_shown_without_credentials(compared: RunDirectory) -> None:
    comparison = compared.read_json("comparison.json")
    pair = comparison["comparisons"][0]
    pair["differs"] = {"engine.args.max_num_seqs": [1, 16], "engine.env.HF_TOKEN": ["hf_a", "hf_b"]}
    compared.write_json("comparison.json", comparison)
    folder = Path(comparison["sides"][0]["folder"])
    for side, value in zip(comparison["sides"], ("1", "16"), strict=True):
        first = RunDirectory(folder.parent.parent / side["name"] / "runs" / side["runs"][0])
        environment = {"env": [{"name": "HF_TOKEN", "value": "hf_c"}], "args": [value]}
        first.write_text("manifests/service.yaml", yaml.safe_dump(environment))
    html = write_comparison_report(compared).read_text(encoding="utf-8")
    assert "engine.args.max_num_seqs" in html
    assert re.search(r'<span class="added">\+- .16.</span>', html.replace("&#39;", "'"))
    assert "hf_" not in html


def test_find_max_marks_what_it_found(find_max: RunDirectory) -> None:
    page = Page(write_group_report(find_max))
    layout = page.plots()["ttft-ms-p50"]["layout"]
    upright = [s["x0"] for s in layout["shapes"] if s["x0"] == s["x1"] and s["yref"] == "paper"]
    assert upright == [12.0, 16.0]
    across = [s["y0"] for s in layout["shapes"] if s.get("xref") == "paper"]
    assert across == [180]
    assert re.search(r"12\s*highest kept", page.text)
    walk = page.plots()["tradeoff"]["data"][0]
    assert walk["text"] == ["8", "12", "16"]


def test_markdown_of_each_kind(
    make_run: MakeRun, compared: RunDirectory, find_max: RunDirectory
) -> None:
    run = make_run(model="a|b <b>")
    told = {}
    for place in (run, compared, find_max):
        done = CliRunner().invoke(report, [str(place.path), "--markdown"], catch_exceptions=False)
        told[place] = done.output
        tables = [line for line in done.output.splitlines() if line.startswith("|")]
        columns = {line.replace("\\|", "").count("|") for line in tables}
        assert tables
        assert min(columns) > 3
    assert "a\\|b \\<b\\>" in told[run]
    p50 = run.read_json("results.json")["metrics"]["ttft_ms"]["p50"]["value"]
    assert f"{p50:.1f}" in told[run]
    assert "**worse**" in told[compared]
    assert "**highest kept**" in told[find_max]


def test_markdown_into_a_folder(make_run: MakeRun, tmp_path: Path) -> None:
    arguments = [str(make_run().path), "--markdown", "--out", str(tmp_path / "pr")]
    CliRunner().invoke(report, arguments, catch_exceptions=False)
    assert (tmp_path / "pr" / "summary.md").read_text(encoding="utf-8").startswith("## ")


def test_out_alone_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--figures or --markdown"):
        CliRunner().invoke(
            report, [str(make_run().path), "--out", str(tmp_path)], catch_exceptions=False
        )


def test_events_and_cold_starts_are_drawn_where_they_are_known(make_run: MakeRun) -> None:
    run = make_run()
    happened = [{"unix_s": 1_700_000_012.5, "kind": "restarted", "text": "pod <a> came again"}]
    run.write_json("cluster.json", {"pods": [], "disturbances": happened})
    start: dict[str, Any] = {
        "phases": [{"name": "ready", "start_unix_s": 1.0, "duration_s": 4.0}],
        "first_token_s": 4.5,
    }
    whole = {"first token from zero": {"p50_s": 4.5, "max_s": 4.5}}
    run.write_json("coldstarts.json", {"first": start, "starts": [start], "summary": whole})
    page = Page(write_report(run))
    marks = page.plots()["timeline"]["layout"]["shapes"]
    assert 12.5 in [shape["x0"] for shape in marks]
    assert "restarted: pod <a> came again" in page.text
    assert next(trace["x"] for trace in page.plots()["cold-starts"]["data"]) == [4.0, 4.0]


def test_a_run_of_one_request(make_run: MakeRun) -> None:

    run = make_run(failing=0)
    requests = pd.read_parquet(run / "requests.parquet")
    one = requests[~requests["warmup"]].head(1)
    one.to_parquet(run / "requests.parquet")
    chunks = pd.read_parquet(run / "chunks.parquet")
    chunks[chunks["request_id"] == one["request_id"].iloc[0]].to_parquet(run / "chunks.parquet")
    plots = Page(write_report(run)).plots()
    assert len(plots["ttft"]["data"][0]["x"]) == 1
    json.dumps(plots, allow_nan=False)

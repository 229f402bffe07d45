"""What a person reads on the terminal after a run, and what a machine reads of it."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from runners.reports.console import print_results, summary
from runners.rundir import RunDirectory
from tests.reports.synthetic_run import MakeRun


def printed(run: RunDirectory, results: dict[str, Any], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_results(results, run, console)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def line_with(text: str, label: str) -> str:
    return next(line for line in text.splitlines() if label in line)


@pytest.mark.parametrize("width", [80, 120])
def test_latencies_stand_in_their_columns_with_their_intervals(
    make_run: MakeRun, width: int
) -> None:
    run = make_run()
    results = run.read_json("results.json")
    results["metrics"]["ttft_ms"] = {
        "count": 500,
        "mean": {"value": 51.23, "low": 50.83, "high": 51.63},
        "p50": {"value": 48.04, "low": 47.5, "high": 50.1},
        "p90": {"value": 88.8, "low": None, "high": None},
        "p95": None,
        "p99": {"value": 1203.4, "low": 1100.2, "high": 1543.0},
        "max": 1988.8,
    }
    text = printed(run, results, width)
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("TTFT, ms"))
    assert lines[at].split() == ["TTFT,", "ms", "51.2", "48.0", "88.8", "—", "1203", "1989"]
    assert "±0.4" in lines[at + 1]
    assert "47.5–50.1" in lines[at + 1]
    assert "1100–1543" in lines[at + 1]
    paths = str(run.path)
    assert all(len(line) <= width for line in lines if paths not in line)


def test_long_latencies_are_told_in_seconds(make_run: MakeRun) -> None:
    run = make_run()
    results = run.read_json("results.json")
    results["metrics"]["e2e_latency_ms"] = {"count": 9, "mean": {"value": 81_500.0}, "max": 93_000}
    row = line_with(printed(run, results), "end-to-end, s")
    assert row.split()[2:] == ["81.5", "—", "—", "—", "—", "93"]


def test_from_intended_rows_only_where_they_differ(make_run: MakeRun) -> None:
    run = make_run()
    results = run.read_json("results.json")
    assert "from intended" in printed(run, results)
    results["metrics"]["ttft_from_intended_ms"] = results["metrics"]["ttft_ms"]
    assert "from intended" not in printed(run, results)


def test_nothing_measured_is_a_dash_and_never_a_number(make_run: MakeRun) -> None:
    run = make_run(failing=1.0)
    results = run.read_json("results.json")
    results["server"] = None
    text = printed(run, results)
    for label in ("TTFT, ms", "TPOT, ms", "end-to-end, ms", "output tokens", "goodput "):
        values = line_with(text, label)
        assert "—" in values
        assert not any(character.isdigit() for character in values)
    assert " INVALID " in text
    assert "0 ok, " in text
    assert "no request completed" in text


def test_empty_results_still_print(make_run: MakeRun) -> None:
    run = make_run()
    for name in ("environment.json", "profile.yaml"):
        (run / name).unlink()
    assert "UNKNOWN" in printed(run, {})


def test_verdict_reasons_and_stamps(make_run: MakeRun) -> None:
    run = make_run()
    results = run.read_json("results.json") | {"simulated": True}
    results["verdict"] = {"status": "invalid", "reasons": ["first [reason]", "second reason"]}
    lines = printed(run, results).splitlines()
    assert lines[0].startswith(" INVALID ")
    assert any(" SIMULATED " in line for line in lines)
    assert sum("first [reason]" in line or "second reason" in line for line in lines) == 2


def test_report_path_is_named_once_it_exists_and_never_wrapped(make_run: MakeRun) -> None:
    run = make_run()
    results = run.read_json("results.json")
    assert "report.html" not in printed(run, results)
    run.write_text("report.html", "")
    assert str(run / "report.html") in printed(run, results, width=40)


def test_summary_is_strict_json_with_the_same_keys_whatever_was_measured(
    make_run: MakeRun,
) -> None:
    good, dead = make_run(), make_run(failing=1.0)
    told = [summary(run.read_json("results.json"), run) for run in (good, dead)]
    bare = summary({})
    assert told[0].keys() == told[1].keys() == bare.keys()
    assert told[0]["metrics"].keys() == told[1]["metrics"].keys() == bare["metrics"].keys()
    json.dumps(told, allow_nan=False)
    expected = good.read_json("results.json")["metrics"]["ttft_ms"]["p99"]
    assert told[0]["metrics"]["ttft_ms"]["p99"] == expected
    assert told[1]["metrics"]["ttft_ms"] is None
    assert told[1]["requests"]["ok"] == 0
    assert bare["requests"]["ok"] is None

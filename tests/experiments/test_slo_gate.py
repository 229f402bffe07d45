"""The gate: an interval decides, luck does not, and what is spoilt never passes."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from runners.cli.gate import gate
from runners.cli.main import main


def write_run(folder: Path, **changes: Any) -> Path:
    results = {
        "verdict": {"status": "valid", "reasons": []},
        "interrupted": False,
        "requests": {"ok": 1000, "failed": 0, "in_window": 1000},
        "metrics": {
            "ttft_ms": {"p95": {"value": 100.0, "low": 95.0, "high": 105.0}},
            "goodput_fraction": {"value": 0.995, "low": 0.992, "high": 0.998},
            "cost_per_million_output_tokens": None,
        },
        "not_measured": {"cost_per_million_output_tokens": "no price"},
    }
    run = folder / "run"
    run.mkdir()
    (run / "results.json").write_text(json.dumps(results | changes))
    (run / "profile.yaml").write_text("name: p\nmodel: {uri: hf://a/b}\n")
    return run


def judge(run: Path, slo: str, *flags: str) -> int:
    file = run.parent / "slo.yaml"
    file.write_text(slo)
    return main([str(run), "--slo", str(file), *flags], gate, "gate.py")


@pytest.mark.parametrize(
    ("slo", "code", "word"),
    [
        ("ttft_ms.p95: 110", 0, "pass"),
        ("ttft_ms.p95: 90", 1, "fail"),
        ("ttft_ms.p95: 102", 1, "undecided"),
        ("goodput_fraction: '>= 0.99'", 0, "pass"),
        ("goodput_fraction: 0.99", 0, "pass"),
        ("error_rate: 0.01", 0, "pass"),
        ("error_rate: 0.001", 1, "undecided"),
        ("cost_per_million_output_tokens: 3", 1, "no price"),
        ("slo: {limits: {ttft_ms.p95: 110}}", 0, "pass"),
    ],
)
def test_the_interval_decides(
    slo: str, code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(write_run(tmp_path), slo) == code
    assert word in capsys.readouterr().out


def test_undecided_says_how_many_requests_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(write_run(tmp_path), "ttft_ms.p95: 102")
    # The interval's half must shrink from 5 to 2: (5 / 2)^2 times the requests.
    assert "about 5250 more requests" in capsys.readouterr().out
    run = tmp_path / "run"
    assert judge(run, "ttft_ms.p95: 102", "--allow-undecided") == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"verdict": {"status": "invalid", "reasons": ["the clock stepped"]}}, 3),
        ({"interrupted": True}, 1),
        ({"requests": {"ok": 0, "failed": 0, "in_window": 0}}, 1),
    ],
)
def test_a_spoilt_run_never_passes(changes: dict[str, Any], code: int, tmp_path: Path) -> None:
    run = write_run(tmp_path, **changes)
    assert judge(run, "ttft_ms.p95: 1000", "--allow-undecided") == code


def test_pipelines_get_junit_and_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, xml = write_run(tmp_path), tmp_path / "junit.xml"
    judge(run, "{ttft_ms.p95: 90, error_rate: 0.01}", "--junit", str(xml), "--github")
    suite = ElementTree.parse(xml).getroot()
    assert suite.get("tests") == "2" and suite.get("failures") == "1"
    assert "::error title=ttft_ms.p95::" in capsys.readouterr().out


def test_bad_limits_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path)
    for slo in ("ttft.p95: 5", "ttft_ms.p95: fast", "[]", "ttft_ms.p95: .nan"):
        assert judge(run, slo) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main([str(run)], gate, "gate.py") == 2
    assert "--slo" in capsys.readouterr().err


def test_a_group_of_different_loads_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"kind": "comparison", "verdict": {"status": "valid"}, "runs": [{"run": "a-1"}]}
    (tmp_path / "group.json").write_text(json.dumps(summary))
    slo = tmp_path / "slo.yaml"
    slo.write_text("ttft_ms.p95: 90")
    assert main([str(tmp_path), "--slo", str(slo)], gate, "gate.py") == 2
    assert "a-1" in capsys.readouterr().err


def test_a_share_says_how_many_requests_without_a_failure_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(write_run(tmp_path), "error_rate: 0.001")
    # 0 of n: the upper bound is z^2 / (n + z^2), below 0.001 for n > 3837.6.
    said = capsys.readouterr().out
    more = int(said.partition("about ")[2].partition(" ")[0])
    assert 2838 <= more <= 2960

"""Every rule: one profile that it must remark on, and a near miss that it must spare."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.checks.case import ClusterFacts
from runners.checks.check import all_rules, check
from runners.checks.finding import Finding
from runners.profiles.load import load_profile

CASES = Path(__file__).with_name("cases")
BASE: dict[str, Any] = {
    "name": "case",
    "target": "kserve",
    "model": {"uri": "hf://NousResearch/Meta-Llama-3.1-8B-Instruct"},
    "engine": {
        "name": "vllm",
        "version": "0.32.0",
        "args": {
            "dtype": "bfloat16",
            "max_model_len": 4096,
            "max_num_seqs": 64,
            "max_num_batched_tokens": 4096,
        },
    },
    "resources": {"gpu": {"count": 1, "type": "H100"}},
}


def merged(below: Any, above: Any) -> Any:
    """Mappings laid over each other; null takes a key away."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    both = {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    return {key: value for key, value in both.items() if value is not None}


def cases() -> list[tuple[str, dict[str, Any]]]:
    """(id, case) of every file, in order."""
    return [
        (f"{case['rule']}-{number}", case)
        for file in sorted(CASES.glob("*.yaml"))
        for number, case in enumerate(yaml.safe_load(file.read_text(encoding="utf-8")) or [])
    ]


def variants(case: dict[str, Any], side: str) -> list[dict[str, Any]]:
    """The profiles that a case gives for `fires` or `spares`."""
    given = case[side]
    return [merged(BASE, each) for each in (given if isinstance(given, list) else [given])]


def findings_of(
    profile: dict[str, Any], tmp_path: Path, cluster: dict[str, Any] | None = None
) -> tuple[Finding, ...]:
    """What loading and the rules say about a profile written to a file, in such a cluster."""
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    loaded = load_profile(file)
    return (*loaded.findings, *check(loaded, ClusterFacts(**cluster) if cluster else None))


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases()])
def test_a_rule_fires_where_it_must_and_only_there(case: dict[str, Any], tmp_path: Path) -> None:
    for name, text in case.get("files", {}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for profile in variants(case, "fires"):
        found = findings_of(profile, tmp_path, case.get("cluster"))
        ours = [finding for finding in found if finding.rule == case["rule"]]
        assert ours, [finding.line() for finding in found]
        assert all(finding.fix for finding in ours)
        assert not [f for f in found if "could not be applied" in f.why]
    for profile in variants(case, "spares"):
        found = findings_of(profile, tmp_path, case.get("cluster"))
        assert not [finding.line() for finding in found if finding.rule == case["rule"]]
        errors = [finding.line() for finding in found if finding.severity == "error"]
        assert case.get("spares_other_errors") or not errors


def test_every_rule_has_a_case() -> None:
    covered = {case["rule"] for _, case in cases()}
    assert {rule.id for rule in all_rules()} <= covered


def test_no_case_names_a_rule_that_is_not_there() -> None:
    known = {rule.id for rule in all_rules()}
    assert {case["rule"] for _, case in cases()} <= known


@pytest.mark.parametrize("target", ["url", "simulator"])
def test_no_rule_is_forgotten_where_no_engine_is_started(target: str) -> None:
    about = {rule.id for rule in all_rules() if target in rule.targets}
    assert about <= {rule.id for rule in all_rules(target)}

"""Profiles of older documents: accepted, translated for the version, nothing silent."""

from pathlib import Path
from typing import Any

import pytest

from runners.profiles.load import Loaded, ProfileError, load_profile

HEAD = "name: old\nmodel: {uri: y}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str, version: str = "0.32.0", **overrides: Any) -> Loaded:
    Path("p.yaml").write_text(HEAD + text, encoding="utf-8")
    return load_profile("p.yaml", [("engine.version", version), *overrides.items()])


def features(version: str, **values: Any) -> dict[str, Any]:
    lines = "".join(f"  {key}: {value}\n" for key, value in values.items())
    return load("vllm_features:\n" + lines, version).profile.engine.args


SPECULATIVE = {
    "speculative_model": '"[ngram]"',
    "num_speculative_tokens": 5,
    "ngram_prompt_lookup_max": 4,
    "ngram_prompt_lookup_min": 2,
}


def test_ngram_flags_become_one_mapping_from_the_version_that_has_it() -> None:
    assert features("0.8.3", **SPECULATIVE) == {
        "speculative_config": {
            "method": "ngram",
            "num_speculative_tokens": 5,
            "prompt_lookup_max": 4,
            "prompt_lookup_min": 2,
        }
    }
    assert features("0.8.2", **SPECULATIVE)["speculative_model"] == "[ngram]"


def test_a_draft_model_keeps_its_name_and_parallelism() -> None:
    arguments = features(
        "0.32.0",
        speculative_model="facebook/opt-125m",
        num_speculative_tokens=3,
        speculative_draft_tensor_parallel_size=1,
    )
    assert arguments["speculative_config"] == {
        "model": "facebook/opt-125m",
        "num_speculative_tokens": 3,
        "draft_tensor_parallel_size": 1,
    }


def test_guided_decoding_follows_the_version() -> None:
    now = features("0.11.0", guided_decoding_backend="xgrammar:disable-any-whitespace")
    assert now == {
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}
    }
    before = features("0.10.2", guided_decoding_backend="outlines")
    assert before == {"guided_decoding_backend": "outlines"}


@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        ("quantization", "awq", "info"),
        ("enforce_eager", "false", "info"),
        ("use_v2_block_manager", "true", "warning"),
        ("device", "cpu", "warning"),
        ("quantization", "null", "warning"),
        ("num_scheduler_steps", "1", "warning"),
        ("an_argument_not_known_here", "1", "warning"),
        ("num_scheduler_steps", "8", "error"),
        ("load_in_8bit", "true", "error"),
        ("quantization_param_path", "scales.json", "error"),
        ("speculativ_model", "x", "error"),
    ],
)
def test_every_feature_leaves_one_finding(name: str, value: str, severity: str) -> None:
    text = f"vllm_features:\n  {name}: {value}\n"
    try:
        findings = load(text).findings
    except ProfileError as error:
        findings = error.findings
    (finding,) = findings
    assert (finding.key, finding.severity) == (f"vllm_features.{name}", severity)
    assert finding.where is not None
    assert (finding.where.line, finding.where.column) == (4, 3)


def test_a_value_that_only_older_versions_knew_is_an_error_with_a_way_out() -> None:
    assert features("0.10.0", num_scheduler_steps=8) == {"num_scheduler_steps": 8}
    with pytest.raises(ProfileError, match=r"p.yaml:4:3: .*Multi-step scheduling is gone"):
        features("0.11.0", num_scheduler_steps=8)


def test_an_explicit_argument_wins_with_a_warning() -> None:
    loaded = load(
        "vllm_features: {max_num_seqs: 4, num_speculative_tokens: 9}\n"
        "engine:\n  args:\n    max-num-seqs: 8\n"
        "    speculative_config: {method: ngram, num_speculative_tokens: 2}\n"
    )
    assert loaded.profile.engine.args == {
        "max_num_seqs": 8,
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 2},
    }
    assert [(item.rule, item.key) for item in loaded.findings] == [
        ("profile.overruled", "vllm_features.max_num_seqs"),
        ("profile.overruled", "vllm_features.num_speculative_tokens"),
    ]


def test_a_childs_older_key_beats_its_parents_modern_one() -> None:
    Path("parent.yaml").write_text(
        HEAD + "load: {requests: 100}\nengine: {args: {max_num_seqs: 8}}\n", encoding="utf-8"
    )
    Path("child.yaml").write_text(
        "name: c\nextends: parent.yaml\nrequests: 7\nvllm_features: {max_num_seqs: 4}\n",
        encoding="utf-8",
    )
    profile = load_profile("child.yaml").profile
    assert (profile.load.requests, profile.engine.args["max_num_seqs"]) == (7, 4)


def test_older_load_keys_move_and_say_so() -> None:
    loaded = load(
        "requests: 200\nconcurrency: 10\nmax_tokens: 32\npattern: steady\nuse_cases: [a]\n"
    )
    assert loaded.profile.load.resolved_pattern() == "closed"
    assert (loaded.profile.load.requests, loaded.profile.load.concurrency) == (200, 10)
    assert loaded.profile.workload.max_tokens == 32
    assert {item.key: item.severity for item in loaded.findings} == {
        "requests": "info",
        "concurrency": "info",
        "max_tokens": "info",
        "pattern": "info",
        "use_cases": "warning",
    }


def test_an_older_poisson_gets_the_rate_it_had_and_others_are_refused() -> None:
    assert load("concurrency: 10\npattern: poisson\n").profile.load.rate == 15.0
    with pytest.raises(ProfileError, match="heavy has no counterpart"):
        load("concurrency: 10\npattern: heavy\n")


def test_features_of_another_engine_or_shape_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"but engine\.name is tgi"):
        load("vllm_features: {quantization: awq}\nengine: {name: tgi}\n")
    with pytest.raises(ProfileError, match=r"p.yaml:3:1: vllm_features: must be a mapping"):
        load("vllm_features: [quantization]\n")

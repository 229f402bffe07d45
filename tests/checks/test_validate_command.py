"""The validator as a user meets it: lines, exit codes, JSON, --fix, and no traceback ever."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.checks.check import all_rules, check
from runners.cli.main import main
from runners.cli.validate import validate
from runners.profiles.error import ProfileError
from runners.profiles.load import list_profiles, load_profile

OLDER = """\
# An older profile
name: old-one
model:
  uri: hf://meta-llama/Llama-3.1-8B-Instruct
requests: 100   # how many
vllm_features:
  speculative_model: facebook/opt-125m
  quantization: awq
  guided_decoding_backend: outlines
  enable_auto_tool_choice: true
  gpu_memory_utilization: 0.90
"""


def run(*arguments: str) -> int:
    return main([*arguments], validate, "validate_config.py")


def test_a_profile_is_rejected_with_place_reason_and_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nmodel: {uri: hf://Qwen/Qwen2.5-7B-Instruct}\n"
        "engine:\n  args:\n    gpu_memory_utilization: 9.5\n"
    )
    assert run("--profile", str(file)) == 2
    said = capsys.readouterr().out
    assert "p.yaml:5:5: error: engine.args.gpu_memory_utilization: 9.5" in said
    assert "fix: " in said and "at start-up" in said


def test_warnings_are_errors_only_when_strict(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\ntarget: simulator\nmodel: {uri: hf://a/b}\n"
        "workload: {kind: prompts, prompts: [one, one]}\n"
    )
    assert run("--profile", str(file)) == 0
    assert run("--profile", str(file), "--strict") == 2


def test_json_holds_what_the_documentation_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("name: p\nmodel: {uri: hf://a/b}\nengine: {args: {max_num_seqs: 0}}\n")
    assert run("--json", "--profile", str(file)) == 2
    (report,) = json.loads(capsys.readouterr().out)["profiles"]
    assert report["verdict"] == "rejected"
    finding = next(each for each in report["findings"] if each["severity"] == "error")
    assert {"rule", "key", "value", "where", "why", "fix", "versions", "fails", "evidence"} <= set(
        finding
    )


def test_ready_made_profiles_are_free_of_errors(tmp_path: Path) -> None:
    for listed in list_profiles():
        assert listed.problem is None, listed.problem
        loaded = load_profile(listed.path)
        assert [f.line() for f in check(loaded) if f.severity == "error"] == []


def test_fix_keeps_the_old_file_and_writes_one_that_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLDER)
    assert run("--fix", "--profile", str(file)) == 0
    said = capsys.readouterr().out
    assert file.read_text() == OLDER
    fixed = tmp_path / "old.fixed.yaml"
    assert "-requests: 100" in said and str(fixed) in said
    text = fixed.read_text()
    assert "# how many" in text and "# An older profile" in text
    loaded = load_profile(fixed)
    assert not [f for f in check(loaded) if f.severity == "error"]
    assert loaded.profile.load.requests == 100
    assert loaded.profile.engine.args["gpu_memory_utilization"] == 0.9
    assert loaded.profile.engine.args["speculative_config"]["model"] == "facebook/opt-125m"


def test_fix_has_nothing_to_do_for_a_good_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    standard = next(each.path for each in list_profiles() if each.name == "standard")
    file = Path(shutil.copy(standard, tmp_path / "standard.yaml"))
    assert run("--fix", "--profile", str(file)) == 0
    assert "nothing" in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["standard.yaml"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"name: p\nmodel: null\n", "model"),
        (b"name: p\nname: q\nmodel: {uri: hf://a/b}\n", "name"),
        (b"name: p\n\tmodel: x\n", "tab"),
        (b"\x00\x01\x02\xff" * 100, "binary"),
        (b"a: &a [*a]\n", ""),
        (b"x" * 10_000_000, "larger"),
        (b"- 1\n- 2\n", "mapping"),
    ],
)
def test_garbage_gives_one_clear_line(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(content)
    assert run("--profile", str(file)) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "error" in said.out


def test_an_unknown_rule_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--explain", "benchmark.one-promt") == 2
    assert "benchmark.one-prompt" in capsys.readouterr().err


def test_every_rule_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in all_rules():
        assert run("--explain", rule.id) == 0
        assert rule.summary and rule.evidence
    assert run("--list-rules") == 0
    assert len(capsys.readouterr().out) > 1000


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**7),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "auto", "fp8", "eagle3", "[ngram]", "0.5", "{", '{"a": 1}', "4k"]),
    st.text(max_size=6),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "max_num_seqs",
        "max_num_batched_tokens",
        "max_model_len",
        "gpu_memory_utilization",
        "quantization",
        "dtype",
        "kv_cache_dtype",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "speculative_config",
        "structured_outputs_config",
        "enable_lora",
        "max_lora_rank",
        "tool_call_parser",
        "enable_auto_tool_choice",
        "reasoning_parser",
        "attention_backend",
        "kv_transfer_config",
        "block_size",
        "enable_expert_parallel",
        "speculative_model",
        "num_scheduler_steps",
        "bogus",
        "runner",
    ]
)
SPECULATION = st.dictionaries(
    st.sampled_from(
        [
            "method",
            "model",
            "num_speculative_tokens",
            "draft_tensor_parallel_size",
            "prompt_lookup_max",
            "prompt_lookup_min",
            "rejection_sample_method",
            "synthetic_acceptance_rates",
            "max_model_len",
            "num_speculative_tokens_per_batch_size",
            "quantization",
            "parallel_drafting",
            "x",
        ]
    ),
    VALUES,
    max_size=4,
)


@settings(
    max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    args=st.dictionaries(NAMES, st.one_of(VALUES, SPECULATION), max_size=4),
    engine=st.sampled_from(["vllm", "tgi", "tensorrt-llm"]),
    version=st.sampled_from(["0.6.6", "0.8.2", "0.9.2", "0.16.0", "0.32.0", "0.33.0", "0.99.0"]),
    gpu=st.sampled_from([None, "H100", "T4", "A100", "NVIDIA-L4", "Voodoo2"]),
    count=st.integers(0, 9),
    odd=st.dictionaries(st.sampled_from(["workload", "load", "serving"]), VALUES, max_size=1),
)
def test_no_profile_breaks_a_rule(
    tmp_path: Path,
    args: dict[str, Any],
    engine: str,
    version: str,
    gpu: str | None,
    count: int,
    odd: dict[str, Any],
) -> None:
    profile = {
        "name": "fuzz",
        "model": {"uri": "hf://NousResearch/Meta-Llama-3.1-8B-Instruct"},
        "engine": {"name": engine, "version": version, "args": args},
        "resources": {"gpu": {"type": gpu, "count": count}},
        **odd,
    }
    file = tmp_path / "fuzz.yaml"
    file.write_text(yaml.safe_dump(profile, allow_unicode=True), encoding="utf-8")
    try:
        loaded = load_profile(file)
    except ProfileError:
        return
    broken = [f.line() for f in check(loaded) if "could not be applied" in f.why]
    assert not broken

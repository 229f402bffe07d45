"""Profiles in older words, and what `--fix` makes of them for an engine's version."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.checks.check import check
from runners.checks.fix import fix
from runners.profiles.load import load_profile

OLDER = {
    "speculative_model": "facebook/opt-125m",
    "quantization": "awq",
    "guided_decoding_backend": "outlines",
    "enable_auto_tool_choice": True,
    "gpu_memory_utilization": 0.90,
}


def fixed(tmp_path: Path, version: str, **given: Any) -> tuple[dict[str, Any], list[str]]:
    """The engine section that `--fix` writes, and the errors that are left."""
    profile = {
        "name": "older",
        "model": {"uri": "hf://NousResearch/Meta-Llama-3.1-8B-Instruct"},
        "resources": {"gpu": {"count": 1, "type": "H100"}},
        "engine": {"version": version, **given.pop("engine", {})},
        **given,
    }
    file = tmp_path / "older.yaml"
    file.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    made = fix(file)
    assert made is not None
    loaded = load_profile(made.path)
    found = (*loaded.findings, *check(loaded))
    engine = loaded.profile.engine.model_dump(exclude_defaults=True)
    return engine, [finding.line() for finding in found if finding.severity == "error"]


@pytest.mark.parametrize("version", ["0.7.3", "0.9.2", "0.11.0", "0.14.1", "0.20.2", "0.32.0"])
def test_the_older_form_becomes_one_that_the_version_accepts(version: str, tmp_path: Path) -> None:
    engine, errors = fixed(tmp_path, version, vllm_features=OLDER)
    assert not errors
    place = engine["args"].get("speculative_config", engine["args"])
    assert place["num_speculative_tokens"] == 3


def test_older_flags_among_the_arguments_find_their_new_places(tmp_path: Path) -> None:
    args = {
        "dtype": "bf16",
        "speculative_model": "[ngram]",
        "num_speculative_tokens": 4,
        "ngram_prompt_lookup_max": 4,
        "speculative_disable_by_batch_size": 16,
        "guided_decoding_backend": "outlines",
        "max_num_seq": 32,
        "max_num_batched_tokens": 8192,
        "enforce_eager": "false",
        "port": 8000,
    }
    engine, errors = fixed(tmp_path, "0.32.0", engine={"args": args})
    assert not errors
    assert engine["args"] == {
        "dtype": "bfloat16",
        "enforce_eager": False,
        "max_num_seqs": 32,
        "max_num_batched_tokens": 8192,
        "structured_outputs_config": {"backend": "outlines"},
        "speculative_config": {
            "method": "ngram",
            "num_speculative_tokens": 4,
            "prompt_lookup_max": 4,
            "num_speculative_tokens_per_batch_size": [[1, 15, 4], [16, 100_000, 0]],
        },
    }


def test_json_text_of_another_engine_keeps_its_other_keys(tmp_path: Path) -> None:
    text = '{"decoding_type": "Eagle3", "speculative_model_dir": "a/b-eagle3", "max_draft_len": 4}'
    engine, errors = fixed(tmp_path, "0.32.0", engine={"args": {"speculative_config": text}})
    assert not errors
    assert engine["args"]["speculative_config"] == {
        "method": "eagle3",
        "model": "a/b-eagle3",
        "num_speculative_tokens": 4,
    }

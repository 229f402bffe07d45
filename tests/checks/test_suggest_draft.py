"""Drafts that are suggested for a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from runners.checks.drafts import Suggestion, suggest
from runners.cli.main import main
from runners.errors import Exit


def by_method(model: str, version: str = "0.32.0", folder: Path = Path()) -> dict[str, Any]:
    found: dict[str, list[Suggestion]] = {}
    for each in suggest(model, version, folder).suggestions:
        found.setdefault(each.config["method"], []).append(each)
    return found


def test_drafts_trained_for_it_come_first() -> None:
    first = suggest("hf://NousResearch/Meta-Llama-3.1-8B-Instruct", "0.32.0", Path()).suggestions[0]
    assert first.config["model"] == "RedHatAI/Llama-3.1-8B-Instruct-speculator.eagle3"
    # A copy in another format is the same model to its draft; the base model is not.
    assert "eagle3" in by_method("x/Llama-3.1-8B-Instruct-FP8")
    assert "eagle3" not in by_method("meta-llama/Llama-3.1-8B")


def test_another_vocabulary_is_refused_with_the_numbers() -> None:
    refused = by_method("Qwen/Qwen2.5-7B-Instruct")["draft_model"]
    assert all("another vocabulary" in each.unusable for each in refused)
    assert "151936 and 152064" in refused[0].vocabulary
    fits = by_method("Qwen/Qwen3-32B")["draft_model"]
    assert fits[0].config["model"] == "Qwen/Qwen3-0.6B" and not fits[0].unusable


def test_layers_of_the_checkpoint_s_own(tmp_path: Path) -> None:
    assert by_method("deepseek-ai/DeepSeek-R1")["mtp"][0].config["num_speculative_tokens"] == 1
    config = {"model_type": "deepseek_v3", "num_nextn_predict_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert by_method(".", folder=tmp_path)["mtp"][0].config["num_speculative_tokens"] == 2


def test_what_a_version_cannot_run_is_said() -> None:
    refused = by_method("Qwen/Qwen3-32B", "0.14.1")["draft_model"][0].unusable
    assert refused == "vLLM 0.14.1 cannot run draft_model; from 0.16.0 on"


def test_an_unknown_model_is_not_guessed_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(by_method("foo/bar")) == {"ngram"}
    assert main(["suggest-draft", "--model", "foo/bar"]) == Exit.DONE
    said = capsys.readouterr().out.partition("not known:")[2]
    assert "not in the table of known models" in said and "no draft trained for it" in said

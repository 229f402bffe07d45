"""Rules that read a checkpoint's own config.json."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.checks.check import check
from runners.checks.fix import fix
from runners.profiles.load import load_profile

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}
NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4"}


def written(folder: Path, quantization: dict[str, Any] | None, args: dict[str, Any]) -> Path:
    """A profile beside a checkpoint of that quantization."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    config = LLAMA | ({"quantization_config": quantization} if quantization else {})
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    profile = {
        "name": "case",
        "target": "local",
        "model": {"uri": "model"},
        "engine": {"version": "0.32.0", "args": {"max_num_seqs": 64, **args}},
        "resources": {"gpu": {"type": "H100"}},
    }
    file = folder / "profile.yaml"
    file.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return file


def said(file: Path) -> set[str]:
    """The rules on quantization that speak up with an error."""
    found = check(load_profile(file))
    return {f.rule for f in found if f.severity == "error" and f.rule.startswith("quantization.")}


@pytest.mark.parametrize(
    ("held", "flag", "rules"),
    [
        (AWQ, "awq", set()),
        (AWQ, "awq_marlin", set()),
        (AWQ, "gptq", {"quantization.checkpoint-mismatch"}),
        (AWQ, "fp8", {"quantization.checkpoint-mismatch"}),
        (AWQ, "humming", set()),
        (NVFP4, "modelopt_fp4", set()),
        (NVFP4, "modelopt", set()),
        (NVFP4, "compressed-tensors", {"quantization.checkpoint-mismatch"}),
        ({"quant_method": "bitsandbytes"}, None, {"quantization.checkpoint-gone"}),
        ({"quant_method": "gptq"}, "moe_wna16", set()),
        (None, "awq", {"quantization.unquantized-checkpoint"}),
    ],
)
def test_the_flag_against_the_checkpoint(
    tmp_path: Path, held: dict[str, Any] | None, flag: str | None, rules: set[str]
) -> None:
    assert said(written(tmp_path, held, {"quantization": flag} if flag else {})) == rules


def test_on_a_cpu_the_word_must_be_the_checkpoints_own(tmp_path: Path) -> None:
    file = written(tmp_path, AWQ, {"quantization": "awq_marlin"})
    without = file.read_text(encoding="utf-8").replace("type: H100", "count: 0")
    file.write_text(without, encoding="utf-8")
    assert said(file) == {"quantization.checkpoint-mismatch"}


def test_a_description_beside_config_json_counts(tmp_path: Path) -> None:
    file = written(tmp_path, None, {"quantization": "gptq"})
    (tmp_path / "model" / "quantize_config.json").write_text('{"bits": 4}', encoding="utf-8")
    assert said(file) == set()


def test_fix_takes_out_what_the_checkpoint_cannot_do(tmp_path: Path) -> None:
    fixed = fix(written(tmp_path, None, {"quantization": "awq"}))
    assert fixed is not None
    assert "quantization" not in load_profile(fixed.path).profile.engine.args
    assert said(fixed.path) == set()


def test_broken_facts_raise_nothing(tmp_path: Path) -> None:
    for held in ({"quant_method": ["awq"]}, {"quant_method": None}, {"quant_algo": 3}):
        found = check(load_profile(written(tmp_path, held, {"quantization": "awq"})))
        assert not [f for f in found if "could not be applied" in f.why]

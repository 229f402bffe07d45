"""`engine.extra_engine_args` and --extra-engine-args: files of either engine's settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.errors import UsageError
from runners.profiles.find import profile_files
from runners.profiles.load import Loaded, Override, dump, load_profile

TRT = {
    "max_batch_size": 128,
    "max_seq_len": 4096,
    "speculative_config": {"decoding_type": "NGram", "max_draft_len": 3},
    "print_iter_log": True,
}


def loaded(folder: Path, settings: Any, *sets: Override, **engine: Any) -> Loaded:
    (folder / "engine.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    profile = {"name": "p", "model": {"uri": "hf://a/b"}, "engine": engine}
    (folder / "p.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return load_profile(folder / "p.yaml", sets)


def test_tensorrt_settings_are_converted_below_engine_args(tmp_path: Path) -> None:
    own = {"max_num_seqs": 8, "speculative_config": {"num_speculative_tokens": 5}}
    found = loaded(tmp_path, TRT, extra_engine_args="engine.yaml", args=own)
    assert found.profile.engine.args == {
        "max_num_seqs": 8,
        "max_model_len": 4096,
        "speculative_config": {
            "method": "ngram",
            "num_speculative_tokens": 5,
            "prompt_lookup_max": 2,
            "prompt_lookup_min": 1,
        },
    }
    whys = " ".join(finding.why for finding in found.findings)
    assert "engine.yaml is read as TensorRT-LLM settings" in whys
    assert "max_num_seqs is given too and wins" in whys
    assert "print_iter_log of engine.yaml: no counterpart" in whys
    # The resolved profile holds the arguments and stands alone.
    (tmp_path / "engine.yaml").unlink()
    (tmp_path / "again.yaml").write_text(dump(found.profile), encoding="utf-8")
    assert load_profile(tmp_path / "again.yaml").profile == found.profile


def test_vllm_arguments_pass_as_they_are(tmp_path: Path) -> None:
    given = {"max-num-seqs": 4, "dtype": "half"}
    found = loaded(tmp_path, given, extra_engine_args="engine.yaml", args={"dtype": "bfloat16"})
    assert found.profile.engine.args == {"max_num_seqs": 4, "dtype": "bfloat16"}
    assert any("read as vLLM arguments" in finding.why for finding in found.findings)


def test_a_parent_s_arguments_do_not_beat_the_child_s_file(tmp_path: Path) -> None:
    (tmp_path / "engine.yaml").write_text(yaml.safe_dump(TRT), encoding="utf-8")
    child = {"name": "c", "extends": "standard", "engine": {"extra_engine_args": "engine.yaml"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(child), encoding="utf-8")
    args = load_profile(tmp_path / "c.yaml").profile.engine.args
    assert args["max_num_seqs"] == 128 and args["max_model_len"] == 4096


def test_a_flag_beats_the_profile(tmp_path: Path) -> None:
    flag = Override("engine.extra_engine_args", str(tmp_path / "engine.yaml"), "--extra")
    found = loaded(tmp_path, TRT, flag, args={"max_num_seqs": 8, "seed": 1})
    assert found.profile.engine.args["max_num_seqs"] == 128
    assert found.profile.engine.args["seed"] == 1


def test_tensorrt_llm_takes_its_own_settings_unconverted(tmp_path: Path) -> None:
    found = loaded(tmp_path, TRT, name="tensorrt-llm", extra_engine_args="engine.yaml")
    assert found.profile.engine.args == TRT


@pytest.mark.parametrize(
    ("settings", "named", "words"),
    [
        (TRT, "none.yaml", "none.yaml cannot be read"),
        ({"speculative_config": {"decoding_type": "X"}}, "engine.yaml", "unknown type 'X'"),
        ([1], "engine.yaml", "not keys with values"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, settings: Any, named: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, settings, extra_engine_args=named)
    assert words in str(caught.value) and "engine.extra_engine_args" in str(caught.value)


def test_settings_are_not_listed_as_profiles() -> None:
    assert not [name for name in profile_files() if "engine-configs" in name]

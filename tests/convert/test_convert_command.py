"""The converter as a command, and its forms of output."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.checks.check import check
from runners.cli.convert import convert
from runners.cli.main import main
from runners.data import folder
from runners.errors import Exit
from runners.profiles.load import load_profile
from runners.render import render

CONFIGS = folder("profiles") / "engine-configs"
MTP = str(CONFIGS / "mtp_decode.yaml")


def run(*arguments: str) -> int:
    return main(list(arguments), command=convert, name="convert_engine_config.py")


def test_forms_of_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(MTP) == Exit.DONE
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and "--max-num-seqs 256" in said.out
    assert """--speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'""" in said.out
    # What is not exact goes to standard error, so that nothing is lost in a pipe.
    assert "kv_cache_config.free_gpu_memory_fraction: needs input" in said.err
    assert run(MTP, "--to", "json") == run(MTP, "--to", "yaml") == Exit.DONE
    text = capsys.readouterr().out
    end = text.index("\n}\n") + 3
    assert json.loads(text[:end]) == yaml.safe_load(text[end:])


def test_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(MTP, "--explain") == Exit.DONE
    table = capsys.readouterr().out
    assert all(word in table for word in ("verdict", "needs input", "approximate", "exact"))
    assert run(MTP, "--explain", "--to", "json", "--vllm-version", "0.8.2") == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["vllm_version"] == "0.8.2" and told["arguments"]["num_speculative_tokens"] == 1
    keys = {row["key"]: row["verdict"] for row in told["keys"]}
    assert keys["kv_cache_config.dtype"] == "exact"
    assert keys["cache_transceiver_config.backend"] == "no counterpart"


def test_the_dialect_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(MTP, "--dialect", "dynamo") == Exit.DONE
    said = capsys.readouterr()
    assert "--speculative-model '[ngram]'" in said.out
    assert "warning: dialect dynamo: no vLLM from 0.8.3 on accepts" in said.err


def profile_of(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> Any:
    assert run(*arguments, "--to", "profile") == Exit.DONE
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    return load_profile(file)


def test_a_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = ("--model", "deepseek-ai/DeepSeek-R1", "--gpu", "B200")
    loaded = profile_of(capsys, tmp_path / "mtp.yaml", MTP, *model)
    profile = loaded.profile
    assert profile.model.uri == "hf://deepseek-ai/DeepSeek-R1"
    assert (profile.resources.gpu.count, profile.resources.gpu.type) == (4, "B200")
    assert 0.85 < profile.engine.args["gpu_memory_utilization"] < 1
    assert not [finding for finding in check(loaded) if finding.severity == "error"]


def test_a_disaggregated_pair(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sides = (str(CONFIGS / "eagle_decode.yaml"), "--prefill", str(CONFIGS / "eagle_prefill.yaml"))
    model = ("--model", "hf://meta-llama/Llama-4-Maverick-17B-128E-Instruct")
    profile = profile_of(capsys, tmp_path / "pair.yaml", *sides, *model).profile
    [service] = render(profile).values()
    spec = service["spec"]
    flags = [
        next(
            each["value"]
            for each in side["containers"][0]["env"]
            if each["name"] == "VLLM_ADDITIONAL_ARGS"
        )
        for side in (spec["template"], spec["prefill"]["template"])
    ]
    assert "--max-num-seqs 256" in flags[0] and "--max-num-batched-tokens 1024" in flags[0]
    assert "--max-num-seqs 1 " in flags[1] and "--max-num-batched-tokens 8192" in flags[1]
    # Only the decode side names the sizes of its graphs.
    assert "--cudagraph-capture-sizes" in flags[0]
    assert "--cudagraph-capture-sizes" not in flags[1]
    assert all("NixlConnector" in each and "eagle3" in each for each in flags)


def test_the_flag_of_bench_sh(capsys: pytest.CaptureFixture[str]) -> None:
    base = ("--profile", "cpu-smoke", "--dry-run")
    assert main([*base, "--extra-engine-args", str(CONFIGS / "eagle_prefill.yaml")]) == Exit.DONE
    said = capsys.readouterr().out
    assert "eagle_prefill.yaml is read as TensorRT-LLM settings" in said
    # The flag beats the profile's own 128.
    assert "--max-num-seqs 1 " in said
    assert main([*base, "--extra-engine-args", "none.yaml"]) == Exit.USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert "none.yaml cannot be read" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.yaml",), "missing.yaml cannot be read: No such file or directory"),
        ((MTP, "--gpu", "H1000"), "--gpu H1000: not known here; one of"),
        ((MTP, "--vllm-version", "newest"), "--vllm-version newest: write it as 0.32.0"),
        ((MTP, "--to", "profile"), "--to profile needs the model: give --model"),
        ((MTP, "--prefill", MTP), "--prefill makes a pair, which only --to profile can hold"),
    ],
)
def test_bad_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert run(*arguments) == Exit.USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line

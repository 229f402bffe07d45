"""Neutral engine arguments as vLLM's command line."""

from pathlib import Path
from typing import Any

import pytest

from runners.engines.vllm import command, flags
from runners.errors import UsageError
from runners.profiles.model import Profile


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"max_model_len": 2048}, ["--max-model-len", "2048"]),
        ({"max-model-len": 2048}, ["--max-model-len", "2048"]),
        ({"enforce_eager": True}, ["--enforce-eager"]),
        ({"enable_prefix_caching": False}, ["--no-enable-prefix-caching"]),
        ({"quantization": None}, []),
        ({"gpu_memory_utilization": 0.9}, ["--gpu-memory-utilization", "0.9"]),
        ({"cudagraph_capture_sizes": [1, 2, 4]}, ["--cudagraph-capture-sizes", "1", "2", "4"]),
        (
            {"speculative_config": {"method": "ngram", "disable_padded_drafter_batch": True}},
            ["--speculative-config", '{"method": "ngram", "disable_padded_drafter_batch": true}'],
        ),
        (
            {"lora_modules": [{"name": "a", "path": "/a"}, "b=/b"]},
            ["--lora-modules", '{"name": "a", "path": "/a"}', "b=/b"],
        ),
        ({"chat_template": "-x"}, ["--chat-template=-x"]),
    ],
)
def test_flags(args: dict[str, Any], expected: list[str]) -> None:
    assert flags(args) == expected


@pytest.mark.parametrize("key", ["port", "host", "model", "served_model_name", "api-key"])
def test_what_belongs_to_the_toolkit_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match=f"engine.args: {key} cannot be set here: "):
        flags({key: "x"})


def test_command_serves_the_model_on_this_host_only() -> None:
    profile = Profile.model_validate(
        {"name": "p", "model": {"uri": "/m"}, "engine": {"args": {"dtype": "bfloat16"}}}
    )
    line = command(
        Path("/e/python"), "/m", profile, 8001, served_name="tiny", extra=["--seed", "3"]
    )
    assert line[0] == "/e/python"
    assert line[line.index("--host") + 1] == "127.0.0.1"
    assert line[line.index("--port") + 1] == "8001"
    assert line[line.index("--served-model-name") + 1] == "tiny"
    assert line[-4:] == ["--dtype", "bfloat16", "--seed", "3"]


def test_extra_arguments_cannot_take_over_either() -> None:
    profile = Profile.model_validate({"name": "p", "model": {"uri": "/m"}})
    with pytest.raises(UsageError, match="cannot be set here: the toolkit picks a free port"):
        command(Path("/e"), "/m", profile, 8001, served_name="m", extra=["--port=1"])

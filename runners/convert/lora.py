"""Settings of LoRA adapters."""

from pathlib import PurePosixPath
from typing import Any

from runners.convert.outcome import Convert, Outcome, approximate, exact, none
from runners.convert.settings import Settings

# The ranks that vLLM has kernels for (config/lora.py).
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def _on(settings: Settings) -> dict[str, Any]:
    return {"enable_lora": True}


def _enable(value: Any, settings: Settings) -> Outcome:
    return exact(_on(settings)) if settings.truth(value) else exact(note="vLLM does so anyway")


def _rank(value: Any, settings: Settings) -> Outcome:
    rank = settings.whole(value, 1)
    fits = next((known for known in RANKS if known >= rank), None)
    if fits is None:
        raise settings.error(f"vLLM takes ranks up to {RANKS[-1]}, not {rank}")
    args = {**_on(settings), "max_lora_rank": fits}
    return exact(args) if fits == rank else approximate(args, f"vLLM has no kernels for {rank}")


def _count(name: str) -> Convert:
    return lambda value, settings: exact({**_on(settings), name: settings.whole(value, 1)})


def _adapters(value: Any, settings: Settings) -> Outcome:
    paths = [settings.text(path) for path in value] if isinstance(value, list) else []
    if not paths:
        return exact(note="no adapter is named")
    modules = [f"{PurePosixPath(path).name}={path}" for path in paths]
    note = "adapters are asked for by these names, as models"
    return approximate({**_on(settings), "lora_modules": modules}, note)


_OWN = "vLLM reads it from each adapter"
LORA: dict[str, Convert] = {
    "max_lora_rank": _rank,
    "max_loras": _count("max_loras"),
    "max_cpu_loras": _count("max_cpu_loras"),
    "lora_dir": _adapters,
    "lora_target_modules": none(_OWN),
    "trtllm_modules_to_hf_modules": none(_OWN),
    "lora_ckpt_source": none("vLLM reads Hugging Face adapters only", ("hf",)),
}
ENABLE: Convert = _enable

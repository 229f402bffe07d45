"""Extra engine arguments from a file: vLLM's own, or TensorRT-LLM's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.checks.finding import Finding, Where
from runners.checks.model_shape import model_facts
from runners.checks.tables import gpu
from runners.convert.conversion import Conversion, convert, is_tensorrt, overruled
from runners.convert.settings import Settings, Target, read_settings

KEY = "engine.extra_engine_args"
RULE = "profile.extra-engine-args"


@dataclass(frozen=True)
class Extra:
    """args: engine arguments, names with underscores. findings: how the file was read."""

    args: dict[str, Any]
    findings: tuple[Finding, ...]


def target_of(version: str, gpu_type: str | None, model: str | None, folder: Path) -> Target:
    """What a conversion may know; an unknown GPU or model is None."""
    return Target(
        version=version,
        gpu=gpu(gpu_type) if gpu_type else None,
        model=model_facts(model, folder) if model else None,
        model_named=model,
    )


def extra_arguments(
    path: Path, engine: str, target: Target, given: Mapping[str, Any], where: Where | None = None
) -> Extra:
    """The file's arguments for `engine`. given: explicit arguments, which win.

    TensorRT-LLM's settings are converted, unless the engine is TensorRT-LLM itself. Raises
    UsageError for a file that cannot be read or converted.
    """
    settings = read_settings(path, target)
    values = dict(settings.values)
    if not is_tensorrt(values):
        args = {name.lstrip("-").replace("-", "_"): value for name, value in values.items()}
        kept = {name: value for name, value in args.items() if name not in given}
        remarks = [_note(f"{path.name} is read as vLLM arguments.", where)]
        remarks += [
            _note(f"{name} of {path.name}: an explicit argument wins.", where)
            for name in args
            if name in given
        ]
        return Extra(kept, tuple(remarks))
    if engine == "tensorrt-llm":
        return Extra(values, (_note(f"{path.name} is TensorRT-LLM's own settings.", where),))
    conversion = overruled(convert(settings), given)
    return Extra(conversion.args, tuple(_findings(conversion, settings, path.name, where)))


def _note(why: str, where: Where | None) -> Finding:
    return Finding(RULE, "info", KEY, why, "", where)


def _findings(
    conversion: Conversion, settings: Settings, file: str, where: Where | None
) -> list[Finding]:
    """One for the whole, one for each key that is not exact or that something else beats."""
    counted = conversion.counted()
    found = [_note(f"{file} is read as TensorRT-LLM settings, converted: {counted}.", where)]
    for row in conversion.rows:
        outcome = row.outcome
        wins = outcome.note.endswith("wins")
        if outcome.verdict == "exact" and not wins:
            continue
        milder = wins or outcome.verdict == "approximate"
        become = f", becomes {row.becomes}" if row.becomes else ""
        why = f"{row.key} of {file}: {outcome.verdict}{become}: {outcome.note}."
        place = settings.tree.get(*row.key.split("."))
        at = (place.key_where if place else None) or where
        found.append(Finding(RULE, "info" if milder else "warning", KEY, why, "", at))
    return found

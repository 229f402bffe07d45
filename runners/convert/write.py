"""A conversion as text: a command line, JSON, YAML, a profile, and a table of its keys."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from runners.convert.conversion import Conversion
from runners.engines import vllm
from runners.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

Form = Literal["args", "json", "yaml", "profile"]
_SIZES = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "prefill_context_parallel_size",
)
# Of a Hugging Face repository: two parts, neither of them a path.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def command_line(conversion: Conversion) -> str:
    """vLLM's flags, quoted for a shell."""
    return shlex.join(vllm.flags(conversion.args))


def as_json(conversion: Conversion, *, explained: bool) -> str:
    """The arguments; explained: with what became of each key."""
    if not explained:
        return json.dumps(conversion.args, indent=2)
    found = {
        "vllm_version": conversion.target.version,
        "arguments": conversion.args,
        "keys": [row.plain() for row in conversion.rows],
        "warnings": list(conversion.warnings),
    }
    return json.dumps(found, indent=2)


def as_yaml(value: Mapping[str, Any]) -> str:
    """Block style in the order given."""
    text: str = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)
    return text


def gpus(args: Mapping[str, Any]) -> int:
    """GPUs of one replica with these arguments."""
    count = 1
    for name in _SIZES:
        size = args.get(name)
        count *= size if isinstance(size, int) and size > 0 else 1
    return count


def profile(
    conversion: Conversion,
    name: str,
    model: str | None,
    gpu: str | None = None,
    prefill: Conversion | None = None,
) -> dict[str, Any]:
    """A profile of it; with `prefill`, of a disaggregated pair (an LLMInferenceService).

    Raises UsageError without a model, and for a pair without a connector between its sides.
    """
    uri = model or conversion.model
    if uri is None:
        raise UsageError("--to profile needs the model: give --model, e.g. --model hf://org/name")
    found: dict[str, Any] = {
        "name": re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "converted",
        "description": "Converted from TensorRT-LLM settings.",
        "model": {"uri": _uri(uri)},
        "engine": {
            "name": "vllm",
            "version": conversion.target.version,
            "args": conversion.args,
        },
        "resources": {"gpu": _gpu(conversion.args, gpu)},
    }
    if prefill is not None:
        found["serving"] = _pair(conversion, prefill, gpu)
    return found


def _uri(named: str) -> str:
    local = Path(named).exists()
    return f"hf://{named}" if _REPOSITORY.fullmatch(named) and not local else named


def _gpu(args: Mapping[str, Any], kind: str | None) -> dict[str, Any]:
    return {"count": gpus(args), **({"type": kind} if kind else {})}


def _pair(decode: Conversion, prefill: Conversion, gpu: str | None) -> dict[str, Any]:
    """serving: the prefill side as what differs from the decode side."""
    for side, each in (("decode", decode), ("prefill", prefill)):
        if "kv_transfer_config" not in each.args:
            raise UsageError(
                f"the {side} side hands no cache over; give it cache_transceiver_config: "
                "{backend: NIXL}"
            )
    differs: dict[str, Any] = dict.fromkeys(decode.args.keys() - prefill.args.keys())
    own = {name: value for name, value in prefill.args.items() if decode.args.get(name) != value}
    section: dict[str, Any] = {"replicas": 1, "args": {**own, **dict(sorted(differs.items()))}}
    if gpus(decode.args) != gpus(prefill.args):
        section["gpu"] = _gpu(prefill.args, gpu)
    return {"kind": "LLMInferenceService", "prefill": section}


def remarks(conversion: Conversion, of: str = "") -> list[str]:
    """A line for each key that is not exact."""
    return [
        f"{of}{row.key}: {row.outcome.verdict}{f': {row.outcome.note}' if row.outcome.note else ''}"
        for row in conversion.remarks()
    ]


def table(conversion: Conversion, title: str) -> "Table":
    """key, verdict, becomes, note: a row for each key, those of a section below its name."""
    from rich.table import Table
    from rich.text import Text

    found = Table(title=title, title_justify="left")
    for name in ("key", "verdict"):
        found.add_column(name, no_wrap=True)
    for name in ("becomes", "note"):
        found.add_column(name, overflow="fold")
    section = ""
    for row in conversion.rows:
        above, dot, name = row.key.partition(".")
        if dot and above != section:
            found.add_row(Text(above, style="bold"), "", "", "")
        section = above
        key = f"  {name}" if dot else row.key
        cells = (key, row.outcome.verdict, "\n".join(row.settings), row.outcome.note)
        found.add_row(*(Text(cell) for cell in cells))
    return found

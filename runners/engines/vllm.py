"""vLLM: its command line and what its start-up log says."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runners.errors import UsageError
from runners.profiles.model import Profile

# Arguments that decide where and under which name the engine answers.
_OURS = {
    "host": "the toolkit serves on 127.0.0.1 only",
    "port": "the toolkit picks a free port",
    "model": "the model is model.uri",
    "served-model-name": "the name is model.name",
    "uds": "the toolkit connects over TCP",
    "api-key": "the toolkit's own engine needs no key",
    "root-path": "the toolkit asks at the root",
    "ssl-keyfile": "the toolkit asks over plain HTTP",
    "ssl-certfile": "the toolkit asks over plain HTTP",
}
# A phase of start-up ends when a line like this appears in the log.
MILESTONES = (
    ("read configuration", re.compile(r"Initializing a V1 LLM engine")),
    ("load weights", re.compile(r"Model loading took|Loading weights took")),
    ("initialize engine", re.compile(r"init engine \(profile, create kv cache, warmup model\)")),
)


def command(
    python: Path,
    model: str,
    profile: Profile,
    port: int,
    *,
    served_name: str,
    args: Mapping[str, Any] | None = None,
    extra: Sequence[str] = (),
) -> list[str]:
    """The command that serves `model` (a directory or Hugging Face id) on 127.0.0.1.

    args: in place of profile.engine.args, where those had to be resolved first.
    extra: more arguments as on vLLM's own command line.
    Raises UsageError for arguments that belong to the toolkit.
    """
    given = profile.engine.args if args is None else args
    owned = ["--model", model, "--served-model-name", served_name]
    place = ["--host", "127.0.0.1", "--port", str(port)]
    for text in extra:
        _refuse_ours(text.partition("=")[0], "extra engine arguments")
    module = ["-m", "vllm.entrypoints.openai.api_server"]
    return [str(python), *module, *owned, *place, *flags(given), *extra]


def flags(args: Mapping[str, Any]) -> list[str]:
    """Neutral engine arguments as vLLM's flags.

    Keys are spelled with _ or -. True is a bare flag, False its negation, None is left
    out, a mapping is passed as JSON, a list as values behind one flag.
    """
    found: list[str] = []
    for key, value in args.items():
        flag = _refuse_ours(key, "engine.args")
        if value is None:
            continue
        if value is True:
            found.append(flag)
        elif value is False:
            found.append(f"--no-{flag[2:]}")
        elif isinstance(value, list | tuple):
            found += [flag, *map(_word, value)]
        else:
            word = _word(value)
            # argparse takes a value that begins with a dash for another flag
            found += [f"{flag}={word}"] if word.startswith("-") else [flag, word]
    return found


def owned(key: str) -> str | None:
    """Why an argument is the toolkit's to set; None for the profile's."""
    return _OURS.get(_name(key))


def _refuse_ours(key: str, place: str) -> str:
    """The flag of `key`; UsageError where it is the toolkit's to set."""
    if (why := owned(key)) is not None:
        raise UsageError(f"{place}: {key} cannot be set here: {why}; remove it")
    return f"--{_name(key)}"


def _name(key: str) -> str:
    return key.strip().lstrip("-").replace("_", "-")


def _word(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple | bool):
        return json.dumps(value)
    return str(value)


def startup_facts(log: str) -> dict[str, Any]:
    """What the start-up log tells; a key is missing where the log is silent.

    engine_version; initialization_s (profiling, KV cache and warm-up); model_weights_gib
    (GPU builds: memory taken per rank; CPU builds: size of the checkpoints, the draft's
    included); kv_cache_gib per rank; kv_cache_tokens.
    """
    facts: dict[str, Any] = {}
    version = re.search(r"LLM engine \(v([^)]+)\)|\bversion (\d+\.\d+\S*)", log)
    if version:
        facts["engine_version"] = version[1] or version[2]
    took = _number(r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s", log)
    if took is not None:
        facts["initialization_s"] = took
    weights = _number(r"Model loading took ([\d.]+) Gi?B|model weights took ([\d.]+) Gi?B", log)
    if weights is None:
        weights = _checkpoints_gib(log)
    if weights is not None:
        facts["model_weights_gib"] = weights
    cache = _number(
        r"Available KV cache memory: ([\d.]+) GiB"
        r"|(?:Explicitly|Auto) set \(([\d.]+)/[\d.]+\) GiB for KV cache",
        log,
    )
    if cache is not None:
        facts["kv_cache_gib"] = cache
    tokens = _number(r"KV cache size: ([\d,]+) tokens", log)
    if tokens is not None:
        facts["kv_cache_tokens"] = int(tokens)
    return facts


def _number(pattern: str, log: str) -> float | None:
    """The first group that matched, of the first match; commas between thousands."""
    match = re.search(pattern, log)
    if match is None:
        return None
    text = next(group for group in match.groups() if group is not None)
    return float(text.replace(",", ""))


def _checkpoints_gib(log: str) -> float | None:
    """Sum over the checkpoints that the first worker read."""
    sizes = re.findall(r"\((\w+) pid=(\d+)\).*?Checkpoint size: ([\d.]+) GiB", log)
    of_first = [float(size) for name, pid, size in sizes if (name, pid) == sizes[0][:2]]
    return round(sum(of_first), 2) if of_first else None


# Errors that only say that another one came before, or that follow from shutting down.
_SECONDARY = re.compile(
    r"see (?:the )?(?:stack trace|root cause)|Engine core initialization failed"
    r"|EngineDeadError|CancelledError|BrokenPipe|KeyboardInterrupt|SystemExit",
    re.IGNORECASE,
)
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|NotFound)|Exception): (.+)"
)
_MEMORY = re.compile(
    r"out of memory|MemoryError|can't allocate memory|No available memory for the cache"
    r"|less than (?:desired|requested) .*memory|kv cache allocation is less than requested",
    re.IGNORECASE,
)
_LENGTH = 500


def failure_reason(log: str) -> str:
    """Why the engine ended, from its own log, in one line.

    Looks for a refused argument, a rejected configuration, then the last error that is
    not merely a consequence; without any, the last line the engine wrote.
    """
    lines = [plain(line) for line in log.splitlines()]
    refused = [line for line in lines if re.match(r"\S+: error: ", line)]
    if refused:
        reason = refused[-1].partition(": error: ")[2]
        return _shortened(f"argument refused: {reason}")
    return _rejected(lines) or _last_error(lines) or _last_words(lines)


def plain(line: str) -> str:
    """A log line without colours, process name, level and place in the source."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = re.sub(r"^\(\S+(?: \S+)? pid=\d+\) ?", "", line)
    return re.sub(r"^[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?", "", line)


def _rejected(lines: list[str]) -> str | None:
    """The message inside pydantic's report: `1 validation error for X`, key, message."""
    for index, line in enumerate(lines):
        header = re.search(r"validation errors? for (\w+)", line)
        if header is None:
            continue
        key = ""
        for text in lines[index + 1 : index + 4]:
            if text.startswith("  "):
                message = text.partition(" [type=")[0].strip().removeprefix("Value error, ")
                return _shortened(f"{header[1]} rejected: {key}{message}")
            key = f"{text.strip()}: "
    return None


def _last_error(lines: list[str]) -> str | None:
    errors = [match for line in lines if (match := _EXCEPTION.match(line))]
    primary = [match for match in errors if not _SECONDARY.search(match[0])]
    memory = [match for match in primary if _MEMORY.search(match[0])]
    if not primary:
        return None
    kind, message = (memory or primary)[-1].groups()
    inner = re.match(r"Worker failed with error '(.+?)', please check", message)
    message = inner[1] if inner else message
    if memory:
        return _shortened(f"out of memory: {message}")
    if "address already in use" in message.lower():
        return "port in use"
    if kind in ("LocalEntryNotFoundError", "RepositoryNotFoundError", "HFValidationError"):
        return _shortened(f"model not found: {message}")
    return _shortened(f"{kind}: {message}")


def _last_words(lines: list[str]) -> str:
    spoken = [line.strip() for line in lines if line.strip()]
    return _shortened(spoken[-1]) if spoken else "it wrote nothing to its log"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"

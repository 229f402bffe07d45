"""Command-line flags as overrides of profile keys; an explicit flag beats the profile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runners.errors import UsageError
from runners.profiles.cost_section import PRICES
from runners.profiles.load import Override, load_profile, parse_set

DEFAULT_PROFILE = "standard"
LOOK_S = 5.0

_KEYS = {
    "model": "model.uri",
    "requests": "load.requests",
    "concurrency": "load.concurrency",
    "rate": "load.rate",
    "duration": "load.duration_s",
    "max_tokens": "workload.max_tokens",
    "workers": "load.workers",
    "cold_connections": "load.cold_connections",
    "seed": "load.seed",
    "target": "target",
    "url": "url",
    "existing": "serving.existing",
    "context": "serving.context",
    "namespace": "serving.namespace",
    "allow_port_forward": "serving.allow_port_forward",
    "service": "serving.service",
    "api_key_env": "api_key_env",
    "cost": "cost.price",
}

# A limit or a pace given by flag replaces its counterpart in the profile.
_REPLACES = {
    "requests": ("duration", "load.duration_s"),
    "duration": ("requests", "load.requests"),
    "rate": ("concurrency", "load.concurrency"),
}

# What a price of another name left in the profile does not hold for the one given by flag.
_PRICED = (*PRICES, "kind", "source", "date")


def overrides(flags: dict[str, Any]) -> list[Override]:
    """What the flags change in a profile, in order; `--set` comes last."""
    found = short_look(flags)
    for flag, (other, key) in _REPLACES.items():
        if flags[flag] is not None and flags[other] is None:
            found.append(Override(key, None, f"--{flag}"))
    for flag, key in _KEYS.items():
        # Commands that have some of the flags only leave the others out.
        if flags.get(flag) is not None:
            value = _workers(flags[flag]) if flag == "workers" else flags[flag]
            if flag == "cost":
                found += [Override(f"cost.{other}", None, "--cost") for other in _PRICED]
            found.append(Override(key, value, f"--{flag.replace('_', '-')}"))
    if flags["rate"] is not None:
        found = _to_a_rate(flags["profile"]) + found
    found += _implied_target(flags)
    read: dict[str, Callable[[Any], list[Override]]] = {
        "backend": engine_overrides,
        "extra_engine_args": _engine_arguments,
        "slo": _objectives,
    }
    for flag, of in read.items():
        if flags.get(flag) is not None:
            found += of(flags[flag])
    for text in flags["settings"]:
        key, value = parse_set(text)
        found.append(Override(key, value, f"--set {key}"))
    return found


def _implied_target(flags: dict[str, Any]) -> list[Override]:
    """What --url and --existing say about the target, where it is not given."""
    implied = (("url", "url"), ("existing", "kserve"))
    return [
        Override("target", target, f"--{flag}")
        for flag, target in implied
        if flags.get(flag) is not None and flags["target"] is None
    ]


def short_look(flags: dict[str, Any]) -> list[Override]:
    """A few seconds of load where `--target simulator` only shows what a run looks like.

    A length given by flag stays, and so does a profile that is short or has its own course.
    """
    if flags["target"] != "simulator" or flags["requests"] or flags["duration"]:
        return []
    load = load_profile(flags["profile"] or DEFAULT_PROFILE).profile.load
    if load.duration_s is None or load.duration_s <= LOOK_S:
        return []
    return [
        Override("load.duration_s", LOOK_S, "--target simulator"),
        Override("load.warmup", {"seconds": 1.0}, "--target simulator"),
    ]


def _workers(text: str) -> int | None:
    """auto is null: as many as the load needs."""
    if text == "auto":
        return None
    if not text.isdecimal() or not int(text):
        raise UsageError(f"--workers {text}: give a number of at least 1, or auto")
    return int(text)


def _to_a_rate(profile: str | None) -> list[Override]:
    """What a profile says that a steady rate replaces."""
    load = load_profile(profile or DEFAULT_PROFILE).profile.load
    if load.resolved_pattern() in ("constant", "poisson", "gamma"):
        return []
    replaced = ("pattern", "think_time", "stages", "burst", "trace", "spacing")
    return [
        Override(f"load.{key}", None, "--rate")
        for key in replaced
        if getattr(load, key) is not None
    ]


def engine_overrides(name: str) -> list[Override]:
    """The engine and the way to serve it that a backend's name or alias stands for."""
    from runners.experiments.variants import backend_overrides

    return backend_overrides(name, "--backend")


def _mapping(flag: str, path: Path, of: str) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises UsageError."""
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{flag} {path}: cannot be read: {reason}") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"{flag} {path}: a YAML mapping of {of} is needed")
    return value


def _objectives(path: Path) -> list[Override]:
    """Names with a dot, or of a rate, limit the whole run; the others each request."""
    value = _mapping("--slo", path, "figures to limits")
    if isinstance(value.get("slo"), dict):
        value = value["slo"]
    flag = f"--slo {path}"
    of_request = ("ttft_ms", "tpot_ms", "e2e_latency_ms")
    found = [Override(f"slo.{key}", value[key], flag) for key in of_request if key in value]
    limits = {key: item for key, item in value.items() if key not in of_request}
    limits |= limits.pop("limits", None) or {}
    return [*found, Override("slo.limits", limits, flag)]


def _engine_arguments(path: Path) -> list[Override]:
    """vLLM's arguments, or settings of TensorRT-LLM that are converted as they are read."""
    return [
        Override("engine.extra_engine_args", str(path.absolute()), f"--extra-engine-args {path}")
    ]

"""What a run directory says about the run itself: profile, model, engine, target."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from runners.rundir import RunDirectory

_SECRET = ("api_key", "apikey", "token", "secret", "password", "credential", "credentials")
_HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Facts:
    """Every field is text or None; None: the run directory does not say."""

    profile: str | None = None
    description: str | None = None
    model: str | None = None
    engine: str | None = None
    target: str | None = None
    load: str | None = None
    workload: str | None = None
    slo: str | None = None
    interrupted: bool = False
    toolkit: str | None = None
    engine_arguments: Any = None
    profile_data: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_facts(run: RunDirectory, results: Mapping[str, Any]) -> Facts:
    """Read profile.yaml and environment.json; either may be absent or unreadable."""
    environment = _mapping(run.read_json("environment.json"))
    profile = _read_profile(run)
    engine = {**_mapping(results.get("engine")), **_mapping(environment.get("engine"))}
    load = _mapping(environment.get("load"))
    model = _mapping(profile.get("model"))
    toolkit = _mapping(environment.get("toolkit"))
    names = [str(part) for part in (engine.get("name"), engine.get("version")) if part]
    return Facts(
        profile=results.get("profile") or profile.get("name"),
        description=profile.get("description") or None,
        model=results.get("model") or model.get("name") or model.get("uri"),
        engine=" ".join(names) or None,
        target=results.get("target") or environment.get("target") or profile.get("target"),
        load=_load_text(load, _mapping(profile.get("load"))),
        workload=_workload_text(_mapping(profile.get("workload"))),
        slo=_slo_text(_mapping(profile.get("slo"))),
        interrupted=bool(load.get("interrupted")),
        toolkit=" ".join(str(v) for v in toolkit.values() if v) or None,
        engine_arguments=_mapping(engine.get("facts")).get("engine_arguments"),
        profile_data=profile,
        environment=environment,
    )


def _read_profile(run: RunDirectory) -> Mapping[str, Any]:
    try:
        return _mapping(yaml.safe_load((run / "profile.yaml").read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError):
        return {}


def _load_text(recorded: Mapping[str, Any], planned: Mapping[str, Any]) -> str | None:
    pattern = recorded.get("pattern") or planned.get("pattern")
    rate = recorded.get("rate") or planned.get("rate")
    concurrency = recorded.get("concurrency") or planned.get("concurrency")
    if pattern == "closed" and concurrency:
        return f"closed loop, {concurrency} in flight"
    if rate:
        cap = f", at most {concurrency} in flight" if concurrency else ""
        return f"{pattern or 'open'} arrivals, {rate:g} req/s{cap}"
    return pattern


def _workload_text(workload: Mapping[str, Any]) -> str | None:
    if not workload:
        return None
    parts = [str(workload[name]) for name in ("kind", "api") if workload.get(name)]
    source = _mapping(workload.get("dataset")).get("source")
    if source:
        parts.insert(1, str(source))
    if workload.get("lengths"):
        parts.append("mixed lengths")
    elif workload.get("input_tokens") and (
        workload.get("kind", "synthetic") == "synthetic" or source == "corpus"
    ):
        parts.append(f"{workload['input_tokens']} tokens in")
    if workload.get("max_tokens"):
        parts.append(f"at most {workload['max_tokens']} out")
    return ", ".join(parts) or None


def _slo_text(slo: Mapping[str, Any]) -> str | None:
    names = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2e_latency_ms": "end-to-end"}
    parts = [f"{name} ≤ {slo[key]:g} ms" for key, name in names.items() if slo.get(key)]
    return ", ".join(parts) or None


def without_secrets(value: Any) -> Any:
    """The same data with values that look like credentials replaced: reports are shared.

    A key is a credential by its last word (`HF_TOKEN`, `api-key`), so that `max_tokens`
    and `api_key_env` stay.
    """
    if isinstance(value, Mapping):
        if _is_secret(str(value.get("name", ""))) and "value" in value:
            return {**value, "value": _HIDDEN}
        return {
            key: _HIDDEN if item and _is_secret(str(key)) else without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return _arguments_without_secrets(value)
    return value


def _arguments_without_secrets(arguments: list[Any] | tuple[Any, ...]) -> list[Any]:
    shown: list[Any] = []
    for argument in arguments:
        flag = str(shown[-1]) if shown else ""
        if isinstance(argument, str) and argument.startswith("-") and "=" in argument:
            name = argument.split("=", 1)[0]
            shown.append(f"{name}={_HIDDEN}" if _is_secret(name) else argument)
        elif flag.startswith("--") and "=" not in flag and _is_secret(flag):
            shown.append(_HIDDEN)
        else:
            shown.append(without_secrets(argument))
    return shown


def arguments_text(arguments: Any) -> str:
    """Engine arguments as a person would write them: one flag with its value on a line."""
    if not arguments:
        return ""
    if isinstance(arguments, list):
        text = ""
        for argument in map(str, without_secrets(arguments)):
            text += ("\n" if argument.startswith("--") and text else " " if text else "") + argument
        return text
    if isinstance(arguments, Mapping):
        shown = without_secrets(dict(arguments))
        return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    return str(arguments)


def _is_secret(name: str) -> bool:
    flat = name.lower().lstrip("-").replace("-", "_")
    return any(flat == word or flat.endswith("_" + word) for word in _SECRET)

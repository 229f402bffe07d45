"""From what a person asks to compare to the profiles of the sides."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runners.checks.check import checked
from runners.errors import UsageError
from runners.profiles.error import ProfileError
from runners.profiles.load import Loaded, Override, load_profile

# How each backend is asked for, and the engine behind it.
BACKENDS = {
    "vllm": "vllm",
    "vllm-huggingface": "vllm",
    "tgi": "tgi",
    "tensorrt-llm": "tensorrt-llm",
    "triton": "tensorrt-llm",
}
ALIASES = {"tensorrt": "tensorrt-llm", "trtllm": "tensorrt-llm", "trt-llm": "tensorrt-llm"}


@dataclass(frozen=True)
class Variants:
    """The sides by name, those that cannot be made with the reason, and the keys that vary."""

    sides: dict[str, Loaded]
    refused: dict[str, str] = field(default_factory=dict)
    subject: tuple[str, ...] = ()


def backend_name(text: str, flag: str = "--backends") -> str:
    """A backend by its name or alias. Raises UsageError."""
    name = ALIASES.get(text, text)
    if name not in BACKENDS:
        known = ", ".join((*BACKENDS, *ALIASES))
        raise UsageError(f"{flag} {text}: choose one of {known}")
    return name


def backend_overrides(text: str, flag: str) -> list[Override]:
    """The engine and the way to serve it that a backend's name or alias stands for."""
    name = backend_name(text, flag)
    return [
        Override("engine.name", BACKENDS[name], flag),
        Override("engine.backend", name, flag),
    ]


def of_backends(
    profile: str, overrides: Sequence[Override], backends: Sequence[str] | None
) -> Variants:
    """One side for each backend. Without `backends`: every one that supports the profile.

    Raises UsageError where a named backend cannot serve it (with all the reasons), or where
    fewer than two can.
    """
    names = [backend_name(each) for each in backends] if backends else list(BACKENDS)
    if len(set(names)) != len(names):
        raise UsageError(f"--backends {' '.join(names)}: a backend is named twice")
    sides, refused = {}, {}
    for name in names:
        asked = backend_overrides(name, "--backends")
        try:
            sides[name] = checked(load_profile(profile, [*asked, *overrides]))
        except ProfileError as error:
            refused[name] = "; ".join(dict.fromkeys(error.lines()))
    if backends and len(names) < 2:
        raise UsageError(f"--backends {names[0]}: name two or more")
    if backends and refused:
        raise UsageError(_refusals(refused))
    if len(sides) < 2:
        only = f"only {next(iter(sides))} can serve" if sides else "no backend can serve"
        raise UsageError(f"{only} this profile: {_refusals(refused)}")
    return Variants(sides, refused, ("engine",))


def _refusals(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{name} cannot serve this profile: {why}" for name, why in refused.items())


def of_values(profile: str, overrides: Sequence[Override], text: str) -> Variants:
    """One side for each value of `KEY=A,B,…`; the key `profile` takes names of profiles.

    Raises UsageError for fewer than two values, ProfileError for a side that is rejected.
    """
    key, values = written_values(text, least=2)
    sides: dict[str, Loaded] = {}
    for value in values:
        if key == "profile":
            name, loaded = value, load_profile(value, overrides)
        else:
            name = f"{key.rpartition('.')[2]}={value}"
            loaded = load_profile(profile, [*overrides, _override(key, value)])
        sides[side_name(name, sides)] = checked(loaded)
    subject = ("model.uri", "model.name", "model.revision") if key == "profile" else (key,)
    return Variants(sides, {}, subject)


def written_values(text: str, least: int) -> tuple[str, list[str]]:
    """(key, values as written) of `KEY=A,B,…`. Raises UsageError."""
    key, equals, written = text.partition("=")
    values = [each.strip() for each in split_values(written)]
    if not equals or not key.strip() or len(values) < least or not all(values):
        many = "two values or more" if least == 2 else "its values"
        raise UsageError(f"--vary {text}: write KEY=A,B with {many}")
    return key.strip(), values


def parsed_values(text: str, least: int) -> tuple[str, list[Any]]:
    """(key, values as YAML reads them) of `KEY=A,B,…`. Raises UsageError."""
    key, values = written_values(text, least)
    return key, [_override(key, value).value for value in values]


def split_values(text: str) -> list[str]:
    """At the commas outside brackets and quotes, so that a value may be a list or mapping."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and not depth:
            parts.append("")
            continue
        parts[-1] += char
    return parts


def _override(key: str, value: str) -> Override:
    from runners.profiles.load import parse_set

    name, parsed = parse_set(f"{key}={value}")
    return Override(name, parsed, f"--vary {key}")


def side_name(text: str, taken: Mapping[str, Any]) -> str:
    """A name that is also a folder's: letters, digits, `._=-`; numbered where it is taken."""
    slug = re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.")[:60] or "side"
    if slug not in taken:
        return slug
    return next(f"{slug}-{n}" for n in range(2, 1000) if f"{slug}-{n}" not in taken)

"""What an engine makes of an argument that bears vLLM's name: the words of its table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Said:
    """The same in the engine's own words.

    flags: flag → its values. config: keys of the engine's YAML file, nested. env: variables.
    note: how it differs from what vLLM does with it; empty where it does not.
    """

    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Unsaid:
    """The engine has no counterpart. why: half a sentence. fix: what to write instead."""

    why: str
    fix: str = "remove it, or run this profile on vllm"


Outcome = Said | Unsaid
# Takes the value and all arguments, names with underscores; a null value never gets here.
Counterpart = Callable[[Any, Mapping[str, Any]], Outcome]
NOTHING = Said()


def flag(name: str, note: str = "") -> Counterpart:
    """The value behind a flag of another name."""
    return lambda value, _: Said(flags={name: (word(value),)}, note=note)


def setting(*path: str, note: str = "") -> Counterpart:
    """The value at another place of the YAML file."""
    return lambda value, _: Said(config=nested(path, value), note=note)


def choice(words: Mapping[Any, Any], then: Counterpart, why: str, fix: str = "") -> Counterpart:
    """Values under other names; a word that is None asks for nothing, a missing one is refused."""

    def read(value: Any, args: Mapping[str, Any]) -> Outcome:
        if not isinstance(value, str | int | float) or value not in words:
            return Unsaid(f"{why} (here {word(value)})", fix or f"use one of {_listed(words)}")
        return NOTHING if words[value] is None else then(words[value], args)

    return read


def unless(harmless: tuple[Any, ...], why: str, fix: str = "", note: str = "") -> Counterpart:
    """No counterpart, unless the value asks for what the engine does anyway."""

    def read(value: Any, args: Mapping[str, Any]) -> Outcome:
        if any(value is item or (value == item and type(value) is type(item)) for item in harmless):
            return Said(note=note)
        return Unsaid(why, fix) if fix else Unsaid(why)

    return read


def ignored(note: str) -> Counterpart:
    """Sets nothing, because the engine does it in a way of its own."""
    return lambda value, _: Said(note=note)


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`value` inside as many mappings as the path has names."""
    for name in reversed(path):
        value = {name: value}
    found: dict[str, Any] = value
    return found


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key; everything else of `above` replaces what is below."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        found[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return found


def word(value: Any) -> str:
    """A value on a command line: booleans in small letters, lists with commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(word, value))
    return str(value)


def number(value: Any) -> float | None:
    """A number, also written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _listed(words: Mapping[Any, Any]) -> str:
    return ", ".join(word(name) for name in words)

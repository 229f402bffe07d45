"""A whole settings file: every key with its verdict, and the arguments together."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from runners.checks.history import first_version, last_version
from runners.convert import disaggregation, graphs, kv_cache, legacy
from runners.convert.dynamo import WARNING, dynamo_rows
from runners.convert.engine_keys import ALIASES, ENGINE, EXPERTS, PEFT_CACHE_NOTE, SCHEDULER
from runners.convert.lora import LORA
from runners.convert.outcome import Convert, Outcome, Row, exact, nothing
from runners.convert.settings import Settings, Target
from runners.convert.speculation import SECTION as SPECULATION
from runners.convert.speculation import speculation
from runners.engines.counterpart import merged
from runners.engines.vllm import owned
from runners.profiles.document import Node

Dialect = Literal["vllm", "dynamo"]
SECTIONS: dict[str, dict[str, Convert]] = {
    kv_cache.SECTION: kv_cache.KV_CACHE,
    graphs.SECTION: graphs.GRAPHS,
    disaggregation.SECTION: disaggregation.TRANSCEIVER,
    "lora_config": LORA,
    "moe_config": EXPERTS,
    "scheduler_config": SCHEDULER,
}
# Sections of which every key has the same answer.
_WHOLE = {"peft_cache_config": PEFT_CACHE_NOTE}
_NULL = "null sets nothing"


@dataclass(frozen=True)
class Conversion:
    """What a file becomes.

    args: vLLM's arguments, names with underscores. rows: one for each key of the file.
    model: the one that the file names. warnings: about the whole.
    """

    args: dict[str, Any]
    rows: tuple[Row, ...]
    target: Target
    model: str | None = None
    warnings: tuple[str, ...] = ()

    def counted(self) -> str:
        """The verdicts in words: `5 exact, 2 approximate`."""
        counts = Counter(row.outcome.verdict for row in self.rows)
        return ", ".join(f"{number} {verdict}" for verdict, number in counts.items())

    def remarks(self) -> Iterator[Row]:
        """The rows that a person should read: all that is not exact."""
        return (row for row in self.rows if row.outcome.verdict != "exact")


def convert(settings: Settings, dialect: Dialect = "vllm") -> Conversion:
    """The settings as arguments of the target's version.

    Raises UsageError, one line with its place, for values of the wrong kind, an unknown
    decoding type, and keys that contradict each other.
    """
    model = settings.get("model")
    named = model if isinstance(model, str) else None
    if dialect == "dynamo":
        rows = dynamo_rows(settings)
        return Conversion(_together(rows), tuple(rows), settings.target, named, (WARNING,))
    settings = _one_name(settings)
    rows = [
        replace(row, outcome=_for_version(row.outcome, settings.target))
        for key, node in settings.tree.mapping.items()
        for row in _rows(key, node, settings)
    ]
    rows = _explicit_wins(rows, settings)
    return Conversion(_together(rows), tuple(rows), settings.target, named)


def is_tensorrt(values: Mapping[str, Any]) -> bool:
    """Whether the keys are TensorRT-LLM's and not vLLM's; those of both decide nothing."""
    speculative = values.get(SPECULATION)
    if isinstance(speculative, Mapping) and "decoding_type" in speculative:
        return True
    own = {*ENGINE, *SECTIONS, *_WHOLE, *ALIASES} - _shared()
    return any(key in own for key in values)


def overruled(conversion: Conversion, given: Mapping[str, Any]) -> Conversion:
    """Without what `given`, explicit vLLM arguments, says too; each with a note."""
    rows = [_overruled(row, given) for row in conversion.rows]
    return replace(conversion, args=_together(rows), rows=tuple(rows))


def _shared() -> frozenset[str]:
    """Keys that bear the same name in both engines' words."""
    return frozenset(key for key in ENGINE if key in Target().release.flags)


def _rows(key: str, node: Node, settings: Settings) -> Iterator[Row]:
    """One key of the file; a section gives a row for each key below."""
    value, at = node.plain(), settings.under(key)
    if key == SPECULATION:
        yield from speculation(settings)
    elif key == graphs.SECTION and value is None:
        yield Row(key, None, graphs.without_graphs(at))
    elif value is None:
        yield Row(key, None, exact(note=_NULL))
    elif key in SECTIONS:
        yield from _section(key, node, settings)
    elif key in _WHOLE:
        yield Row(key, value, nothing(_WHOLE[key]))
    elif key in ENGINE:
        yield Row(key, value, ENGINE[key](value, at))
    else:
        yield Row(key, value, _foreign(key, value, settings))


def _section(key: str, node: Node, settings: Settings) -> Iterator[Row]:
    if not isinstance(node.value, dict):
        raise settings.under(key).error("takes a mapping")
    if key == "lora_config":
        yield Row(key, node.plain(), exact({"enable_lora": True}))
    elif not node.value:
        yield Row(key, {}, exact(note="each engine's own defaults"))
    for name, below in node.mapping.items():
        path, value = f"{key}.{name}", below.plain()
        entry = SECTIONS[key].get(name)
        if value is None:
            yield Row(path, None, exact(note=_NULL))
        elif entry is None:
            yield Row(path, value, nothing(_unknown(name, tuple(SECTIONS[key]))))
        else:
            yield Row(path, value, entry(value, settings.under(path)))


def _foreign(key: str, value: Any, settings: Settings) -> Outcome:
    """A key that is not TensorRT-LLM's: vLLM's own, or unknown."""
    name = key.lstrip("-").replace("-", "_")
    if (why := owned(name)) is not None:
        return nothing(f"not an argument of the file: {why}")
    if name in settings.target.release.flags:
        return exact({name: value}, "vLLM's own name")
    return nothing(_unknown(key, (*ENGINE, *SECTIONS, SPECULATION)))


def _unknown(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.75)
    return f"not a key known here{f'; did you mean {close[0]}?' if close else ''}"


def _one_name(settings: Settings) -> Settings:
    """Aliases under the names that they stand for. Raises UsageError where both are given."""
    entries = dict(settings.tree.mapping)
    for alias, name in ALIASES.items():
        if alias not in entries:
            continue
        section, _, below = name.rpartition(".")
        if settings.get(*name.split(".")) is not None:
            raise settings.error(f"is {name}, which is given too; keep one of them", alias)
        node = entries.pop(alias)
        if not section:
            entries[name] = node
            continue
        old = entries.get(section)
        entries[section] = Node({**(old.mapping if old else {}), below: node})
    return replace(settings, tree=replace(settings.tree, value=entries))


def _for_version(outcome: Outcome, target: Target) -> Outcome:
    """Only what the version takes; the rest is said to have no counterpart in it."""
    if target.legacy:
        outcome = legacy.legacy(outcome, target.version)
    release = target.release
    newer = release.newest and not release.exact
    missing = [name for name in outcome.args if name not in release.flags]
    if missing and not newer:
        return nothing(f"vLLM {target.version} has no {missing[0]}{_when('flags', missing[0])}")
    keys = outcome.args.get(SPECULATION, {})
    absent = [key for key in keys if key not in release.speculative_keys]
    if absent and not newer:
        return nothing(f"vLLM {target.version} has no {absent[0]}{_when('keys', absent[0])}")
    return replace(outcome, args={n: _switch(n, v, target) for n, v in outcome.args.items()})


def _when(what: Literal["flags", "keys"], name: str) -> str:
    first, last = first_version(what, name), last_version(what, name)
    return f" (it is in {first} to {last})" if first else ""


def _switch(name: str, value: Any, target: Target) -> Any:
    """Releases whose switch has no negation took the word behind it."""
    option = target.release.flags.get(name)
    if value is False and option is not None and option.kind == "bool" and not option.negatable:
        return "false" if option.default is None else None
    return value


def _explicit_wins(rows: list[Row], settings: Settings) -> list[Row]:
    """vLLM's own names in the file beat what other keys would become."""
    flags = settings.target.release.flags
    own = {*ENGINE, *SECTIONS, *_WHOLE, SPECULATION}
    given = {row.key: row.value for row in rows if row.key in flags and row.key not in own}
    return [row if row.key in given else _overruled(row, given) for row in rows]


def _overruled(row: Row, given: Mapping[str, Any]) -> Row:
    """A row without what `given` says; of a mapping, only the keys that both have."""
    taken, left = [], dict(row.outcome.args)
    for name in row.outcome.names:
        both = left.get(name), given.get(name)
        if name not in given:
            continue
        if isinstance(both[0], Mapping) and isinstance(both[1], Mapping):
            taken += [f"{name}.{key}" for key in both[0] if key in both[1]]
            left[name] = {key: value for key, value in both[0].items() if key not in both[1]}
        else:
            taken.append(name)
            left.pop(name, None)
    if not taken:
        return row
    note = f"{', '.join(taken)} is given too and wins"
    return replace(row, outcome=Outcome(row.outcome.verdict, left, note))


def _together(rows: list[Row]) -> dict[str, Any]:
    """All rows' arguments; nested ones are merged, null ones left out."""
    args: dict[str, Any] = {}
    for row in rows:
        args = merged(args, row.outcome.args)
    return {name: value for name, value in args.items() if value is not None}

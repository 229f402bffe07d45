"""What becomes of one setting, and the few forms that an entry of a table has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from runners.convert.settings import Settings

Verdict = Literal["exact", "approximate", "no counterpart", "needs input"]


@dataclass(frozen=True)
class Outcome:
    """args: vLLM arguments, nested ones as mappings. note: what differs, or why there is none.

    about: the arguments that it would set, where it sets none because something is missing.
    """

    verdict: Verdict
    args: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    about: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The vLLM arguments that it concerns."""
        return tuple(self.args) or self.about


@dataclass(frozen=True)
class Row:
    """A setting and what became of it. key: its dotted path in the file."""

    key: str
    value: Any
    outcome: Outcome

    @property
    def settings(self) -> list[str]:
        """The arguments one by one: `max_num_seqs: 256`, `speculative_config.method: mtp`."""
        return _flat(self.outcome.args)

    @property
    def becomes(self) -> str:
        """All of them in one line, empty for none."""
        return ", ".join(self.settings)

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        outcome = self.outcome
        return {
            "key": self.key,
            "value": self.value,
            "verdict": outcome.verdict,
            "becomes": dict(outcome.args),
            "note": outcome.note,
        }


# Takes the value and all settings of the file.
Convert = Callable[[Any, "Settings"], Outcome]


def exact(args: Mapping[str, Any] | None = None, note: str = "") -> Outcome:
    """vLLM does the same."""
    return Outcome("exact", args or {}, note)


def approximate(args: Mapping[str, Any], note: str) -> Outcome:
    """vLLM does nearly the same; note: the difference."""
    return Outcome("approximate", args, note)


def nothing(note: str) -> Outcome:
    """vLLM has nothing like it."""
    return Outcome("no counterpart", note=note)


def needs(about: str, note: str) -> Outcome:
    """It could be converted, if more were known. about: the argument left out."""
    return Outcome("needs input", note=note, about=(about,))


def number(name: str, note: str = "", least: int = 1) -> Convert:
    """A whole number under another name."""

    def read(value: Any, settings: "Settings") -> Outcome:
        said = {name: settings.whole(value, least)}
        return approximate(said, note) if note else exact(said)

    return read


def switch(name: str) -> Convert:
    """true or false under another name."""
    return lambda value, settings: exact({name: settings.truth(value)})


def text(name: str, note: str = "") -> Convert:
    """Text that both engines read alike."""
    return lambda value, settings: exact({name: settings.text(value)}, note)


def none(note: str, harmless: tuple[Any, ...] = ()) -> Convert:
    """No counterpart; a value of `harmless` asks for what vLLM does anyway."""

    def read(value: Any, settings: "Settings") -> Outcome:
        asks_nothing = any(value == item and type(value) is type(item) for item in harmless)
        return exact(note="vLLM does so anyway") if asks_nothing else nothing(note)

    return read


def _flat(args: Mapping[str, Any], before: str = "") -> list[str]:
    found: list[str] = []
    for name, value in args.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{before}{name}.")
        else:
            found.append(f"{before}{name}: {_word(value)}")
    return found


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    return str(value)

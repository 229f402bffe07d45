"""What a dataset holds, whatever form its file has: entries with one or more turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runners.profiles.workload_section import Turns

Message = dict[str, str]
_ROLES = ("system", "developer", "user", "assistant")


class BrokenError(Exception):
    """What is wrong with an entry; whoever reads the file knows where it is."""


@dataclass(frozen=True)
class Entry:
    """One question or conversation.

    turns: what the user says; each is a request. before: messages ahead of the first turn.
    max_tokens: longest answer, None where the workload decides.
    """

    turns: tuple[str, ...]
    before: tuple[Message, ...] = ()
    category: str | None = None
    max_tokens: int | None = None

    @property
    def characters(self) -> int:
        """Of all that is sent, answers apart."""
        return sum(map(len, self.turns)) + sum(len(each["content"]) for each in self.before)


def of_messages(messages: Sequence[Message], turns: Turns) -> Entry | None:
    """The part of a conversation that `turns` asks for; None where no user speaks.

    Raises BrokenError for instructions that come after the user has begun to speak, which
    have no place between answers that are made anew.
    """
    said = [at for at, message in enumerate(messages) if message["role"] == "user"]
    if not said:
        return None
    if turns == "recorded":
        return Entry((messages[said[-1]]["content"],), tuple(messages[: said[-1]]))
    before = tuple(messages[: said[0]])
    if any(message["role"] == "assistant" for message in before):
        before = tuple(message for message in before if message["role"] != "assistant")
    if turns == "first":
        return Entry((messages[said[0]]["content"],), before)
    later = {message["role"] for message in messages[said[0] :]}
    if later - {"user", "assistant"}:
        raise BrokenError("instructions in the middle of a conversation; use turns: recorded")
    return Entry(tuple(messages[at]["content"] for at in said), before)


def text(value: Any, name: str) -> str:
    """A text that can be asked. Raises BrokenError."""
    if not isinstance(value, str):
        raise BrokenError(f"{name} is {_shown(value)}, not a text")
    if not value.strip():
        raise BrokenError(f"{name} is empty")
    return value


def texts(value: Any, name: str) -> tuple[str, ...]:
    """A list of one or more texts. Raises BrokenError."""
    if not isinstance(value, list):
        raise BrokenError(f"{name} is {_shown(value)}, not a list of texts")
    if not value:
        raise BrokenError(f"{name} is empty")
    return tuple(text(each, f"{name}[{at}]") for at, each in enumerate(value))


def messages(value: Any, name: str) -> list[Message]:
    """A list of {role, content}. Raises BrokenError."""
    if not isinstance(value, list) or not value:
        raise BrokenError(f"{name} is {_shown(value)}, not a list of messages")
    found = []
    for at, each in enumerate(value):
        if not isinstance(each, dict) or each.get("role") not in _ROLES:
            raise BrokenError(f"{name}[{at}] has no role of {', '.join(_ROLES)}")
        found.append(
            {"role": each["role"], "content": text(each.get("content"), f"{name}[{at}].content")}
        )
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return repr(value)[:40]

"""ShareGPT's JSON: a list (or lines) of {"conversations": [{"from", "value"}]}.

The public file has 670 MB, so it is read piece by piece, and only as far as it is needed.
"""

import codecs
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from runners.profiles.workload_section import Dataset
from runners.workloads.entry import BrokenError, Entry, Message, of_messages
from runners.workloads.lines import broken

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
}
_PIECE = 1 << 18
# An error so close to the end of what was read may be the end itself.
_NEAR_END = 32


def read(path: Path, dataset: Dataset) -> Iterator[Entry | None]:
    """Every conversation in order; None for one in which no human says anything.

    Raises UsageError with the line where an entry that is none begins, and OSError.
    """
    with path.open("rb") as file:
        source = _Source(path, file)
        while (found := source.next()) is not None:
            line, value = found
            try:
                yield _entry(value, dataset)
            except BrokenError as error:
                raise broken(path, line, str(error)) from error


def _entry(value: Any, dataset: Dataset) -> Entry | None:
    said = value.get("conversations") if isinstance(value, dict) else None
    if not isinstance(said, list):
        raise BrokenError("no conversation: a JSON object with a list `conversations` is needed")
    turns = dataset.turns or "first"
    messages = [_message(each) for each in said]
    known = [message for message in messages if message is not None]
    # Emptied by the public set's own cleaning, or with speakers that no chat has.
    if len(known) < len(messages) or not known:
        return None
    return of_messages(known, turns)


def _message(turn: Any) -> Message | None:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("value"), str):
        raise BrokenError("a turn of the conversation has no text `value`")
    role = _ROLES.get(str(turn.get("from")))
    content: str = turn["value"]
    if role is None or not content.strip() or _has_half(content):
        return None
    return {"role": role, "content": content}


def _has_half(content: str) -> bool:
    """Whether it holds half of a surrogate pair, which cannot be sent."""
    try:
        content.encode()
    except UnicodeEncodeError:
        return True
    return False


class _Source:
    """JSON values one after the other: elements of a list, or separate objects."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._parse = json.JSONDecoder().raw_decode
        self._text, self._at, self._line = "", 0, 1
        self._piece = _PIECE
        self._ended = False
        self._in_list: bool | None = None

    def next(self) -> tuple[int, Any] | None:
        """(line where it begins, value); None at the end."""
        while True:
            self._skip()
            if self._at == len(self._text):
                if self._ended:
                    break
                self._more()
                continue
            letter = self._text[self._at]
            if self._in_list is None:
                self._in_list = letter == "["
                if self._in_list:
                    self._at += 1
                    continue
            if letter == "]" and self._in_list:
                return None
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                self._go_on_after(error)
                continue
            except (RecursionError, ValueError) as error:  # too deep, or an endless number
                raise broken(self._path, self._line, f"not readable JSON: {error}") from error
            line = self._line
            self._line += self._text.count("\n", self._at, end)
            self._at, self._piece = end, _PIECE
            return line, value
        if self._in_list:
            raise broken(self._path, self._line, "the list has no end: the file is cut short")
        return None

    def _skip(self) -> None:
        """Over blanks and commas between values."""
        text, at = self._text, self._at
        while at < len(text) and text[at] in " \t\r\n,":
            self._line += text[at] == "\n"
            at += 1
        self._at = at

    def _go_on_after(self, error: json.JSONDecodeError) -> None:
        """Read on where a value may only be incomplete; raise where it is wrong, or the end."""
        incomplete = error.msg.startswith("Unterminated") or (
            error.pos > len(self._text) - _NEAR_END
        )
        if incomplete and not self._ended:
            self._more()
            return
        line = self._line + self._text.count("\n", self._at, error.pos)
        cut = "; the file seems to be cut short" if incomplete else ""
        raise broken(self._path, line, f"not JSON: {error.msg}{cut}") from error

    def _more(self) -> None:
        """Read another piece, each time a larger one, so that a long value costs no more."""
        data = self._file.read(self._piece)
        self._piece *= 2
        self._ended = not data
        rest = self._text[self._at :]
        try:
            self._text = rest + self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            # error.object also holds the undecoded end of the piece before, without a newline.
            line = self._line + rest.count("\n") + error.object.count(b"\n", 0, error.start)
            raise broken(self._path, line, "not UTF-8 text") from error
        self._at = 0

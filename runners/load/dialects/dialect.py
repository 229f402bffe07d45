"""What a dialect is: how one API is asked, and how its answers are read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from runners.load.answer import Answer

Json = dict[str, Any]
Events = Iterable[tuple[int, Json]]


@dataclass(frozen=True)
class Question:
    """One request, whatever the API that carries it.

    ignore_eos: the answer is to have max_tokens tokens, whatever the model wants.
    continuous_usage: ask for token counts in every event, of servers that offer them.
    """

    model: str
    prompt: str
    max_tokens: int
    temperature: float = 0.0
    stream: bool = True
    ignore_eos: bool = False
    continuous_usage: bool = False


@dataclass(frozen=True)
class Dialect:
    """One API. Its readers get JSON objects without an error in them and fill an Answer.

    path: of a model, streaming or not. body: the JSON of a question; raises UsageError for
    what this API cannot do. read_events: a stream, (arrival in ns, object) in order; it sets
    `done` at the answer's own end mark, or after the last event where the API has none.
    read_whole: a non-streaming body and its arrival in ns. keep_text: keep the texts too.
    is_plain: whether an event brings a piece of text (and counters) and nothing else, so that
    its shape can stand for later ones; without it every event is parsed.
    """

    path: Callable[[str, bool], str]
    body: Callable[[Question], Json]
    read_events: Callable[[Events, Answer, bool], None]
    read_whole: Callable[[Json, int, Answer, bool], None]
    is_plain: Callable[[Json], bool] | None = None


def add_content(answer: Answer, stamp: int, text: str, keep_text: bool) -> int | None:
    """The place of the chunk of an event's text; None, and nothing added, where it has none."""
    if not text:
        return None
    if keep_text:
        answer.texts.append(text)
    return answer.add(stamp, len(text.encode()), "content")


class TokenTally:
    """Tokens counted event by event, for APIs whose events say how many they bring.

    Tokens without text (special ones, half a character) go to the next chunk; those after
    the last chunk are left to Answer.share_tokens.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._waiting = 0

    def add(self, tokens: int, chunk: int | None) -> None:
        """An event brought `tokens`, and the chunk at this place if it had text."""
        self._answer.output_tokens = (self._answer.output_tokens or 0) + tokens
        self._waiting += tokens
        if chunk is not None:
            self._answer.milli[chunk] = self._waiting * 1000
            self._waiting = 0
            self._answer.counted_chunks = True

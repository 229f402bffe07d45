"""Tasks made of a user's own texts: a passage of the length asked for, and what to do with it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runners.errors import UsageError
from runners.profiles.workload_section import Dataset, Task
from runners.workloads.lines import unreadable, whole_text
from runners.workloads.vocabulary import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_INSTRUCTIONS: dict[Task, str] = {
    "summarise": "Summarise the following text.\n\n",
    "write": "Write on from where the following text ends, in the same style.\n\n",
    "rewrite": "Rewrite the following text in other words. Keep its meaning and its length.\n\n",
}
_SUFFIXES = (".txt", ".md")
_STREAM = 6  # of the seed; see runners.load.schedule for the others
_CHARACTERS_PER_TOKEN = 4
_TRIES = 8
_GOLDEN = (5**0.5 - 1) / 2
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_LOOK_FOR_SENTENCE = 400


def tasks_of(dataset: Dataset) -> list[Task]:
    """The tasks, which prompts take in turn."""
    return list(dict.fromkeys(dataset.tasks)) or list(_INSTRUCTIONS)


def make_tasks(
    dataset: Dataset, lengths: Sequence[int], seed: int, tokenizer: Path | None
) -> tuple[list[str], bool]:
    """Prompts of `lengths` tokens each, instruction included, and whether these are exact.

    Passages begin all over the corpus, at a sentence where one is near; the seed moves them.
    Without a tokenizer a token stands for four characters. A few texts cannot be cut to a
    number of tokens; they come as near as they can, and lengths are not exact then.
    Raises UsageError for a corpus that cannot be read or is shorter than a passage.
    """
    corpus = read_corpus(dataset)
    encoder = load_tokenizer(tokenizer) if tokenizer else None
    tasks = tasks_of(dataset)
    first = np.random.default_rng([seed, _STREAM]).random()
    # Steps of the golden ratio keep beginnings apart, however many there are.
    starts = (len(corpus) * ((first + np.arange(len(lengths)) * _GOLDEN) % 1.0)).astype(np.int64)
    texts, exact = [], encoder is not None
    for at, length in enumerate(lengths):
        instruction = _INSTRUCTIONS[tasks[at % len(tasks)]]
        passage = _Passage(corpus, _sentence(corpus, int(starts[at])), dataset.file)
        if encoder is None:
            wanted = max(1, length * _CHARACTERS_PER_TOKEN - len(instruction))
            texts.append(instruction + passage.begin(wanted))
            continue
        text, tokens = _cut(encoder, instruction, passage, length)
        exact = exact and tokens == length
        texts.append(text)
    return texts, exact


def read_corpus(dataset: Dataset) -> str:
    """A text file, or the .txt and .md files of a folder and those below it, by name."""
    path = Path(dataset.file)
    try:
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.suffix.lower() in _SUFFIXES)
            files = [each for each in files if each.is_file()]
        pieces = [whole_text(file).strip() for file in files]
    except OSError as error:
        way_out = "a relative path starts beside the profile, or at the working directory"
        raise unreadable(path, error, way_out) from error
    corpus = "\n\n".join(piece for piece in pieces if piece)
    if not corpus:
        raise UsageError(f"workload.dataset.file: {path} holds no text (.txt and .md are read)")
    return corpus


class _Passage:
    """The corpus from one place on, and from its beginning when it ends."""

    def __init__(self, corpus: str, start: int, name: str) -> None:
        self._corpus, self._start, self._name = corpus, start, name

    def begin(self, characters: int) -> str:
        """Its first so many characters. Raises UsageError where the corpus has fewer."""
        if characters > len(self._corpus):
            raise UsageError(
                f"workload.dataset.file: {self._name} has {len(self._corpus)} characters, fewer "
                "than a prompt needs; give more text or ask for fewer input_tokens"
            )
        text = self._corpus[self._start : self._start + characters]
        missing = characters - len(text)
        return text if missing <= 2 else f"{text}\n\n{self._corpus[: missing - 2]}"

    @property
    def most(self) -> int:
        return len(self._corpus)


def _sentence(corpus: str, near: int) -> int:
    """Where the next sentence begins, else the next word."""
    if near == 0:
        return 0
    found = _SENTENCE_END.search(corpus, near, near + _LOOK_FOR_SENTENCE)
    if found is None:
        found = re.compile(r"\s+").search(corpus, near, near + _LOOK_FOR_SENTENCE)
    return found.end() if found is not None and found.end() < len(corpus) else 0


def _cut(encoder: "Tokenizer", instruction: str, passage: _Passage, length: int) -> tuple[str, int]:
    """The text that comes nearest to `length` tokens, and how many it has."""
    least = len(encoder.encode(instruction, add_special_tokens=False).ids)
    if least >= length:
        raise UsageError(
            f"workload.input_tokens: {length} leave no room for a text behind the task, which "
            f"has {least} tokens itself"
        )
    characters = 2 * _CHARACTERS_PER_TOKEN * length
    while True:
        text = instruction + passage.begin(min(characters, passage.most))
        encoded = encoder.encode(text, add_special_tokens=False)
        if len(encoded.ids) >= length:
            break
        if characters >= passage.most:
            passage.begin(passage.most + 1)
        characters *= 2
    ends = [end for _, end in encoded.offsets]
    best, best_tokens, at = "", 0, length
    for _ in range(_TRIES):
        at = min(max(at, 1), len(ends))
        candidate = text[: ends[at - 1]]
        tokens = len(encoder.encode(candidate, add_special_tokens=False).ids)
        if not best or abs(tokens - length) < abs(best_tokens - length):
            best, best_tokens = candidate, tokens
        if tokens == length:
            break
        at += length - tokens
    return best, best_tokens

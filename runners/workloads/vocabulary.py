"""Words that are one token each, so that prompts have exact lengths."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runners.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ENOUGH = 2000
_TRY_AT_MOST = 20_000


@dataclass(frozen=True)
class Vocabulary:
    """Words, each with its leading space; any sequence of n of them is n tokens."""

    words: tuple[str, ...]


def load_tokenizer(path: Path) -> "Tokenizer":
    """A directory with tokenizer.json, or that file. Raises UsageError."""
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"tokenizer {file}: {error}; give another with model.tokenizer") from error


def from_tokenizer(path: Path, seed: int) -> Vocabulary:
    """Single-token words of a tokenizer: a directory with tokenizer.json, or that file.

    Only words that encode back to one token are kept. Raises UsageError where the file
    cannot be read or has no such words.
    """
    tokenizer = load_tokenizer(path)
    entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    order = np.random.default_rng([seed, 3]).permutation(len(entries))[:_TRY_AT_MOST]
    words: list[str] = []
    for index in order:
        _, token = entries[index]
        text = tokenizer.decode([token])
        word = " " + text.strip()
        if not (word[1:].isascii() and word[1:].isalpha()):
            continue
        if tokenizer.encode(word, add_special_tokens=False).ids == [token]:
            words.append(word)
        if len(words) == _ENOUGH:
            break
    if len(words) < 2:
        raise UsageError(
            f"tokenizer {path}: no words of one token each; "
            "use workload.kind prompts with texts of your own"
        )
    return Vocabulary(tuple(words))


def plain_english() -> Vocabulary:
    """Common English words, about one token each for most tokenizers."""
    text = """
    time year people way day man thing woman life child world school state family student
    group country problem hand part place case week company system program question work
    government number night point home water room mother area money story fact month lot
    right study book eye job word business issue side kind head house service friend father
    power hour game line end member law car city community name president team minute idea
    body information back parent face others level office door health person art war history
    party result change morning reason research girl guy moment air teacher force education
    river table market paper light music field ground plan street letter record picture north
    south east west winter summer spring garden kitchen window bridge ship train horse bird
    tree flower stone metal glass cloth color green blue white black yellow small large young
    early late strong quick quiet deep high low near far open close warm cold clear heavy
    build carry follow answer begin believe bring choose create decide draw drive explain
    find give grow hear help hold keep know learn leave listen live look make mean meet move
    need offer pay play provide read reach remember run say see seem send serve set show sit
    speak spend stand start stay stop take talk teach tell think travel try turn understand
    use visit wait walk want watch win wonder write about above across after again against
    along among around because before behind between both during every few first great half
    into last least less many might more most much never next often only other over same
    several should since some still such than their there these they through under until very
    where which while within without would
    """
    return Vocabulary(tuple(" " + word for word in dict.fromkeys(text.split())))

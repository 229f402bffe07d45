"""Prompts of a workload, deterministic from its seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runners.errors import UsageError
from runners.load.dialects import DIALECTS, Question
from runners.profiles.workload_section import Workload
from runners.workloads.corpus import make_tasks
from runners.workloads.dataset import read_dataset
from runners.workloads.entry import Message
from runners.workloads.vocabulary import Vocabulary, from_tokenizer, plain_english


@dataclass(frozen=True)
class Prompts:
    """Texts by prompt id.

    exact: their lengths in tokens are those asked for (a tokenizer was at hand), or nobody
    asked for one; else a word stands for a token, and the server's usage tells the truth.
    before: by prompt id too, messages ahead of the text; empty where no prompt has any.
    """

    texts: list[str]
    exact: bool
    before: list[tuple[Message, ...]]


def make_prompts(
    workload: Workload,
    count: int,
    seed: int,
    tokenizer: Path | None,
    lengths: npt.NDArray[np.int32] | None = None,
) -> Prompts:
    """The first `count` prompts; of a list or a dataset, all of them.

    lengths: tokens of each whole prompt, a shared prefix included, where the schedule
    brings them; by default the workload's.
    Raises UsageError for a tokenizer or a dataset that cannot be read.
    """
    if workload.kind == "prompts":
        return Prompts(list(workload.prompts), exact=True, before=[])
    if workload.dataset is not None and not workload.has_made_lengths:
        return _of_dataset(workload)
    if workload.dataset is not None:
        if lengths is None:
            lengths = _lengths(workload, count, np.random.default_rng([seed, 2])).astype(np.int32)
        tasks, exact = make_tasks(workload.dataset, lengths.tolist(), seed, tokenizer)
        return Prompts(tasks, exact, [])
    vocabulary = from_tokenizer(tokenizer, seed) if tokenizer else plain_english()
    if lengths is None:
        texts = _synthetic(workload, count, seed, vocabulary)
    else:
        texts = _of_lengths(workload, lengths, seed, vocabulary)
    return Prompts(texts, exact=tokenizer is not None, before=[])


def _of_dataset(workload: Workload) -> Prompts:
    """A prompt for every turn, those of a conversation in a row."""
    assert workload.dataset is not None
    entries = read_dataset(workload.dataset).entries
    before = [
        entry.before if at == 0 else () for entry in entries for at in range(len(entry.turns))
    ]
    texts = [turn for entry in entries for turn in entry.turns]
    return Prompts(texts, exact=True, before=before if any(before) else [])


def _of_lengths(
    workload: Workload, lengths: npt.NDArray[np.int32], seed: int, vocabulary: Vocabulary
) -> list[str]:
    rng = np.random.default_rng([seed, 2])
    shared = workload.shared_prefix
    prefixes = (
        [_text(rng, shared.tokens, 0.0, vocabulary) for _ in range(shared.groups)] if shared else []
    )
    texts = []
    for length in lengths.tolist():
        begin, rest = "", length
        if shared and length > shared.tokens:
            begin, rest = prefixes[rng.integers(0, len(prefixes))], length - shared.tokens
        texts.append(begin + _text(rng, rest, workload.repetition, vocabulary))
    return texts


def _synthetic(workload: Workload, count: int, seed: int, vocabulary: Vocabulary) -> list[str]:
    rng = np.random.default_rng([seed, 2])
    lengths = _lengths(workload, count, rng)
    prefixes = [""]
    if workload.shared_prefix:
        shared = workload.shared_prefix
        prefixes = [_text(rng, shared.tokens, 0.0, vocabulary) for _ in range(shared.groups)]
    groups = rng.integers(0, len(prefixes), count)
    return [
        prefixes[group] + _text(rng, int(length), workload.repetition, vocabulary)
        for group, length in zip(groups, lengths, strict=True)
    ]


def _lengths(workload: Workload, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    if not workload.input_tokens_stdev:
        return np.full(count, workload.input_tokens)
    spread = rng.normal(workload.input_tokens, workload.input_tokens_stdev, count)
    return np.maximum(1, np.round(spread)).astype(np.int64)


def _text(rng: np.random.Generator, tokens: int, repetition: float, vocabulary: Vocabulary) -> str:
    """`tokens` words of one token each; the last `repetition` share repeats the first."""
    fresh = max(1, round(tokens * (1.0 - repetition)))
    words = rng.integers(0, len(vocabulary.words), fresh)
    repeated = np.resize(words, tokens)
    return "".join(vocabulary.words[word] for word in repeated)


def request_path(workload: Workload, model: str) -> str:
    """The HTTP path of the workload's API."""
    return DIALECTS[workload.api].path(model, workload.stream)


def request_body(
    workload: Workload,
    model: str,
    prompt: str,
    *,
    continuous_usage: bool,
    max_tokens: int | None = None,
    before: Sequence[Message] = (),
) -> dict[str, object]:
    """The JSON body that asks `prompt`; keys of `extra_body` come last and win.

    An object in `extra_body` is merged into ours of the same name, so that a parameter can
    be added to APIs that nest them.
    max_tokens: of this request, where the schedule has its own; by default the workload's.
    before: messages ahead of the prompt, which only api chat has.
    Raises UsageError for what the API cannot do, and for keys that are not extra.
    """
    question = Question(
        model=model,
        prompt=prompt,
        max_tokens=workload.max_tokens if max_tokens is None else max_tokens,
        temperature=workload.temperature,
        stream=workload.stream,
        ignore_eos=workload.ignore_eos,
        continuous_usage=continuous_usage,
    )
    body: dict[str, object] = DIALECTS[workload.api].body(question)
    if before:
        body["messages"] = [*before, *DIALECTS["chat"].body(question)["messages"]]
    for key in ("model", "stream"):
        if key in workload.extra_body:
            raise UsageError(
                f"workload.extra_body.{key}: the toolkit sets it; "
                + ("use model.name" if key == "model" else "use workload.stream")
            )
    for key, value in workload.extra_body.items():
        ours = body.get(key)
        nested = isinstance(ours, dict) and isinstance(value, dict)
        body[key] = ours | value if nested else value
    return body

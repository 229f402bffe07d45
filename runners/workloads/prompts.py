"""Prompts of a workload, deterministic from its seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runners.errors import UsageError
from runners.load.dialects import DIALECTS, Question
from runners.profiles.model import Workload
from runners.workloads.vocabulary import Vocabulary, from_tokenizer, plain_english


@dataclass(frozen=True)
class Prompts:
    """Texts by prompt id.

    exact: their lengths in tokens are those asked for (a tokenizer was at hand);
    else a word stands for a token, and the server's usage tells the truth.
    """

    texts: list[str]
    exact: bool


def make_prompts(
    workload: Workload,
    count: int,
    seed: int,
    tokenizer: Path | None,
    lengths: npt.NDArray[np.int32] | None = None,
) -> Prompts:
    """`count` prompts. Raises UsageError for a tokenizer that cannot be read.

    lengths: tokens of each whole synthetic prompt, a shared prefix included, where the
    schedule brings them; by default the workload's.
    """
    if workload.kind == "prompts":
        return Prompts(list(workload.prompts), exact=True)
    vocabulary = from_tokenizer(tokenizer, seed) if tokenizer else plain_english()
    if lengths is None:
        texts = _synthetic(workload, count, seed, vocabulary)
    else:
        texts = _of_lengths(workload, lengths, seed, vocabulary)
    return Prompts(texts, exact=tokenizer is not None)


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
    lengths = np.full(count, workload.input_tokens)
    if workload.input_tokens_stdev:
        spread = rng.normal(workload.input_tokens, workload.input_tokens_stdev, count)
        lengths = np.maximum(1, np.round(spread)).astype(np.int64)
    prefixes = [""]
    if workload.shared_prefix:
        shared = workload.shared_prefix
        prefixes = [_text(rng, shared.tokens, 0.0, vocabulary) for _ in range(shared.groups)]
    groups = rng.integers(0, len(prefixes), count)
    return [
        prefixes[group] + _text(rng, int(length), workload.repetition, vocabulary)
        for group, length in zip(groups, lengths, strict=True)
    ]


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
) -> dict[str, object]:
    """The JSON body that asks `prompt`; keys of `extra_body` come last and win.

    An object in `extra_body` is merged into ours of the same name, so that a parameter can
    be added to APIs that nest them.
    max_tokens: of this request, where the schedule has its own; by default the workload's.
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

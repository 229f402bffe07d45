"""Prompts of a workload, deterministic from its seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners.errors import UsageError
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


def make_prompts(workload: Workload, count: int, seed: int, tokenizer: Path | None) -> Prompts:
    """`count` prompts. Raises UsageError for a tokenizer that cannot be read."""
    if workload.kind == "prompts":
        return Prompts(list(workload.prompts), exact=True)
    vocabulary = from_tokenizer(tokenizer, seed) if tokenizer else plain_english()
    return Prompts(_synthetic(workload, count, seed, vocabulary), exact=tokenizer is not None)


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


def request_path(workload: Workload) -> str:
    """The HTTP path of the workload's API."""
    return "/v1/chat/completions" if workload.api == "chat" else "/v1/completions"


def request_body(
    workload: Workload, model: str, prompt: str, *, continuous_usage: bool
) -> dict[str, object]:
    """The JSON body that asks `prompt`; keys of `extra_body` come last and win."""
    body: dict[str, object] = {"model": model}
    if workload.api == "chat":
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    body["max_tokens"] = workload.max_tokens
    body["temperature"] = workload.temperature
    body["stream"] = workload.stream
    if workload.ignore_eos:
        body["ignore_eos"] = True
    if workload.stream:
        options: dict[str, object] = {"include_usage": True}
        if continuous_usage:
            options["continuous_usage_stats"] = True
        body["stream_options"] = options
    body.update(workload.extra_body)
    for key in ("model", "stream"):
        if key in workload.extra_body:
            raise UsageError(
                f"workload.extra_body.{key}: the toolkit sets it; "
                + ("use model.name" if key == "model" else "use workload.stream")
            )
    return body

"""Drafts that fit a model: those trained for it, its own layers, smaller relatives, none at all."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from runners.checks.data import read_yaml
from runners.checks.history import first_version
from runners.checks.model_shape import model_facts
from runners.checks.models import ModelFacts, known_model, plain_name
from runners.checks.tables import vllm_release

TOKENS = 3
# A draft beyond this share of its target costs more than it can win in most settings.
_SHARE = 0.25


@dataclass(frozen=True)
class Suggestion:
    """config: vLLM's speculative_config. why: what speaks for it, and where that is said.

    vocabulary: whether draft and target say the same tokens, as far as that is known here.
    unusable: why this version cannot run it; empty where it can.
    """

    config: Mapping[str, Any]
    why: str
    vocabulary: str
    unusable: str = ""


@dataclass(frozen=True)
class Suggested:
    """target: what is known of the model, None for nothing. unknown: what was not found out."""

    model: str
    version: str
    target: ModelFacts | None
    suggestions: tuple[Suggestion, ...]
    unknown: tuple[str, ...] = field(default_factory=tuple)


def suggest(model: str, version: str, folder: Path) -> Suggested:
    """Ways to speculate for a model on a version of vLLM, the most promising first.

    model: a URI, Hugging Face id or directory (relative to `folder`).
    """
    target = model_facts(model, folder)
    name = plain_name(model)
    found = [*_trained(name), *_own_layers(target), *_relatives(name, target), *_without()]
    checked = tuple(_at(each, version) for each in found)
    return Suggested(model, version, target, checked, tuple(_unknown(name, target)))


def _trained(name: str) -> Iterator[Suggestion]:
    for entry in _data()["drafts"]:
        if re.fullmatch(entry["match"], name):
            config = {"method": entry["method"], "model": entry["model"]}
            config |= {"num_speculative_tokens": entry.get("tokens", TOKENS)}
            config |= entry.get("keys", {})
            vocabulary = "trained for this model, with its tokens"
            yield Suggestion(config, f"{entry['source']}", vocabulary)


def _own_layers(target: ModelFacts | None) -> Iterator[Suggestion]:
    if target is None or not target.draft_layers:
        return
    layers = f"{target.draft_layers} layer{'s' if target.draft_layers > 1 else ''}"
    config = {"method": "mtp", "num_speculative_tokens": target.draft_layers}
    why = f"the checkpoint has {layers} for predicting more tokens ({target.source})"
    yield Suggestion(config, why, "the model's own")


def _relatives(name: str, target: ModelFacts | None) -> Iterator[Suggestion]:
    """Smaller models of the same family, the smallest first."""
    family = _family(name)
    if target is None or family is None or not target.parameters:
        return
    for facts in sorted(_known(), key=lambda facts: facts.parameters or 0):
        small = facts.parameters is not None and facts.parameters <= _SHARE * target.parameters
        if not small or facts.experts or _family(plain_name(facts.name)) != family:
            continue
        config = {"method": "draft_model", "model": facts.name, "num_speculative_tokens": TOKENS}
        share = (facts.parameters or 0) / target.parameters
        why = (
            f"a relative with {share:.0%} of the parameters, not trained to draft; take the form "
            "that the target has, instruct or not"
        )
        same = facts.vocab_size == target.vocab_size
        sizes = f"{facts.vocab_size} and {target.vocab_size} tokens"
        vocabulary = f"{'same size' if same else 'sizes differ'}: {sizes}"
        refused = "" if same else "vLLM refuses a draft model with another vocabulary"
        yield Suggestion(config, why, vocabulary, refused)


def _without() -> Iterator[Suggestion]:
    config = {"method": "ngram", "num_speculative_tokens": TOKENS, "prompt_lookup_max": 4}
    why = "no draft at all: for answers that repeat their prompts (summaries, edits, code)"
    yield Suggestion({**config, "prompt_lookup_min": 1}, why, "the model's own")


def _at(suggestion: Suggestion, version: str) -> Suggestion:
    """With the reason why a version of vLLM cannot run it."""
    method, release = suggestion.config["method"], vllm_release(version)
    if suggestion.unusable or (release.newest and not release.exact):
        return suggestion
    missing = method not in release.speculative_methods
    # Between its two engines vLLM had the name, but no code for it.
    refused = method == "draft_model" and (0, 10) <= _numbers(version) < (0, 16)
    if not missing and not refused:
        return suggestion
    since = "0.16.0" if refused else first_version("methods", method)
    why = f"vLLM {version} cannot run {method}" + (f"; from {since} on" if since else "")
    return Suggestion(suggestion.config, suggestion.why, suggestion.vocabulary, why)


def _unknown(name: str, target: ModelFacts | None) -> Iterator[str]:
    if target is None:
        yield "the model is not in the table of known models and its config.json is not here"
    if not any(re.fullmatch(entry["match"], name) for entry in _data()["drafts"]):
        yield "no draft trained for it is known here; search Hugging Face for eagle3 and its name"
    if target is not None and not target.draft_layers and not target.source.endswith(".json"):
        yield "whether the checkpoint has layers of its own for drafting (MTP)"
    yield "acceptance on your text: measure it (docs/speculative-decoding.md)"


def _numbers(version: str) -> tuple[int, ...]:
    from runners.checks.tables import version_key

    return version_key(version)


def _family(name: str) -> str | None:
    """The family that a name begins with, the longest that does."""
    plain = name.removeprefix("meta-")
    found = [family for family in _data()["families"] if plain.startswith(family)]
    return max(found, key=len, default=None)


@cache
def _data() -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_yaml("drafts.yaml")
    return found


@cache
def _known() -> tuple[ModelFacts, ...]:
    names = [entry["name"] for entry in read_yaml("models.yaml")["models"]]
    return tuple(facts for name in names if (facts := known_model(name)) is not None)

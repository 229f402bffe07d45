"""A small model pair for benchmarks on the CPU: made from a seed, nothing downloaded.

The target is a Llama-type model of 8 layers with random weights and a byte-level BPE
tokenizer of 4096 tokens. The draft is the target's first 2 layers with the same
embedding, final norm and output head. Random weights make answers that mean nothing, but
that are plain ASCII, hardly ever repeat, and never end before max_tokens under greedy
decoding.

**The acceptance dial.** Acceptance is accepted / drafted tokens with 3 draft tokens per
step and greedy decoding. The six layers behind the draft's are multiplied by one scale in
what they add (o_proj and down_proj). At scale 0 target and draft agree always, at 1
hardly ever. `_DIAL` says which scale gives which acceptance; between its points the
logarithm of the scale is interpolated.

How it was found: greedy decoding in float32 of 320 random prompts (widths 128 and 256,
three seeds), 34 tokens each; widths of 64, 512 and 1024 gave the same curve within the
noise, hence one table serves all sizes. tests/models decodes again and compares.
Checked on vLLM 0.32.0 (CPU, bfloat16; 24 prompts of 64 random tokens, 64 tokens answered,
the server's own counters): dialled 0.30, 0.60, 0.85; measured 0.29, 0.61, 0.85.

The same Python version, tokenizers release and numpy release give byte-identical files:
the tokenizer is trained on the standard library's sources, which differ between versions.
"""

import json
import math
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from runners.errors import TargetError, UsageError
from runners.progress import Progress

DEFAULT_PARAMETERS = 29_000_000
SMALLEST, LARGEST = 1_000_000, 500_000_000
DEFAULT_ACCEPTANCE = 0.7
SCHEME = "tiny://"
# Part of a cached model's name: raise it when the same options make other files.
_EDITION = 1
# (acceptance, scale of the deeper layers).
_DIAL = (
    (0.009, 1.0),
    (0.037, 0.6),
    (0.082, 0.4),
    (0.139, 0.3),
    (0.264, 0.2),
    (0.352, 0.15),
    (0.500, 0.1),
    (0.589, 0.075),
    (0.704, 0.05),
    (0.810, 0.03),
    (0.864, 0.02),
    (0.925, 0.01),
    (0.963, 0.005),
    (0.981, 0.0025),
)
# Repetitive text: few words and hardly any attention make the next token follow from the
# last one alone, so that answers run into loops.
_REPETITIVE_WORDS = 64
_REPETITIVE_ATTENTION = 0.003


@dataclass(frozen=True)
class TinyPair:
    """Directories of the two checkpoints, in Hugging Face layout."""

    target: Path
    draft: Path


@dataclass(frozen=True)
class Options:
    """What a tiny:// URI can ask for."""

    parameters: int = DEFAULT_PARAMETERS
    acceptance: float | None = None
    seed: int = 0
    repetitive: bool = False

    def directory_name(self) -> str:
        dial = DEFAULT_ACCEPTANCE if self.acceptance is None else self.acceptance
        kind = "repetitive" if self.repetitive else f"acceptance{dial:g}"
        python = f"py{sys.version_info.major}.{sys.version_info.minor}"
        return f"tiny{_EDITION}-{self.parameters}-{kind}-seed{self.seed}-{python}"


def deep_scale(acceptance: float) -> float:
    """The scale of the deeper layers for an acceptance rate (see the module's text).

    Raises UsageError outside 0.01 … 1.
    """
    lowest, highest = _DIAL[0][0], _DIAL[-1][0]
    if not 0.01 <= acceptance <= 1:
        raise UsageError(f"acceptance {acceptance:g} cannot be dialled; choose 0.01 to 1")
    if acceptance > highest:  # towards 1 the scale falls to 0 in a straight line
        return _DIAL[-1][1] * (1 - acceptance) / (1 - highest)
    for (low, low_scale), (high, high_scale) in pairwise(_DIAL):
        if acceptance <= high:
            share = (max(acceptance, lowest) - low) / (high - low)
            return low_scale * math.exp(share * math.log(high_scale / low_scale))
    raise AssertionError("the dial's points are in ascending order")


def build_pair(
    out: Path,
    *,
    parameters: int = DEFAULT_PARAMETERS,
    acceptance: float | None = None,
    seed: int = 0,
    repetitive: bool = False,
) -> TinyPair:
    """Write `out`/target and `out`/draft; existing files of the same name are replaced.

    parameters: size of the target, 1 M to 0.5 B (the result is within 3 %).
    acceptance: the dial, 0.01 to 1; by default 0.7.
    repetitive: answers that run into loops, as n-gram speculation needs them; the dial
        does not hold for these and cannot be given.
    Raises UsageError for options outside their range; OSError when `out` is not writable.
    """
    from runners.models.llama import DRAFT_LAYERS, LAYERS, Shape, draft_tensors, random_tensors
    from runners.models.safetensors import write_tensors
    from runners.models.tokenizer import (
        BOS_ID,
        CONTEXT,
        EOS_ID,
        VOCABULARY,
        plain_text_ids,
        train_tokenizer,
        training_texts,
        write_tokenizer,
    )

    _check(Options(parameters, acceptance, seed, repetitive))
    scale = deep_scale(DEFAULT_ACCEPTANCE if acceptance is None else acceptance)
    tokenizer = train_tokenizer(training_texts())
    speakable = plain_text_ids(tokenizer)
    if repetitive:
        speakable = speakable[:: len(speakable) // _REPETITIVE_WORDS]
    shape = Shape.of_size(parameters, VOCABULARY)
    attention = _REPETITIVE_ATTENTION if repetitive else 1.0
    tensors = random_tensors(shape, speakable, seed, scale, attention)
    pair = TinyPair(out / "target", out / "draft")
    for path, layers, content in (
        (pair.target, LAYERS, tensors),
        (pair.draft, DRAFT_LAYERS, draft_tensors(tensors)),
    ):
        path.mkdir(parents=True, exist_ok=True)
        config = shape.config(layers, CONTEXT, BOS_ID, EOS_ID)
        (path / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        write_tokenizer(tokenizer, path)
        write_tensors(path / "model.safetensors", content)
    return pair


def parse_parameters(text: str) -> int:
    """A size such as 29M, 0.5B or 1000000 as a number; UsageError when it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMB]?)", text.strip().upper())
    if match is None:
        raise UsageError(f"{text!r} is no model size; write for example 29M or 0.5B")
    unit = {"": 1, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}[match[2]]
    return round(float(match[1]) * unit)


def resolve_tiny(uri: str, cache: Path, progress: Progress) -> Path:
    """The checkpoint directory of `tiny://target?…` or `tiny://draft?…`.

    Options: acceptance, parameters, seed, repetitive (true or false); target and draft of
    a pair share parameters, seed and repetitive. Each set is built once into `cache`.
    Raises UsageError for options that do not exist or are out of range, TargetError when
    `cache` is not writable.
    """
    member, options = parse_uri(uri)
    home = cache / options.directory_name()
    if not home.is_dir():
        size = f"{options.parameters / 1e6:g} M parameters"
        with progress.step(f"making a small model pair ({size})"):
            _build_into(home, options)
    return home / member


def parse_uri(uri: str) -> tuple[str, Options]:
    """Member ("target" or "draft") and options of a tiny:// URI; UsageError when bad."""
    parts = urlsplit(uri)
    member = parts.netloc
    if not uri.startswith(SCHEME) or member not in ("target", "draft") or parts.path.strip("/"):
        raise UsageError(f"{uri}: write tiny://target or tiny://draft")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(given.keys() - {"acceptance", "parameters", "seed", "repetitive"})
    if unknown:
        raise UsageError(
            f"{uri}: no option {unknown[0]}; there are acceptance, parameters, seed, repetitive"
        )
    try:
        options = Options(
            parameters=parse_parameters(given.get("parameters", str(DEFAULT_PARAMETERS))),
            acceptance=float(given["acceptance"]) if "acceptance" in given else None,
            seed=int(given.get("seed", "0")),
            repetitive={"true": True, "false": False}[given.get("repetitive", "false").lower()],
        )
        _check(options)
    except UsageError as error:
        raise UsageError(f"{uri}: {error}") from None
    except ValueError:
        raise UsageError(f"{uri}: acceptance and seed must be numbers") from None
    except KeyError:
        raise UsageError(f"{uri}: repetitive must be true or false") from None
    return member, options


def _check(options: Options) -> None:
    if not SMALLEST <= options.parameters <= LARGEST:
        raise UsageError(f"{options.parameters} parameters; choose 1M to 0.5B")
    if options.seed < 0:
        raise UsageError(f"seed {options.seed} is negative; choose 0 or more")
    if options.acceptance is not None:
        deep_scale(options.acceptance)
        if options.repetitive:
            raise UsageError("acceptance does not hold for repetitive text; give one of the two")


def _build_into(home: Path, options: Options) -> None:
    """Build beside `home` and rename: another process sees the whole pair or none."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".making-", dir=home.parent))
        try:
            build_pair(
                draft,
                parameters=options.parameters,
                acceptance=options.acceptance,
                seed=options.seed,
                repetitive=options.repetitive,
            )
            draft.chmod(0o755)
            if not home.is_dir():
                draft.rename(home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        if home.is_dir():
            return  # another process was quicker
        raise TargetError(
            f"cannot write the small model to {home.parent}: {error.strerror or error}; "
            "set KSERVE_BENCH_HOME to a directory with space"
        ) from error

"""The small model pair: the same from the same seed, of the size and acceptance asked for."""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from runners.errors import Exit, TargetError, UsageError
from runners.models.command import main
from runners.models.tiny import build_pair, resolve_tiny
from runners.progress import Progress
from tests.models.greedy import acceptance, greedy, next_tokens, read_config, read_tensors

SMALL = 1_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small")
    build_pair(out, parameters=SMALL, acceptance=0.6)
    return out


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_same_options_give_identical_bytes_and_another_seed_does_not(
    small: Path, tmp_path: Path
) -> None:
    build_pair(tmp_path / "again", parameters=SMALL, acceptance=0.6)
    build_pair(tmp_path / "other", parameters=SMALL, acceptance=0.6, seed=1)
    first = digests(small)
    assert digests(tmp_path / "again") == first
    changed = {
        name for name, digest in digests(tmp_path / "other").items() if digest != first[name]
    }
    assert changed == {"target/model.safetensors", "draft/model.safetensors"}


@pytest.mark.parametrize("parameters", [SMALL, 3_000_000, 12_000_000])
def test_size_is_what_was_asked_for(parameters: int, tmp_path: Path) -> None:
    pair = build_pair(tmp_path, parameters=parameters)
    weights = sum(tensor.size for tensor in read_tensors(pair.target).values())
    assert weights == pytest.approx(parameters, rel=0.03)


def test_draft_is_the_beginning_of_the_target(small: Path) -> None:
    target, draft = read_tensors(small / "target"), read_tensors(small / "draft")
    assert all(np.array_equal(target[name], tensor) for name, tensor in draft.items())
    assert read_config(small / "target")["num_hidden_layers"] == 8
    assert read_config(small / "draft")["num_hidden_layers"] == 2


def test_tokenizer_gives_every_text_back(small: Path) -> None:
    tokenizer = Tokenizer.from_file(str(small / "target" / "tokenizer.json"))
    for text in ("def f(x):\n\treturn x ** 2\n", "naïve Ω 漢字", "  two  blanks "):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize(("parameters", "dial"), [(SMALL, 0.3), (SMALL, 0.85), (3_000_000, 0.6)])
def test_acceptance_comes_out_as_dialled(parameters: int, dial: float, tmp_path: Path) -> None:
    pair = build_pair(tmp_path, parameters=parameters, acceptance=dial)
    prompts = np.random.default_rng(7).integers(300, 4096, (48, 8))
    answers = greedy(pair.target, prompts, 24)
    proposed = next_tokens(pair.draft, np.concatenate([prompts, answers], axis=1))
    agrees = proposed[:, prompts.shape[1] - 1 : -1] == answers
    assert acceptance(agrees) == pytest.approx(dial, abs=0.06)


def test_answers_are_plain_text_and_do_not_end_early(small: Path) -> None:
    tokenizer = Tokenizer.from_file(str(small / "target" / "tokenizer.json"))
    answers = greedy(small / "target", np.arange(300, 364).reshape(8, 8), 32)
    for answer in answers.tolist():
        text = tokenizer.decode(answer, skip_special_tokens=False)
        assert text.isascii()
        assert "<|" not in text


def test_repetitive_answers_repeat_and_the_others_do_not(small: Path, tmp_path: Path) -> None:
    loops = build_pair(tmp_path, parameters=SMALL, repetitive=True).target
    prompts = np.arange(300, 364).reshape(8, 8)

    def new_pairs(directory: Path) -> float:
        """Share of neighbouring token pairs that had not been there before."""
        answers = greedy(directory, prompts, 40).tolist()
        pairs = [list(pairwise(answer)) for answer in answers]
        return sum(len(set(row)) for row in pairs) / sum(len(row) for row in pairs)

    assert new_pairs(loops) < 0.6
    assert new_pairs(small / "target") > 0.95


def test_a_pair_is_built_once_into_the_cache(tmp_path: Path) -> None:
    quiet = Progress(quiet=True)
    target = resolve_tiny("tiny://target?parameters=1M&acceptance=0.5", tmp_path, quiet)
    made = (target / "model.safetensors").stat().st_mtime_ns
    draft = resolve_tiny("tiny://draft?acceptance=0.50&parameters=1000000", tmp_path, quiet)
    assert draft == target.parent / "draft"
    assert (target / "model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == [target.parent.name]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("tiny://model", "tiny://target or tiny://draft"),
        ("tiny://target?acceptence=0.7", "no option acceptence"),
        ("tiny://target?acceptance=1.5", "0.01 to 1"),
        ("tiny://target?acceptance=nan", "0.01 to 1"),
        ("tiny://target?acceptance=high", "must be numbers"),
        ("tiny://target?parameters=7B", "1M to 0.5B"),
        ("tiny://target?parameters=big", "no model size"),
        ("tiny://target?seed=-1", "negative"),
        ("tiny://target?repetitive=yes", "true or false"),
        ("tiny://target?repetitive=true&acceptance=0.5", "one of the two"),
    ],
)
def test_bad_options_are_refused_in_one_line(uri: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_tiny(uri, tmp_path, Progress(quiet=True))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unwritable_cache_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="KSERVE_BENCH_HOME"):
        resolve_tiny("tiny://target?parameters=1M", tmp_path / "file", Progress(quiet=True))


def test_command_line_writes_a_pair_and_refuses_bad_sizes(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--out", str(tmp_path), "--parameters", "1M"])
    assert done.exit_code == Exit.DONE
    assert (tmp_path / "draft" / "model.safetensors").is_file()
    refused = CliRunner().invoke(main, ["--out", str(tmp_path), "--parameters", "9B"])
    assert refused.exit_code == Exit.USAGE

"""Prompts have the lengths asked for, differ, and can repeat or share on request."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from runners.errors import UsageError
from runners.models.tiny import build_pair
from runners.profiles.workload_section import SharedPrefix, Workload
from runners.workloads.prompts import make_prompts, request_body


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pair(tmp_path_factory.mktemp("tiny"), parameters=1_000_000).target


def lengths(texts: list[str], folder: Path) -> list[int]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def test_lengths_are_exact_with_a_tokenizer(tokenizer_dir: Path) -> None:
    prompts = make_prompts(Workload(input_tokens=100), 50, 0, tokenizer_dir)
    assert prompts.exact
    assert set(lengths(prompts.texts, tokenizer_dir)) == {100}
    assert len(set(prompts.texts)) == 50


def test_lengths_spread_as_asked(tokenizer_dir: Path) -> None:
    workload = Workload(input_tokens=100, input_tokens_stdev=20.0)
    found = lengths(make_prompts(workload, 400, 0, tokenizer_dir).texts, tokenizer_dir)
    assert sum(found) / 400 == pytest.approx(100, abs=4)
    assert 15 < (sum((n - 100) ** 2 for n in found) / 400) ** 0.5 < 25


def test_groups_share_their_beginning(tokenizer_dir: Path) -> None:
    workload = Workload(input_tokens=10, shared_prefix=SharedPrefix(groups=3, tokens=40))
    prompts = make_prompts(workload, 60, 0, tokenizer_dir)
    assert set(lengths(prompts.texts, tokenizer_dir)) == {50}
    assert len({" ".join(text.split()[:40]) for text in prompts.texts}) == 3


def test_repetition_gives_an_n_gram_drafter_something_to_find() -> None:
    words = make_prompts(Workload(input_tokens=100, repetition=0.75), 1, 0, None).texts[0].split()
    assert words[:25] == words[25:50] == words[50:75]


def test_without_a_tokenizer_lengths_are_called_estimates() -> None:
    assert not make_prompts(Workload(), 1, 0, None).exact


def test_the_seed_decides(tokenizer_dir: Path) -> None:
    first, again, other = (
        make_prompts(Workload(), 5, seed, tokenizer_dir).texts for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_missing_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tokenizer .*model.tokenizer"):
        make_prompts(Workload(), 1, 0, tmp_path)


def test_bodies_ask_for_usage_and_refuse_to_overwrite_the_model() -> None:
    body = request_body(Workload(ignore_eos=True), "m", "hi", continuous_usage=True)
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert body["ignore_eos"] is True
    with pytest.raises(UsageError, match=r"model\.name"):
        request_body(Workload(extra_body={"model": "x"}), "m", "hi", continuous_usage=False)

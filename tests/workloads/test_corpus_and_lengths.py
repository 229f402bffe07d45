"""Tasks of a corpus and mixed lengths have the tokens and the proportions asked for."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from runners.errors import UsageError
from runners.models.tiny import build_pair
from runners.profiles.workload_section import Workload
from runners.workloads.plan import ask
from runners.workloads.prompts import Prompts, make_prompts

MIXED = [
    {"share": 0.7, "input_tokens": 40, "max_tokens": 8},
    {"share": 0.25, "input_tokens": 100},
    {"share": 0.05, "input_tokens": 400, "max_tokens": 100},
]


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pair(tmp_path_factory.mktemp("tiny"), parameters=1_000_000).target


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two files in a folder, and one that is no text."""
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    words = ["river", "town", "bank", "boat", "time", "took", "saw", "its", "the", "and", "not"]
    rng = np.random.default_rng(5)
    for name in ("a.txt", "deep/b.md"):
        sentences = (" ".join(rng.choice(words, 12)).capitalize() + "." for _ in range(300))
        (folder / name).write_text(" ".join(sentences), encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG\xff")
    return folder


def tasks(corpus: Path, api: str = "chat", **keys: Any) -> Workload:
    dataset = {"source": "corpus", "file": str(corpus), **keys.pop("dataset", {})}
    return Workload(kind="dataset", api=api, dataset=dataset, **keys)  # type: ignore[arg-type]


def planned(workload: Workload, count: int, tokenizer: Path | None, seed: int = 0) -> Prompts:
    asked = ask(workload, count, seed)
    return make_prompts(workload, count, seed, tokenizer, lengths=asked.input_tokens)


def lengths(texts: list[str], folder: Path) -> list[int]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def test_tasks_have_the_length_asked_for_instruction_included(
    corpus: Path, tokenizer_dir: Path
) -> None:
    made = planned(tasks(corpus, input_tokens=150), 30, tokenizer_dir)
    assert made.exact
    assert set(lengths(made.texts, tokenizer_dir)) == {150}
    assert len(set(made.texts)) == 30


def test_tasks_come_in_turn_and_the_passage_is_the_users_text(corpus: Path) -> None:
    workload = tasks(corpus, input_tokens=60, dataset={"tasks": ["rewrite", "summarise"]})
    made = planned(workload, 4, None)
    assert [text.split()[0] for text in made.texts] == ["Rewrite", "Summarise"] * 2
    assert ask(workload, 4, 0).labels == ("rewrite", "summarise") * 2
    text = (corpus / "a.txt").read_text() + "\n\n" + (corpus / "deep" / "b.md").read_text()
    for each in made.texts:
        passage = each.partition("\n\n")[2]
        assert passage in text or passage.partition("\n\n")[0] in text
    assert not made.exact
    assert all(abs(len(each) - 240) <= 4 for each in made.texts)


def test_another_seed_asks_about_other_passages(corpus: Path) -> None:
    first, again, other = (planned(tasks(corpus), 5, None, seed).texts for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "a.txt").write_bytes(b"one\ntwo \xff\n"), "a.txt:2: not UTF-8"),
        (lambda folder: [p.unlink() for p in folder.rglob("*.*")], "holds no text"),
        (lambda folder: folder.rename(folder.parent / "away"), "cannot be read"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_told_at_planning(
    damage: Any, says: str, corpus: Path
) -> None:
    damage(corpus)
    with pytest.raises(UsageError, match=says):
        ask(tasks(corpus), 5, 0)


@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_corpus_shorter_than_a_prompt_is_not_repeated(
    tokenizer: bool, corpus: Path, tokenizer_dir: Path
) -> None:
    workload = tasks(corpus / "a.txt", input_tokens=100_000)
    with pytest.raises(UsageError, match="fewer than a prompt needs"):
        planned(workload, 1, tokenizer_dir if tokenizer else None)


def test_a_prompt_shorter_than_its_task_is_refused(corpus: Path, tokenizer_dir: Path) -> None:
    with pytest.raises(UsageError, match="no room for a text"):
        planned(tasks(corpus, input_tokens=3), 1, tokenizer_dir)


def test_mixed_lengths_keep_their_proportions_and_go_with_their_answers(
    tokenizer_dir: Path,
) -> None:
    workload = Workload(max_tokens=16, lengths=MIXED)  # type: ignore[arg-type]
    asked = ask(workload, 300, 0)
    made = planned(workload, 300, tokenizer_dir)
    assert made.exact
    pairs = zip(lengths(made.texts, tokenizer_dir), asked.max_tokens.tolist(), strict=True)
    assert Counter(pairs) == {(40, 8): 210, (100, 16): 75, (400, 100): 15}
    assert asked.labels is not None
    assert set(asked.labels) == {"40 in, 8 out", "100 in, 16 out", "400 in, 100 out"}


def test_proportions_hold_over_any_stretch_and_a_longer_plan_begins_alike() -> None:
    thirds = [{"share": 1 / 3, "input_tokens": size} for size in (10, 20, 30)]
    workload = Workload(lengths=thirds)  # type: ignore[arg-type]
    long, short = (ask(workload, count, 7).input_tokens for count in (1000, 150))
    assert long is not None and short is not None
    assert long[:150].tolist() == short.tolist()
    for begin in range(0, 1000, 100):
        counts = Counter(long[begin : begin + 100].tolist())
        assert sorted(counts) == [10, 20, 30]
        assert all(33 <= count <= 34 for count in counts.values())
    # Not one after the other: neighbours differ by chance, not by plan.
    assert len({tuple(long[at : at + 3].tolist()) for at in range(0, 999, 3)}) > 12


def test_tasks_take_mixed_lengths_too(corpus: Path, tokenizer_dir: Path) -> None:
    workload = tasks(corpus, lengths=MIXED)
    made = planned(workload, 100, tokenizer_dir)
    assert Counter(lengths(made.texts, tokenizer_dir)) == {40: 70, 100: 25, 400: 5}


def test_lengths_that_contradict_themselves_are_refused(corpus: Path) -> None:
    with pytest.raises(ValidationError, match=r"add up to 0\.7"):
        Workload(lengths=MIXED[:1])  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="not both"):
        Workload(lengths=MIXED, input_tokens_stdev=5.0)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="synthetic"):
        Workload(kind="prompts", prompts=["x"], lengths=MIXED)  # type: ignore[arg-type]

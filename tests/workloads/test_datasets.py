"""What is read from a file is what it says, and a fault is one line with its number."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runners.errors import Exit, UsageError
from runners.profiles.workload_section import Workload
from runners.workloads.dataset import read_dataset
from runners.workloads.plan import ask
from runners.workloads.prompts import make_prompts, request_body
from runners.workloads.spec_bench import group_of


def of(source: str, file: Path, api: str = "chat", max_tokens: int = 64, **keys: Any) -> Workload:
    return Workload(
        kind="dataset",
        api=api,
        max_tokens=max_tokens,
        dataset={"source": source, "file": str(file), **keys},  # type: ignore[arg-type]
    )


def rejection(workload: Workload) -> str:
    with pytest.raises(UsageError) as caught:
        ask(workload, 10, 0)
    assert caught.value.exit_code == Exit.USAGE
    line = str(caught.value)
    assert "\n" not in line
    return line


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def spec_bench(shared_dir: Path) -> Path:
    return shared_dir / "data" / "spec_bench" / "question.jsonl"


def test_spec_bench_has_its_categories_and_groups(spec_bench: Path) -> None:
    asked = ask(of("spec-bench", spec_bench), 480, 0)
    assert asked.labels is not None
    found = Counter(asked.labels)
    assert len(found) == 13
    groups = Counter(group_of(label or "") for label in asked.labels)
    assert groups == {
        "multi-turn": 80,
        "translation": 80,
        "summarization": 80,
        "qa": 80,
        "math_reasoning": 80,
        "rag": 80,
    }
    assert asked.turn is None


def test_all_turns_of_spec_bench_follow_their_first(spec_bench: Path) -> None:
    workload = of("spec-bench", spec_bench, turns="all", shuffle_seed=1)
    asked = ask(workload, 560, 0)
    assert asked.turn is not None
    assert int(asked.turn.sum()) == 80
    rows = [json.loads(line) for line in spec_bench.read_text(encoding="utf-8").splitlines()]
    second = {row["turns"][0]: row["turns"][1] for row in rows if len(row["turns"]) == 2}
    texts = make_prompts(workload, 560, 0, None).texts
    for before, text, turn in zip(texts, texts[1:], asked.turn[1:].tolist(), strict=False):
        assert (second.get(before) == text) == (turn == 1)


def test_groups_and_categories_choose_and_unknown_ones_are_named(spec_bench: Path) -> None:
    chosen = of("spec-bench", spec_bench, groups=["qa", "multi-turn"], limit=100)
    assert len(make_prompts(chosen, 1, 0, None).texts) == 100
    writing = ask(of("spec-bench", spec_bench, categories=["writing"]), 20, 0)
    assert set(writing.labels or ()) == {"writing"}
    assert writing.prompt_id.tolist() == [*range(10)] * 2
    line = rejection(of("spec-bench", spec_bench, categories=["writng"]))
    assert "writng" in line and "roleplay" in line


def test_shuffling_keeps_every_entry_and_the_seed_of_the_load_out_of_it(spec_bench: Path) -> None:
    plain = make_prompts(of("spec-bench", spec_bench), 1, 0, None).texts
    first, again = (
        make_prompts(of("spec-bench", spec_bench, shuffle_seed=3), 1, seed, None).texts
        for seed in (0, 1)
    )
    assert first == again != plain
    assert sorted(first) == sorted(plain)


@pytest.mark.parametrize(
    ("damage", "line", "says"),
    [
        (lambda data: data[:300_000], 218, "cut short"),
        (lambda data: data.replace(b'"category": "math"', b'"category": "maths"', 1), 31, "maths"),
        (lambda data: data.replace(b'"turns"', b'"turn"', 1), 1, "turns is missing"),
        (lambda data: data.replace(b"question_id", b"id", 1), 1, "question_id"),
        (lambda data: data[:1000] + b"\xff" + data[1000:], 3, "not UTF-8"),
        (lambda data: b"[" + data, 1, "not JSON"),
        (lambda data: b"5\n" + data, 1, "not a JSON object"),
        (lambda data: b"".join(data.splitlines(keepends=True)[:400]), 400, "400 of"),
        (lambda data: data + data.splitlines()[0], 481, "twice"),
        (lambda data: b"", 1, "0 of"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(
    damage: Any, line: int, says: str, spec_bench: Path, tmp_path: Path
) -> None:
    file = tmp_path / "question.jsonl"
    file.write_bytes(damage(spec_bench.read_bytes()))
    said = rejection(of("spec-bench", file))
    assert said.startswith(f"{file}:{line}: ")
    assert says in said


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    assert "fetch_dataset.py sharegpt" in rejection(of("sharegpt", tmp_path / "none.json"))
    assert "folder" in rejection(of("jsonl", tmp_path))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"prompt": "one"})
    workload = of("jsonl", file)
    assert make_prompts(workload, 1, 0, None).texts == ["one"]
    lines(file, {"prompt": "two"}, {"prompt": "three"})
    assert make_prompts(workload, 1, 0, None).texts == ["two", "three"]


def test_jsonl_takes_names_lengths_and_categories_of_its_own(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "a.jsonl",
        {"question": "one", "output_tokens": 7, "kind": "short"},
        {"question": "two", "kind": "long"},
    )
    names = {"prompt": "question", "max_tokens": "output_tokens", "category": "kind"}
    workload = of("jsonl", file, max_tokens=50, fields=names)
    asked = ask(workload, 3, 0)
    assert asked.max_tokens.tolist() == [7, 50, 7]
    assert asked.labels == ("short", "long")
    chosen = of("jsonl", file, fields=names, categories=["long"])
    assert make_prompts(chosen, 1, 0, None).texts == ["two"]


TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "recorded"},
    {"role": "user", "content": "two"},
    {"role": "assistant", "content": "not sent"},
]


@pytest.mark.parametrize(
    ("turns", "sent"),
    [
        (None, [TALK[:4]]),
        ("recorded", [TALK[:4]]),
        ("first", [TALK[:2]]),
        ("all", [TALK[:2], [TALK[3]]]),
    ],
)
def test_messages_are_sent_as_far_as_turns_says(
    turns: str | None, sent: list[Any], tmp_path: Path
) -> None:
    file = lines(tmp_path / "a.jsonl", {"messages": TALK})
    workload = of("jsonl", file, turns=turns)
    prompts = make_prompts(workload, 1, 0, None)
    bodies = [
        request_body(workload, "m", text, continuous_usage=False, before=before)
        for text, before in zip(prompts.texts, prompts.before, strict=True)
    ]
    assert [body["messages"] for body in bodies] == sent


def test_messages_need_an_api_that_has_them(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"messages": TALK})
    assert "api: chat" in rejection(of("jsonl", file, api="completions"))
    alone = lines(tmp_path / "b.jsonl", {"messages": [TALK[1]]})
    assert ask(of("jsonl", alone, api="completions"), 1, 0).prompt_id.tolist() == [0]
    with pytest.raises(ValidationError, match="needs api chat"):
        of("jsonl", file, api="completions", turns="all")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "x"}, "none of prompt, messages, turns"),
        ({"prompt": "x", "turns": ["y"]}, "prompt and turns"),
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": ["x"]}, "not a text"),
        ({"turns": []}, "turns is empty"),
        ({"turns": ["a", 5]}, "turns[1] is 5"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0] has no role"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no message of the user"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens is 0"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens is True"),
        ({"prompt": "x", "category": 5}, "category is 5"),
    ],
)
def test_a_line_that_asks_nothing_is_told(row: Any, says: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"prompt": "fine"}, row)
    said = rejection(of("jsonl", file))
    assert said.startswith(f"{file}:2: ")
    assert says in said


def test_keys_without_a_meaning_for_the_source_are_refused(tmp_path: Path) -> None:
    odd: list[tuple[str, dict[str, Any]]] = [
        ("sharegpt", {"groups": ["qa"]}),
        ("spec-bench", {"turns": "recorded"}),
        ("jsonl", {"tasks": ["write"]}),
        ("corpus", {"limit": 5}),
    ]
    for source, keys in odd:
        with pytest.raises(ValidationError, match=r"source|recorded"):
            of(source, tmp_path, **keys)
    with pytest.raises(ValidationError, match="go together"):
        Workload(kind="dataset")
    with pytest.raises(ValidationError, match="kind synthetic"):
        Workload(
            kind="dataset",
            dataset={"source": "jsonl", "file": "x"},  # type: ignore[arg-type]
            repetition=0.5,
        )


def share_gpt(*talks: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"id": str(at), "conversations": [{"from": who, "value": text} for who, text in talk]}
        for at, talk in enumerate(talks)
    ]


TALKS = share_gpt(
    [("human", "zero"), ("gpt", "a"), ("human", "one"), ("gpt", "b")],
    [("gpt", "nobody asked")],
    [],
    [("system", "Be kind."), ("human", "two 😀"), ("gpt", "c")],
    [("human", "three"), ("tool", "d")],
)


@pytest.mark.parametrize("indent", [None, 2])
def test_share_gpt_gives_first_turns_and_counts_what_has_none(
    indent: int | None, tmp_path: Path
) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps(TALKS, indent=indent), encoding="utf-8")
    workload = of("sharegpt", file)
    assert workload.dataset is not None
    assert read_dataset(workload.dataset).left_out == 3
    assert make_prompts(workload, 1, 0, None).texts == ["zero", "two 😀"]
    every = make_prompts(of("sharegpt", file, turns="all"), 1, 0, None)
    assert every.texts == ["zero", "one", "two 😀"]
    recorded = make_prompts(of("sharegpt", file, turns="recorded"), 1, 0, None)
    assert recorded.texts == ["one", "two 😀"]
    assert [each["content"] for each in recorded.before[0]] == ["zero", "a"]


def test_share_gpt_is_read_no_further_than_needed_and_across_its_pieces(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    long = share_gpt(*([("human", f"{at} " + "wörter " * 30_000)] for at in range(6)))
    file.write_text(json.dumps(long, ensure_ascii=False)[:-1] + ", oops", encoding="utf-8")
    texts = make_prompts(of("sharegpt", file, limit=6), 1, 0, None).texts
    assert [text.split()[0] for text in texts] == [*"012345"]
    assert "not JSON" in rejection(of("sharegpt", file))


@pytest.mark.parametrize(
    ("damage", "line", "says"),
    [
        (lambda data: data[: data.index(b"nobody")], 28, "cut short"),
        (lambda data: data.rstrip(b"]\n "), 65, "no end"),
        (lambda data: data.replace(b"nobody", b"\xff\xfe"), 28, "not UTF-8"),
        (lambda data: data.replace(b'"from": "gpt"', b'from: "gpt"', 1), 10, "not JSON"),
        (lambda data: data.replace(b"conversations", b"talk", 1), 2, "conversations"),
        (lambda data: b'{"a": [1, 2]}', 1, "conversations"),
        (lambda data: b"[" * 100_000, 1, "not readable JSON"),
        (lambda data: b"[" + b"9" * 5000 + b"]", 1, "not readable JSON"),
        (lambda data: b"prompt,answer\nWhat is a table?,A thing with legs.\n", 1, "not JSON"),
    ],
)
def test_a_damaged_share_gpt_is_told_with_its_line(
    damage: Any, line: int, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.json"
    file.write_bytes(damage(json.dumps(TALKS, indent=2).encode()))
    said = rejection(of("sharegpt", file))
    assert says in said
    assert said.startswith(f"{file}:{line}: ")


def test_long_entries_are_left_out_and_an_empty_choice_is_told(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"prompt": "x" * 100}, {"prompt": "y" * 10})
    assert make_prompts(of("jsonl", file, max_characters=50), 1, 0, None).texts == ["y" * 10]
    assert "2 were left out" in rejection(of("jsonl", file, max_characters=5))

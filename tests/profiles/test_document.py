"""What a YAML text becomes, and the one line for each text that is no profile."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runners.checks.finding import Where
from runners.profiles.document import parse, read_document
from runners.profiles.error import ProfileError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1", "given twice, first in line 1"),
        ("a:\n\tb: 1\n", "2:1", "a tab"),
        ("a: [1,\n", "2:1", "not valid YAML"),
        ("a: b: c\n", "1:5", "needs quotes"),
        ("a: 1\n---\nb: 2\n", "2:1", "second document"),
        ("a: 1\nb: \x00\n", "2:4", "U+0000"),
        ("a: !!python/object/apply:os.system [id]\n", "1:4", "tag"),
        ("a: *nothing\n", "1:4", "no complete anchor"),
        ("a: &a [*a]\n", "1:8", "no complete anchor"),
        ("a: .inf\n", "1:4", "not a finite number"),
        ("a: 1e999\n", "1:4", "not a finite number"),
        (f"a: {'9' * 5000}\n", "1:4", "64 bits"),
        (LAUGHS, "6:15", "counting what aliases repeat"),
    ],
)
def test_a_text_that_cannot_be_used_is_one_line_with_its_place(
    text: str, place: str, says: str
) -> None:
    with pytest.raises(ProfileError, match=re.escape(says)) as caught:
        parse(text, "p.yaml")
    line = str(caught.value)
    assert line.startswith(f"p.yaml:{place}: ")
    assert "\n" not in line


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000, "{a: " * 200_000])
def test_deep_nesting_is_refused_and_does_not_end_the_process(text: str) -> None:
    with pytest.raises(ProfileError, match="nested deeper"):
        parse(text, "p.yaml")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"- a\n- b\n", "is a list"),
        (b"just words\n", "is text"),
        (b"name: x\ndescription: caf\xe9\n", "p.yaml:2:17: the byte 0xE9 is not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)), "0x80 is not UTF-8"),
        (b"a: " + b"x" * 10_000_000, "larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.yaml"
    path.write_bytes(raw)
    with pytest.raises(ProfileError) as caught:
        read_document(path)
    assert says in str(caught.value)


def test_scalars_read_as_people_mean_them() -> None:
    text = """
    rate: 1e3
    leading: 010
    date: 2026-01-31
    clock: 1:30
    quoted: "0.32"
    tagged: !!str 5
    on: off
    50256: -100
    nothing:
    """
    root = parse(text, "p.yaml")
    assert root is not None
    assert root.plain() == {
        "rate": 1000.0,
        "leading": 10,
        "date": "2026-01-31",
        "clock": "1:30",
        "quoted": "0.32",
        "tagged": "5",
        "on": False,
        "50256": -100,
        "nothing": None,
    }


def test_anchors_and_merge_keys() -> None:
    root = parse("base: &b {x: 1, y: 1}\nuse:\n  <<: *b\n  y: 2\n", "p.yaml")
    assert root is not None
    assert root.plain()["use"] == {"x": 1, "y": 2}


def test_every_value_knows_where_its_key_and_itself_were_written() -> None:
    root = parse("load:\n  rate:   5\n", "p.yaml")
    rate = root.get("load", "rate") if root else None
    assert rate is not None
    assert (rate.key_where, rate.where) == (Where("p.yaml", 2, 3), Where("p.yaml", 2, 11))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text("abc: #-{}[]&*!|>'\"\n\té"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_plain_trees_that_pyyaml_writes_are_read_back(tree: object) -> None:
    root = parse(yaml.safe_dump(tree), "p.yaml")
    assert (root.plain() if root else None) == tree


@given(st.text() | st.text("ab:-? \n\t[]{}&*!|>'\"%@`,#~<0.1e"))
def test_any_text_is_read_or_rejected(text: str) -> None:
    try:
        parse(text, "p.yaml")
    except ProfileError as error:
        assert str(error).startswith("p.yaml:")

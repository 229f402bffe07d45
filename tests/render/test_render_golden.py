"""What each case becomes, line by line. UPDATE_GOLDEN=1 writes the files anew: read the diff."""

import difflib
import os
from pathlib import Path

import pytest

from runners.render import render, to_yaml
from tests.render.cases import CASES, FOLDER, RUN, profile_of

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    objects = render(profile_of(case), RUN, FOLDER)
    text = "".join(f"---\n# {file}\n{to_yaml(each)}" for file, each in objects.items())
    path = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    was = path.read_text(encoding="utf-8") if path.is_file() else ""
    changes = difflib.unified_diff(was.splitlines(), text.splitlines(), "golden", "now", "", "", 2)
    assert text == was, "\n".join(["UPDATE_GOLDEN=1 accepts this:", *changes])


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)

"""The files that editors and readers use say what the model says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runners.export import export
from runners.profiles.document import read_document
from runners.profiles.load import ProfileError, list_profiles, load_profile
from runners.profiles.reference import page
from runners.profiles.schema import editor_schema, every_key, property_at

DOCS = Path(__file__).resolve().parents[2] / "docs"
CHECKER = jsonschema.Draft202012Validator(editor_schema())


def test_the_files_in_docs_are_those_of_the_model() -> None:
    schema = json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"
    assert export(DOCS, {"profile.schema.json": schema, "profiles.md": page()}, check=True) == 0


def test_a_changed_file_is_noticed_and_written_again(tmp_path: Path) -> None:
    generated = {"page.md": "as it should be"}
    assert export(tmp_path, generated, check=True) == 1
    assert export(tmp_path, generated) == 0
    (tmp_path / "page.md").write_text("as somebody left it")
    assert export(tmp_path, generated, check=True) == 1


@pytest.mark.parametrize("row", list_profiles(), ids=lambda row: row.name)
def test_an_editor_accepts_every_shipped_profile(row: Any) -> None:
    CHECKER.validate(read_document(row.path).plain())


@pytest.mark.parametrize(
    "text",
    [
        {"name": "x"},
        {"name": "x", "model": {"uri": "y"}, "lod": {}},
        {"name": "x", "model": {"uri": "y"}, "load": {"concurrency": 0}},
        {"name": "x", "extends": "standard", "target": "cloud"},
    ],
)
def test_an_editor_marks_what_the_loader_rejects(text: dict[str, Any], tmp_path: Path) -> None:
    assert not CHECKER.is_valid(text)
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps(text))
    with pytest.raises(ProfileError, match=r"p\.yaml:1"):
        load_profile(path)


def test_every_key_is_described() -> None:
    bare = [key for key in every_key() if not (property_at(key) or {}).get("description")]
    assert [key for key in bare if "$ref" not in (property_at(key) or {})] == []

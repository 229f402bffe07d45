"""A dataset in a profile: where its file lies, what the validator says, what ends a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from runners.checks.check import check
from runners.cli.main import main
from runners.errors import Exit
from runners.profiles.load import dump, load_profile

PROFILE = """
name: mine
target: {target}
model: {{uri: hf://a/b}}
engine: {{args: {{max_model_len: 1000}}}}
load: {{concurrency: 1, requests: 50}}
workload:
  kind: dataset
  max_tokens: 100
  dataset: {{source: {source}, file: {file}{more}}}
"""


def write(
    folder: Path,
    file: str,
    rows: Any = None,
    source: str = "jsonl",
    target: str = "kserve",
    more: str = "",
) -> Path:
    if rows is not None:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / file).write_text(lines, encoding="utf-8")
    path = folder / "p.yaml"
    path.write_text(PROFILE.format(target=target, source=source, file=file, more=more))
    return path


def test_a_file_lies_beside_the_profile_wherever_the_command_starts(tmp_path: Path) -> None:
    place = write(tmp_path, "q.jsonl", [{"prompt": "one"}])
    loaded = load_profile(place)
    dataset = loaded.profile.workload.dataset
    assert dataset is not None and dataset.file == str(tmp_path / "q.jsonl")
    again = tmp_path / "elsewhere"
    again.mkdir()
    (again / "resolved.yaml").write_text(dump(loaded.profile))
    assert load_profile(again / "resolved.yaml").profile == loaded.profile
    (tmp_path / "texts").mkdir()
    corpus = load_profile(write(tmp_path, "texts", source="corpus")).profile.workload.dataset
    assert corpus is not None and corpus.file == str(tmp_path / "texts")


def rules(place: Path) -> dict[str, str]:
    return {finding.rule: finding.line() for finding in check(load_profile(place))}


def test_the_validator_knows_the_longest_question_and_how_many_there_are(tmp_path: Path) -> None:
    short = [{"prompt": f"{at} short"} for at in range(50)]
    assert not {name for name in rules(write(tmp_path, "a.jsonl", short)) if "length" in name}
    long = [*short[:10], {"prompt": "long " * 1000}]
    said = rules(write(tmp_path, "b.jsonl", long))
    assert "1250 tokens" in said["length.request-too-long"]
    assert "50 requests ask 11 prompts" in said["benchmark.repeated-prompts"]
    fewer = rules(write(tmp_path, "b.jsonl", more=", max_characters: 100"))
    assert "length.request-too-long" not in fewer
    # Two answers of 100 tokens come on top of the third turn.
    talk = [{"turns": ["x" * 1200] * 3}]
    told = rules(write(tmp_path, "c.jsonl", talk, more=", turns: all"))
    assert "1100" in told["length.request-too-long"]


def test_made_up_prompts_are_remarked_and_real_ones_are_not(tmp_path: Path) -> None:
    place = write(tmp_path, "a.jsonl", [{"prompt": "one"}, {"prompt": "two"}])
    method = "{method: ngram, num_speculative_tokens: 3}"
    drafting = place.read_text().replace("1000", f"1000, speculative_config: {method}")
    place.write_text(drafting)
    assert "speculation.made-up-prompts" not in rules(place)
    begin = drafting.index("  kind:")
    place.write_text(drafting[:begin] + "  max_tokens: 100\n")
    assert "dataset" in rules(place)["speculation.made-up-prompts"]


@pytest.mark.parametrize(
    ("file", "says"),
    [("none.jsonl", "cannot be read"), ("p.yaml", "p.yaml:2: not JSON")],
)
def test_a_file_that_cannot_be_asked_ends_a_run_before_it_begins(
    file: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path, file, target="simulator")
    out = tmp_path / "runs"
    assert main(["--profile", str(place), "--out", str(out), "--quiet"]) == Exit.USAGE
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1 and says in errors[0]

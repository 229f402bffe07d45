"""The page that people find the messages in."""

from pathlib import Path

from runners.cluster.causes import CAUSES

ROOT = Path(__file__).resolve().parents[2]


def test_every_cause_is_in_the_manual() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for cause in CAUSES.values():
        assert f"### {cause.title}\n\n> {cause.message}; {cause.way_out}\n" in page

"""The report of a comparison: the verdicts first, then what they rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.errors import UsageError
from runners.experiments.sides import Side
from runners.reports.comparison_data import ReadSide, read_runs
from runners.reports.comparison_plots import forest_figure, paired_figures
from runners.reports.comparison_sections import Pair, conclusion, pairs_of, statuses_text
from runners.reports.differences import Diff, diffs_of
from runners.reports.overlay import overlay_figures
from runners.reports.page import render_page
from runners.reports.plots import Figure
from runners.rundir import RunDirectory


@dataclass(frozen=True)
class Told:
    """A comparison as comparison.html.j2 shows it. pairs: with its forest plot and diffs.

    sides: (name, colour, what it is).
    """

    baseline: str
    conclusion: str
    correction: str
    pairs: Sequence[tuple[Pair, Figure, Sequence[Diff]]]
    sides: Sequence[tuple[str, str, str]]
    overlays: Sequence[Figure]
    rounds: Sequence[Figure]

    @property
    def figures(self) -> list[Figure]:
        return [*(forest for _, forest, _ in self.pairs), *self.overlays, *self.rounds]


def write_comparison(comparison: Mapping[str, Any], sides: Sequence[Side], out: Path) -> Path:
    """Make `out/<time>-comparison-<id>/` with comparison.json and report.html; the latter's path.

    comparison.json keeps where the runs lie, so that the report can be written again while
    they are there. Raises OutputError.
    """
    folders = {side.name: side.folder for side in sides if side.folder is not None}
    kept = [
        {**side, "folder": str(folders[side["name"]].absolute())}
        if side["name"] in folders
        else dict(side)
        for side in comparison["sides"]
    ]
    place = RunDirectory.create(out, "comparison")
    place.logs.rmdir()
    place.write_json("comparison.json", {**comparison, "sides": kept})
    return write_comparison_report(place)


def write_comparison_report(place: RunDirectory) -> Path:
    """report.html of a directory with a comparison.json. Raises UsageError, OutputError."""
    comparison = place.read_json("comparison.json")
    if not isinstance(comparison, Mapping):
        raise UsageError(f"{place.path} has no comparison.json; compare_runs.py --out writes one")
    told = tell(comparison, folders_of(comparison))
    page = render_page(
        "comparison.html.j2",
        told.figures,
        comparison=comparison,
        told=told,
        name=place.run_id,
    )
    return place.write_text("report.html", page)


def folders_of(comparison: Mapping[str, Any]) -> dict[str, Path]:
    return {side["name"]: Path(side["folder"]) for side in comparison["sides"] if "folder" in side}


def tell(comparison: Mapping[str, Any], folders: Mapping[str, Path]) -> Told:
    """folders: side → the directory its runs lie in; figures of those that are gone are empty."""
    sides = read_runs(comparison, folders)
    by_name = {side.name: side for side in sides}
    pairs = []
    for number, (raw, pair) in enumerate(
        zip(comparison["comparisons"], pairs_of(comparison), strict=True), 1
    ):
        both: tuple[ReadSide, ReadSide] = (by_name[pair.baseline], by_name[pair.side])
        pairs.append((pair, forest_figure(raw, f"forest-{number}"), diffs_of(*both)))
    return Told(
        comparison["baseline"],
        conclusion(comparison),
        comparison["statistics"]["correction"],
        pairs,
        [
            (name, side.colour, text)
            for side, (name, text) in zip(sides, statuses_text(comparison), strict=True)
        ],
        overlay_figures(sides),
        paired_figures(sides),
    )

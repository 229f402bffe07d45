"""Reports in a real browser: they draw, they load nothing, and everyone can read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.errors import UsageError
from runners.reports.browser import Page, opened
from runners.reports.figures import export_figures
from runners.reports.group_html import write_group_report
from runners.reports.html import write_report
from runners.rundir import RunDirectory
from tests.reports.synthetic_group import write_compared, write_find_max
from tests.reports.synthetic_run import MakeRun, write_run

DRAWN = """
[...document.querySelectorAll(".plot")].map(place => ({
  name: place.id.slice(5),
  lines: place.querySelectorAll(".trace, .bars .point, .xaxislayer-above").length,
}))
"""
# Everything that says something: its box against the box that may show it.
CUT_OFF = """
(() => {
  const found = [];
  const check = (element, left, right) => {
    const box = element.getBoundingClientRect();
    const text = element.textContent.trim();
    if (text && box.width && (box.left < left - 1 || box.right > right + 1))
      found.push(`${element.tagName} ${text.slice(0, 60)}: ${box.left}-${box.right}`);
  };
  for (const element of document.querySelectorAll("h1,h2,h3,h4,p,li,dt,dd,pre,td,th,code"))
    if (!element.closest(".scroll, .plot")) check(element, 0, innerWidth);
  for (const place of document.querySelectorAll(".plot")) {
    const box = place.getBoundingClientRect();
    for (const text of place.querySelectorAll("text")) check(text, box.left, box.right);
  }
  return found;
})()
"""
FOCUSED = """
(() => {
  const element = document.activeElement;
  const place = element.closest(".plot");
  return element === document.body ? null
    : (place ? place.id : "") + "|" + (element.getAttribute("aria-label") || element.textContent);
})()
"""
# Figures follow a new width a moment later; they are waited for, three seconds at most.
REDRAWN = """
new Promise(done => {
  const fits = () => [...document.querySelectorAll(".plot")].every(place =>
    Math.abs(place.querySelector(".main-svg").getBoundingClientRect().width
      - place.getBoundingClientRect().width) < 2);
  const end = performance.now() + 3000;
  const look = () => fits() || performance.now() > end ? done() : requestAnimationFrame(look);
  look();
})
"""
CONTROLS = """
[...document.querySelectorAll("a[href], button, .scroll")]
  .filter(element => element.offsetParent !== null || element.closest("svg")).length
"""


@pytest.fixture(scope="module", params=["run", "comparison", "find-max"])
def page(
    request: pytest.FixtureRequest, browser: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """A report, opened."""
    folder = tmp_path_factory.mktemp("reports")
    if request.param == "run":
        path = write_report(_with_a_late_percentile(folder))
    elif request.param == "comparison":
        path = write_compared(folder) / "report.html"
    else:
        path = write_group_report(write_find_max(folder))
    with opened(path, 1200) as page:
        yield page


def _with_a_late_percentile(folder: Path) -> RunDirectory:
    """A run whose 99th percentile lies at the right edge of its figure."""
    run = write_run(folder, model="<script>alert(1)</script>")
    results = run.read_json("results.json")
    latency = results["metrics"]["e2e_latency_ms"]
    latency["p99"] = {"value": latency["max"], "low": None, "high": None}
    run.write_json("results.json", results)
    return run


def test_it_is_drawn_without_complaint_or_request(page: Page) -> None:
    wanted = page.evaluate("JSON.parse(document.getElementById('drawings').text).map(d => d.name)")
    drawn: list[dict[str, Any]] = page.evaluate(DRAWN)
    assert sorted(each["name"] for each in drawn) == sorted(wanted)
    assert [each["name"] for each in drawn if not each["lines"]] == []
    assert page.call("Page.printToPDF")["data"]
    assert page.complaints == []
    assert page.requested == []


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_is_cut_off(page: Page, width: int) -> None:
    page.resize(width, 900)
    page.evaluate(REDRAWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []


def test_paper_is_wide_enough(page: Page) -> None:
    page.resize(680, 900)
    page.call("Emulation.setEmulatedMedia", media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.settle()
    wide = "[...document.querySelectorAll('html, .scroll')].map(e => e.scrollWidth)"
    try:
        assert max(page.evaluate(wide)) <= 680
    finally:
        page.call("Emulation.setEmulatedMedia", media="")
        page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_the_keyboard_reaches_every_control(page: Page) -> None:
    count = page.evaluate(CONTROLS)
    assert count > 3
    reached: set[str | None] = set()
    key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    for _ in range(3 * count):
        page.call("Input.dispatchKeyEvent", type="keyDown", **key)
        page.call("Input.dispatchKeyEvent", type="keyUp", **key)
        if (focused := page.evaluate(FOCUSED)) is None and reached:
            break
        reached.add(focused)
    wanted = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map(e => '|' + e.getAttribute('aria-label'))"
    )
    assert set(wanted) <= reached
    plots = page.evaluate("[...document.querySelectorAll('.plot')].map(e => e.id)")
    assert {name.partition("|")[0] for name in reached if name} >= set(plots)


def test_dark_is_dark_and_figures_too(make_run: MakeRun, browser: None) -> None:
    path = write_report(make_run())
    ink = "getComputedStyle(document.querySelector('#plot-ttft .xtick text')).fill"
    colours = []
    for dark in (False, True):
        with opened(path, dark=dark) as page:
            colours.append(
                (page.evaluate("getComputedStyle(document.body).color"), page.evaluate(ink))
            )
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_figures_become_files(make_run: MakeRun, browser: None, tmp_path: Path, kind: Any) -> None:
    written = export_figures(write_report(make_run()), kind, tmp_path / "figures")
    assert {path.name for path in written} >= {f"ttft.{kind}", f"timeline.{kind}"}
    start = b"\x89PNG" if kind == "png" else b"<svg"
    assert all(path.read_bytes().startswith(start) for path in written)


def test_without_a_browser_it_says_what_to_install(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(make_run())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt install chromium"):
        export_figures(path, "png", tmp_path / "figures")

"""`scratchpipe report`: one page that needs nothing else, used in headless Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, MISSING, Browser

from simulator.cli import main
from simulator.figures.page import render_report
from simulator.figures.report_data import as_script
from simulator.results.reading import read_run

LIBRARY = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"
"""SHA-256 of the library as it was released."""
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
CHARTS = ("bars-chart", "stages-chart", "timeline-chart", "curve-iteration_time_us")


@pytest.fixture(scope="module")
def file(small_run: Path) -> Path:
    target = small_run.parent / "report.html"
    with pytest.raises(SystemExit) as ended:
        main(["report", str(small_run), "--out", str(target)])
    assert not ended.value.code
    return target


@pytest.fixture(scope="module")
def page(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as driven:
        yield driven


def _body(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_nothing_is_fetched_and_the_page_is_small(page: str) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]*)"', _body(page))
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"<script[^>]+src", page)
    assert "@import" not in _body(page)
    assert not re.findall(r"url\((?!#)", _body(page))
    assert len(page) < 2_000_000


def test_the_library_is_as_released() -> None:
    from simulator.figures import page as module

    assert hashlib.sha256(module._LIBRARY.read_bytes()).hexdigest() == LIBRARY
    assert (module._LIBRARY.parent / "LICENSE").is_file()


def test_text_of_the_experiment_is_escaped(page: str) -> None:
    assert "two localities &lt;&amp;&gt;" in page
    assert "<&>" not in _body(page)
    hostile = {"</script><b>": "\u2028&"}
    assert "<" not in as_script(hostile)
    assert json.loads(as_script(hostile)) == hostile


def test_the_header_says_where_the_numbers_are_from(page: str) -> None:
    text = unescape(page)
    head = text[: text.index("<nav")]
    assert "platform v100_p3: not calibrated: numbers are data-sheet or assumed" in head
    for fact in ("v100_p3", "default*", "paper", "random, high", "scratchpipe run", "UTC"):
        assert fact in head


def test_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', _body(page))
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', _body(page))) <= set(ids)


def test_downloads_hold_the_data(page: str) -> None:
    links = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', page)
    texts = {name: base64.b64decode(data).decode() for name, data in links}
    assert set(texts) == {"metrics.csv", "stages.csv", "devices.csv", "manifest.json"}
    assert json.loads(texts["manifest.json"])["name"] == "small"
    assert len(texts["metrics.csv"].splitlines()) == 1 + 8


def test_the_resolved_configuration_and_its_sources_are_on_the_page(page: str) -> None:
    text = unescape(page)
    assert '"rows_per_table"' in text
    assert "v100_p3: cpu: Intel Xeon E5-2698 v4" in text
    assert "Intel ARK; LazyDP (same lab) names this CPU" in _body(text)


def test_the_same_run_gives_the_same_page(small_run: Path, page: str) -> None:
    assert render_report(read_run(small_run)) == page


def test_a_timeline_that_lacks_a_row_is_drawn_as_far_as_it_goes(small_run: Path) -> None:
    import pandas as pd

    from simulator.figures.runs import pipelines

    run = read_run(small_run)
    timeline, metrics = pd.DataFrame(run.timeline()), pd.DataFrame(run.metrics())
    middle = int(timeline["batch"].max()) // 2
    gone = (timeline["batch"] == middle) & (timeline["stage"] == timeline["stage"].iloc[0])
    assert gone.any()
    assert pipelines(timeline[~gone], metrics) is not None


def test_a_folder_that_is_no_run_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    assert ended.value.code == 2
    assert "is no run directory" in capsys.readouterr().err


OUTSIDE = """[...document.querySelectorAll("main *")].filter(e =>
  !e.closest(".scroll, .chart, pre, .spoken, [hidden], details") &&
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => e.outerHTML)"""
ROWS = "document.querySelectorAll('#points-table tbody tr').length"
COLUMN = (
    "[...document.querySelectorAll('#points-table tbody tr')].map(r => r.children[{n}].textContent)"
)


@needs_chromium
@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_every_chart_is_seen_and_nothing_overflows(
    browser: Browser, file: Path, width: int, dark: bool
) -> None:
    browser.open(file, width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OUTSIDE) == []
    for chart in CHARTS:
        wide, high, drawn = browser.run(
            f"(() => {{ const e = document.querySelector('#{chart} svg'), b ="
            "e.getBoundingClientRect(); return [b.width, b.height, "
            "e.querySelectorAll('path, rect').length]; })()"
        )
        assert (wide > 250, high > 100, drawn > 10) == (True, True, True), chart
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 27)" if dark else "rgb(246, 247, 249)")
    white = browser.run(
        "[...document.querySelectorAll('main *')].filter(e => "
        "getComputedStyle(e).backgroundColor === 'rgb(255, 255, 255)').length"
    )
    assert (white == 0) == dark
    assert browser.log == []


@needs_chromium
def test_filters_choose_points_everywhere_and_in_the_address(browser: Browser, file: Path) -> None:
    browser.open(file)
    assert browser.run(ROWS) == 8
    browser.click("input[data-dim=label][value=hybrid]")
    browser.click("input[data-dim=locality][value=random]")
    assert browser.run(ROWS) == 3
    assert browser.run("document.getElementById('count').textContent") == "3 of 8 points"
    assert "Hybrid" not in browser.run("document.querySelector('#bars-chart svg').textContent")
    address = browser.run("location.hash")
    assert address == "#-label=hybrid&-locality=random"
    browser.open(file, at=address[1:])
    assert browser.run(ROWS) == 3
    browser.click("button[data-all=label][value=none]")
    assert browser.run(ROWS) == 0
    assert browser.run("document.getElementById('nothing').hidden") is False
    browser.click("button[data-all=label][value=all]")
    assert browser.run(ROWS) == 4
    assert browser.log == []


@needs_chromium
def test_headings_sort_by_mouse_and_keyboard(browser: Browser, file: Path) -> None:
    browser.open(file)
    at = browser.run(
        "[...document.querySelectorAll('#points-table thead button')]"
        ".findIndex(b => b.dataset.sort === 'iteration_time_us')"
    )
    browser.click("[data-sort=iteration_time_us]")
    upwards = [float(text) for text in browser.run(COLUMN.format(n=at))]
    assert upwards == sorted(upwards)
    browser.press("Enter", "\r")
    downwards = [float(text) for text in browser.run(COLUMN.format(n=at))]
    assert downwards == sorted(upwards, reverse=True)
    heading = "document.querySelector('[data-sort=iteration_time_us]').closest('th')"
    assert browser.run(f"{heading}.ariaSort") == "descending"
    assert browser.log == []


@needs_chromium
def test_help_shows_the_meaning_of_columns_and_the_source_of_resources(
    browser: Browser, file: Path
) -> None:
    browser.open(file)
    browser.hover(*browser.middle_of("[data-sort=lookup_hit_rate]"))
    tip = "document.getElementById('tip')"
    meaning = "Share of lookups whose row was in the GPU cache"
    browser.wait_for(f"{tip}.textContent.includes('{meaning}')")
    assert browser.run(f"{tip}.hidden") is False
    browser.run("document.querySelector('#resources-table thead th:nth-child(2)').focus()")
    browser.wait_for(f"{tip}.textContent.includes('4 channels of DDR4-2400; mapping: Pessl')")
    assert browser.log == []


@needs_chromium
def test_hovering_and_arrow_keys_tell_values(browser: Browser, file: Path) -> None:
    browser.open(file)
    bar = "#bars-chart svg path[fill='#0072B2' i]"
    browser.hover(*browser.middle_of(bar))
    browser.wait_for("document.querySelector('#bars-chart').textContent.includes('bottleneck')")
    browser.run("document.querySelector('#bars-chart').focus()")
    browser.press("ArrowRight")
    assert re.fullmatch(
        r"Hybrid CPU-GPU, Hybrid CPU-GPU, random: [\d.]+",
        browser.run("document.getElementById('spoken').textContent"),
    )
    assert browser.log == []


@needs_chromium
def test_the_timeline_zooms_and_changes_its_point(browser: Browser, file: Path) -> None:
    browser.open(file)
    drawn = "document.querySelector('#timeline-chart svg').innerHTML"
    browser.run(f"void (window.before = {drawn})")
    browser.click("#timeline [data-key='+']")
    browser.wait_for(f"{drawn} !== window.before")
    browser.run(f"void (window.before = {drawn})")
    browser.run("document.querySelector('#timeline-chart').focus()")
    browser.press("ArrowRight")
    browser.wait_for(f"{drawn} !== window.before")
    browser.run(
        "(() => { const s = document.getElementById('timeline-point'); s.value = '3';"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    text = browser.run("document.querySelector('#timeline-chart svg').textContent")
    assert "Plan" in text
    assert "GB/s" in text
    assert "point=3" in browser.run("location.hash")
    assert browser.log == []


@needs_chromium
def test_curves_follow_the_column_that_is_chosen(browser: Browser, file: Path) -> None:
    browser.open(file)
    options = browser.run("[...document.getElementById('x').options].map(o => o.value)")
    assert "locality" in options
    headings = browser.run(
        "[...document.querySelectorAll('#curves figure:not([hidden]) figcaption')]"
        ".map(e => e.textContent)"
    )
    assert headings == [
        "Iteration time (ms)",
        "Speed-up over hybrid",
        "Lookup hits (%)",
        "Energy of a mini-batch (J)",
    ]


@needs_chromium
def test_no_two_series_of_a_chart_look_the_same(browser: Browser, file: Path) -> None:
    browser.open(file)
    pairs = browser.run(
        "['bars-chart', 'stages-chart'].map(id => echarts.getInstanceByDom("
        "document.getElementById(id)).getOption().series.filter(s => s.type === 'bar')"
        ".map(s => s.itemStyle.color + JSON.stringify(s.itemStyle.decal)))"
    )
    lines = browser.run(
        "echarts.getInstanceByDom(document.getElementById('curve-iteration_time_us'))"
        ".getOption().series.map(s => s.lineStyle.color + JSON.stringify(s.lineStyle.type))"
    )
    for looks in (*pairs, lines):
        assert len(looks) > 3
        assert len(set(looks)) == len(looks)


@needs_chromium
@pytest.mark.parametrize("width", [375, 1280])
def test_a_legend_shows_all_of_its_names_above_the_chart(
    browser: Browser, file: Path, width: int
) -> None:
    browser.open(file, width)
    for chart in ("bars-chart", "stages-chart", "curve-iteration_time_us"):
        named = f"document.getElementById({chart!r})"
        wanted = browser.run(
            f"echarts.getInstanceByDom({named}).getOption().series.map(s => s.name).filter(Boolean)"
        )
        places = browser.run(
            f"[...{named}.querySelectorAll('svg text')].map(e => "
            "[e.textContent, e.getBoundingClientRect().bottom])"
        )
        frame = browser.run(
            f"(() => {{ const c = echarts.getInstanceByDom({named});"
            f"return {named}.getBoundingClientRect().top + "
            "c.getModel().getComponent('grid').coordinateSystem.getRect().y; })()"
        )
        for name in wanted:
            (bottom, *_) = [bottom for text, bottom in places if text == name]
            assert bottom <= frame + 1, (chart, name)

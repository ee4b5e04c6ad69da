"""`scratchpipe report`: one page that needs nothing else, looked at in headless Chromium."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from simulator.cli import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
FIGURES = ["iteration_time", "stages", "resources", "pipeline"]
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs the Debian package chromium (apt-get install chromium)"
)


@pytest.fixture(scope="module")
def page(small_run: Path) -> str:
    target = small_run.parent / "report.html"
    with pytest.raises(SystemExit) as ended:
        main(["report", str(small_run), "--out", str(target)])
    assert not ended.value.code
    return target.read_text(encoding="utf-8")


def test_nothing_is_fetched(page: str) -> None:
    body = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    addresses = re.findall(r'(?:href|src)="([^"]*)"', body)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "@import" not in page
    assert "<script" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_text_of_the_experiment_is_escaped(page: str) -> None:
    assert "two localities &lt;&amp;&gt;" in page
    assert "<&>" not in page


def test_the_page_says_how_far_to_trust_its_platforms(page: str) -> None:
    assert "platform v100_p3: not calibrated: numbers are data-sheet or assumed" in page


def test_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert set(targets) <= set(ids)


def test_downloads_hold_the_data(page: str) -> None:
    links = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', page)
    names = [name for name, _ in links]
    assert {f"{name}.csv" for name in FIGURES} <= set(names)
    assert {f"{name}.svg" for name in FIGURES} <= set(names)
    texts = {name: base64.b64decode(data).decode() for name, data in links}
    assert json.loads(texts["manifest.json"])["name"] == "small"
    assert len(texts["results.csv"].splitlines()) == 1 + 8


def test_the_resolved_configuration_is_on_the_page(page: str) -> None:
    text = unescape(page)
    assert '"rows_per_table"' in text
    assert "Intel Xeon E5-2698 v4" in text
    assert "paper operators" in text


def test_the_same_run_gives_the_same_page(small_run: Path, page: str) -> None:
    from simulator.figures.page import render_report
    from simulator.results.reading import read_run

    assert render_report(read_run(small_run)) == page


def test_a_timeline_that_lacks_a_row_is_drawn_as_far_as_it_goes(small_run: Path) -> None:
    import pandas as pd

    from simulator.figures.runs import pipelines
    from simulator.results.reading import read_run

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


PROBE = """
<body style="margin:0"><iframe id="frame" style="width:WIDTHpx;height:900px;border:0"></iframe>
<pre id="probe"></pre><script>
const frame = document.getElementById("frame");
frame.srcdoc = new TextDecoder().decode(Uint8Array.from(atob("PAGE"), c => c.charCodeAt(0)));
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const box = e => e.getBoundingClientRect();
  const out = [...page.querySelectorAll("main *")].filter(e =>
    !e.closest(".scroll, .picture, pre") && box(e).right > root.clientWidth + 1);
  const seen = [...page.querySelectorAll(".picture svg")].map(e => {
    const paths = [...e.querySelectorAll("path, use")].filter(p => box(p).width > 0);
    return [box(e).width, box(e).height, paths.length];
  });
  document.getElementById("probe").textContent = JSON.stringify({
    width: root.clientWidth, scroll: root.scrollWidth, figures: seen,
    overflow: out.map(e => e.tagName), background: getComputedStyle(page.body).backgroundColor,
  });
};
</script></body>
"""


def _look(page: str, width: int, folder: Path, *more: str) -> tuple[dict[str, Any], str]:
    """What the page is like in a frame of `width` pixels, and what the browser logged."""
    encoded = base64.b64encode(page.encode()).decode()
    file = folder / f"probe{width}.html"
    file.write_text(PROBE.replace("WIDTH", str(width)).replace("PAGE", encoded))
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            *more,
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1600,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    found = re.search(r'<pre id="probe">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(unescape(found.group(1))), done.stderr


@needs_chromium
@pytest.mark.parametrize("width", [360, 1440])
def test_every_figure_is_seen_and_nothing_overflows(page: str, width: int, tmp_path: Path) -> None:
    seen, log = _look(page, width, tmp_path)
    assert seen["width"] in range(width - 20, width + 1)
    assert seen["scroll"] <= seen["width"]
    assert seen["overflow"] == []
    assert len(seen["figures"]) == len(FIGURES)
    for wide, high, paths in seen["figures"]:
        assert wide >= 200
        assert high >= 100
        assert paths >= 10
    assert "CONSOLE" not in log


@needs_chromium
def test_dark_where_the_reader_wants_it(page: str, tmp_path: Path) -> None:
    light, _ = _look(page, 1440, tmp_path)
    dark, _ = _look(page, 1440, tmp_path, "--force-dark-mode")
    assert light["background"] == "rgb(246, 247, 249)"
    assert dark["background"] == "rgb(20, 23, 27)"

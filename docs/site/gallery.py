"""The gallery: every study with its command, what it shows, and its picture where one ships.

`python docs/site/gallery.py FIGURES [STUDY ...]` reproduces the studies into FIGURES (points that
are there are taken) and makes of each the picture that ships: one of its own figures, as wide as a
page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from simulator.studies import Study, find_studies

DOCS = Path(__file__).parents[1]
GALLERY = DOCS / "gallery"
WIDTH = 1000
"""Pixels of a picture, at most."""
_SHOWS = re.compile(r"## What it shows\n\n(.*?)\n\n", re.DOTALL)
_FIGURES = {
    "headline": "speedup_over_hybrid",
    "stages": "pipeline",
    "window": "stale_reads",
    "scratchpad": "speed",
    "rivals": "servers",
    "memory_path": "tiers",
    "mlperf": "stages",
}
"""Which figure stands for a study; of others that of their name."""


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of the page."""
    text = (
        "# Gallery of studies\n\nAll of them: `scratchpipe reproduce all --jobs 2 --out figures`;"
    )
    text += " each writes its figures as PDF, SVG and PNG with their data.\n"
    for study in find_studies(["all"]):
        readme = (study.folder / "README.md").read_text(encoding="utf-8")
        shows = _SHOWS.search(readme)
        text += f"\n## [{study.expected.title}](studies/{study.folder.name}.md)\n\n"
        text += f"```text\n$ scratchpipe reproduce {study.name} --out figures\n```\n\n"
        text += f"{shows[1] if shows else ''}\n"
        if any(picture.stem == study.name for picture in pictures()):
            text += f"\n![{study.expected.title}]({study.name}.png)\n"
    yield "gallery", text


def pictures() -> tuple[Path, ...]:
    """Pictures of studies that ship, each called as its study."""
    return (DOCS / "breakdown.png", *sorted(GALLERY.glob("*.png")))


def figure_of(study: Study, figures: Path) -> Path:
    """The figure that stands for a study, in a folder that `reproduce` wrote.

    Raises `FileNotFoundError` where it has none of that name.
    """
    file = figures / study.folder.name / f"{_FIGURES.get(study.name, study.name)}.png"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: the study {study.name} drew no such figure")
    return file


def draw(study: Study, figures: Path, folder: Path = GALLERY) -> Path:
    """Make the picture of a study out of its figure."""
    from PIL import Image

    with Image.open(figure_of(study, figures)) as figure:
        width = min(WIDTH, figure.width)
        height = round(figure.height * width / figure.width)
        picture = figure.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    target = folder / f"{study.name}.png"
    flat = picture.quantize(256, dither=Image.Dither.NONE)
    flat.save(target, optimize=True)
    return target


def main(figures: str, *names: str) -> None:
    """Reproduce the studies called `names` (all without any) and draw their pictures."""
    from simulator.cli import main as scratchpipe

    studies = find_studies(names or ["all"])
    try:
        scratchpipe(["reproduce", *(study.name for study in studies), "--out", figures])
    except SystemExit as ended:
        if ended.code:
            raise
    for study in studies:  # that of `breakdown` is the README's, too
        print(draw(study, Path(figures), DOCS if study.name == "breakdown" else GALLERY))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The gallery: every study with its command, what it shows, and its picture where one ships."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from simulator.studies import find_studies

DOCS = Path(__file__).parents[1]
_SHOWS = re.compile(r"## What it shows\n\n(.*?)\n\n", re.DOTALL)


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
    return (DOCS / "breakdown.png", *sorted((DOCS / "gallery").glob("*.png")))

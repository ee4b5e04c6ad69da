"""Build the documentation site: `python docs/site/build.py OUT`, without a network.

The pages of `docs/` and of the studies are gathered with their pictures; a reference of the
configuration, of trace layouts and of the public interface, and a page a system and a platform are
generated from the code. Every warning is an error, a link that leads nowhere among them.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gallery
import interface
import machines
import reference

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")

FIRST = ("tutorial", "extending", "models", "traces", "output", "hardware", "scaling")
LAST = ("troubleshooting",)
MODEL = ("design", "memory", "validation", "invariants", "speed", "columns")


def sources() -> dict[Path, str]:
    """Files of the repository that become pages, and the names of those, without ending."""
    pages = {ROOT / "README.md": "readme", ROOT / "CHANGELOG.md": "changelog"}
    pages |= {ROOT / "CONTRIBUTING.md": "contributing"}
    pages |= {file: file.stem for file in sorted((ROOT / "docs").glob("*.md"))}
    pages |= {ROOT / "docs/examples/README.md": "examples"}
    for file in sorted((ROOT / "experiments").glob("[0-9]*/README.md")):
        pages[file] = f"studies/{file.parent.name}"
    validation = ROOT / "experiments/validation"
    pages[validation / "README.md"] = "validation/measurements"
    for file in sorted(validation.glob("page/*/validation.md")):
        pages[file] = f"validation/{file.parent.name}"
    return pages


def gather(target: Path) -> None:
    """Copy pages and pictures; links between them follow, links to other files become names."""
    pages = sources()
    for file, name in pages.items():
        page = target / f"{name}.md"
        page.parent.mkdir(parents=True, exist_ok=True)

        def moved(match: re.Match[str], file: Path = file, page: Path = page) -> str:
            picture, text, link, anchor = match.groups()
            there = (file.parent / link).resolve()
            up = "../" * (len(page.relative_to(target).parts) - 1)
            if there in pages:
                return f"[{text}]({up}{pages[there]}.md{anchor or ''})"
            if picture:
                shutil.copy(there, page.parent / there.name)
                return f"![{text}]({there.name})"
            if not there.exists():
                raise SystemExit(f"{file}: links to {link}, which is not there")
            return f"{text} (`{there.relative_to(ROOT)}`)"

        page.write_text(_LINK.sub(moved, file.read_text(encoding="utf-8")), encoding="utf-8")


def tree(title: str, names: list[str]) -> str:
    """A part of the navigation."""
    return f"```{{toctree}}\n:caption: {title}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def index(target: Path) -> str:
    """The first page: what there is."""

    def below(folder: str) -> list[str]:
        return sorted(f"{folder}/{p.stem}" for p in (target / folder).glob("*.md"))

    docs = {file.stem for file in (ROOT / "docs").glob("*.md")}
    others = sorted(docs.difference(FIRST, LAST, MODEL))
    parts = (
        ("Use", ["readme", *FIRST, *others, *LAST, "examples"]),
        ("Model and trust", [*MODEL, *below("validation")]),
        ("Reference", below("reference")),
        ("Systems", below("systems")),
        ("Platforms", below("platforms")),
        ("Studies", ["gallery", *below("studies")]),
        ("Project", ["changelog", "contributing"]),
    )
    head = (
        "# scratchpipe-sim\n\nA simulator of how recommendation models train their embedding tables"
    )
    head += " on CPU-GPU servers. [What it is and how far to trust it](readme.md);"
    head += " [a tutorial](tutorial.md); [the studies](gallery.md).\n\n"
    return head + "\n".join(tree(title, names) for title, names in parts)


def generated() -> Iterator[tuple[str, str]]:
    """Name and text of every page that the code says."""
    yield from reference.pages()
    yield from interface.pages()
    yield from machines.pages()
    yield from gallery.pages()


def build(out: Path) -> int:
    """Write the site as HTML to `out`; 0 where nothing was to be warned of."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        gather(target)
        for picture in gallery.pictures():
            shutil.copy(picture, target)
        for name, text in generated():
            page = target / f"{name}.md"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        (target / "index.md").write_text(index(target), encoding="utf-8")
        shutil.copy(HERE / "conf.py", target)
        options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(target / ".doctrees")]
        return int(build_main([*options, str(target), str(out)]))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.exit(build(Path(sys.argv[1])))

"""Parts of a calibrated machine say so: what was measured, when, and which files they come from."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from simulator.calibration.facts import MACHINE

__all__ = ["calibrated_of", "with_calibrated"]


def calibrated_of(folder: Path) -> dict[str, str]:
    """`calibrated` of parts that are fitted to the files in `folder`
    (`simulator.config.machine.Calibrated`); machine and date as `machine.json` there says them."""
    said = {}
    if (folder / MACHINE).is_file():
        said = json.loads((folder / MACHINE).read_text(encoding="utf-8"))
    names = [str(said[key]) for key in ("cpu", "gpu") if said.get(key)]
    date = {"date": str(said["date"])[:7]} if said.get("date") else {}
    measured = folder.name if folder.is_absolute() else folder.as_posix()
    return {"machine": ", ".join(names) or "not said", **date, "measured": measured}


def with_calibrated(
    texts: Mapping[Path, str], found: Iterable[str], folder: Path
) -> dict[Path, str]:
    """The files that a calibration writes, `calibrated` added to each part that it found a number
    for: in a machine to those of its sockets, in a file of the catalogue's parts to the part.

    `found`: dotted paths of the numbers. Profiles and tables stay as they are.
    """
    said, paths = calibrated_of(folder), [path.split(".") for path in found]
    sockets = {(keys[1], keys[2]) for keys in paths if keys[0] == "platform"}
    return {file: _added(file, text, sockets, said) for file, text in texts.items()}


def _added(
    file: Path, text: str, sockets: Iterable[tuple[str, str]], said: Mapping[str, str]
) -> str:
    if file.suffix not in (".yaml", ".yml"):
        return text
    yaml = YAML()
    yaml.width = 200
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text)
    parts = [
        document[room][name] for room, name in sorted(sockets) if name in document.get(room, ())
    ]
    parts += [document] if "parts" in file.parts else []
    for part in parts:
        place = list(part).index("sources") if "sources" in part else len(part)
        if "calibrated" in part:
            part["calibrated"] = dict(said)
        else:
            part.insert(place, "calibrated", dict(said))
    if not parts:
        return text
    changed = io.StringIO()
    yaml.dump(document, changed)
    return changed.getvalue()

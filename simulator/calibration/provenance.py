"""Parts of a calibrated machine say so: what was measured, when, and which files they come from."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
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


def with_calibrated(machine: str, found: Iterable[str], folder: Path) -> str:
    """The YAML of a machine, `calibrated` added to each part of a socket that a number was found
    for; `found`: their dotted paths."""
    yaml = YAML()
    yaml.width = 200
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(machine)
    paths = [path.split(".") for path in found if path.startswith("platform.")]
    for room, socket in dict.fromkeys((keys[1], keys[2]) for keys in paths):
        document[room][socket]["calibrated"] = calibrated_of(folder)
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()

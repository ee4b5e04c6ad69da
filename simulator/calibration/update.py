"""Writes a calibration into the catalogue: the part files of one of its machines, and its profile.

Only fitted and measured numbers and their sources change; comments, names and what was not fitted
stay as people wrote them. Fits do not depend on the numbers that they replace, so that writing the
same measurements again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.calibration.quantities import written
from simulator.calibration.write import dumped, entry_file, profile_text, set_at, yaml_editor
from simulator.config.catalogue import names
from simulator.config.parts import part_files
from simulator.errors import UsageError
from simulator.streams import read_text

__all__ = ["catalogue_texts"]

_ROOM = "platform.host."


def catalogue_texts(
    platform: str, profile: str, values: Mapping[str, float], sources: Mapping[str, str]
) -> dict[Path, str]:
    """The text of every file that `values` (by dotted path) belong in: of the parts of the machine
    and of the operator profile, both names of the catalogue.

    Raises `UsageError` for a machine that is no entry of its own, a part that is no file of its
    own, and a number that the machine's file lays over its part.
    """
    if platform not in names("platforms"):
        raise UsageError(
            f"--update {platform}: is no machine of the catalogue: {', '.join(names('platforms'))}"
        )
    host = _host(entry_file("platforms", platform))
    texts = {}
    for socket in dict.fromkeys(path.split(".")[2] for path in values if path.startswith(_ROOM)):
        prefix = f"{_ROOM}{socket}."
        own = {path: value for path, value in values.items() if path.startswith(prefix)}
        file = _part_file(platform, socket, host.get(socket), [p[len(prefix) :] for p in own])
        texts[file] = _part_text(file, prefix, own, sources)
    if any(path.startswith("operators.") for path in values):
        file = entry_file("operators", profile)
        texts[file] = profile_text(file, values, sources, profile)
    return texts


def _host(file: Path) -> Mapping[str, Any]:
    """The sockets as the file of a machine has them."""
    document = yaml_editor().load(read_text(file, UsageError))
    host = document.get("host")
    if "base" in document or not isinstance(host, dict):
        raise UsageError(
            f"{file}: takes its parts from another machine: give it a `host` with parts of its "
            "own, or name the other one with --update"
        )
    return host


def _part_file(platform: str, socket: str, given: Any, keys: list[str]) -> Path:
    """The file of the part in a socket, which must hold all `keys`."""
    beside: Mapping[str, Any] = given if isinstance(given, dict) else {}
    name = beside.get("part") if beside else given
    files = part_files()
    if name not in files:
        raise UsageError(
            f"{platform}: host.{socket} is no part of the catalogue: name a file of configs/parts"
        )
    laid_over = [key for key in keys if key.partition(".")[0] in beside]
    if laid_over:
        raise UsageError(
            f"{platform}: host.{socket} sets {', '.join(laid_over)} itself: leave it to the part"
        )
    return files[str(name)]


def _part_text(
    file: Path, prefix: str, values: Mapping[str, float], sources: Mapping[str, str]
) -> str:
    """A part's file with its numbers and, under `sources`, where they come from."""
    yaml = yaml_editor()
    document = yaml.load(read_text(file, UsageError))
    for path, value in values.items():
        key = path.removeprefix(prefix)
        set_at(document, key.split("."), written(path, value), before="sources")
        set_at(document, ("sources", key), sources[path])
    return dumped(yaml, document)

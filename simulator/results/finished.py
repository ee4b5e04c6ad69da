"""Finished points of a run, one file each, named by a key of all that determines their outcome.

A file begins with its finish marker: one line of JSON with the key and the SHA-256 of the line
after it, which holds the outcome. It is written aside and renamed, so that a kill at any moment
leaves whole files; one that does not match its marker all the same (a machine that lost its power,
a disk that failed, an editor) counts as absent and is written again. So nobody waits for the disk,
which would take longer than the point.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator._machine import lock_at_once
from simulator.errors import InvariantError, OutputError
from simulator.files import explained, replace_file
from simulator.results.record import PointResult
from simulator.results.spans import Spans

if TYPE_CHECKING:
    from simulator.config.point import PointConfig

__all__ = ["FinishedPoints", "decode", "encode", "relabelled"]

_FORMAT = 4
_LOCK = ".lock"


def encode(key: str, result: PointResult) -> bytes:
    """The file of one finished point; wall-clock values are in it too."""
    outcome: dict[str, Any] = {
        "metrics": result.metrics,
        "stages": list(result.stages),
        "devices": list(result.devices),
        "timeline": result.timeline.packed(),
        "trace_fingerprint": result.trace_fingerprint,
    }
    if result.load is not None:
        outcome["load"] = result.load
    if result.checkpoint is not None:
        outcome["checkpoint"] = result.checkpoint
    body = json.dumps(outcome, allow_nan=False, separators=(",", ":")).encode()
    marker = {"format": _FORMAT, "key": key, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(marker).encode() + b"\n" + body + b"\n"


def decode(key: str, point: PointConfig, data: bytes) -> PointResult | None:
    """The outcome of `point` out of its file, or None where the file is not whole."""
    head, _, rest = data.partition(b"\n")
    body = rest.removesuffix(b"\n")
    try:
        marker = json.loads(head)
        wanted = {"format": _FORMAT, "key": key, "sha256": hashlib.sha256(body).hexdigest()}
        if marker != wanted:
            return None
        outcome = json.loads(body)
        result = PointResult(
            point=point,
            metrics=outcome["metrics"],
            stages=outcome["stages"],
            devices=outcome["devices"],
            timeline=Spans.unpacked(outcome["timeline"]),
            load=outcome.get("load"),
            checkpoint=outcome.get("checkpoint"),
            trace_fingerprint=outcome["trace_fingerprint"],
        )
    except (ValueError, KeyError, TypeError, InvariantError):
        return None
    return relabelled(result, point)


def relabelled(result: PointResult, point: PointConfig) -> PointResult:
    """`result` as that of `point`, which is the same but for what the experiment calls it."""
    names = {"label": point.system.label, "sweep": point.sweep_text()}
    if result.point is point and all(result.metrics[key] == names[key] for key in names):
        return result
    return dataclasses.replace(
        result,
        point=point,
        metrics={**result.metrics, **names},
        stages=[_renamed(row, names) for row in result.stages],
        devices=[_renamed(row, names) for row in result.devices],
        load=None if result.load is None else _renamed(result.load, names),
        checkpoint=result.checkpoint and _renamed(result.checkpoint, names),
    )


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {**row, **{key: name for key, name in names.items() if key in row}}


@dataclass(frozen=True, slots=True)
class FinishedPoints:
    """The folder of finished points; may be used by several processes at once."""

    folder: Path

    def get(self, key: str, point: PointConfig) -> PointResult | None:
        """The outcome of `point`, or None where it is not there or not whole."""
        try:
            data = self._file(key).read_bytes()
        except OSError:
            return None
        return decode(key, point, data)

    def put(self, key: str, data: bytes) -> None:
        """Keep an encoded outcome. Raises `OutputError` where it cannot be written."""
        with explained(self.folder.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._file(key), data, wait=False)

    def keys(self) -> frozenset[str]:
        """Of all files of finished points, whole or not."""
        return frozenset(file.stem for file in self.folder.glob("*.json"))

    def count(self) -> int:
        """Files of finished points, whole or not."""
        return len(self.keys())

    def clear(self) -> None:
        """Forget every point, because somebody asked for it."""
        with explained(self.folder.parent):
            for file in self.folder.glob("*.json"):
                file.unlink(missing_ok=True)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep other runs out of the folder, and remove what killed ones left aside.

        Raises `OutputError` where another run is at work there.
        """
        with explained(self.folder.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK).open("w")
        with lock:
            try:
                lock_at_once(lock)
            except BlockingIOError:
                message = f"another run is writing to {self.folder.parent}: choose another --out"
                raise OutputError(message) from None
            for left in self.folder.glob(".*.part"):
                left.unlink(missing_ok=True)
            yield

    def remove_if_empty(self) -> None:
        """Leave no trace of a run that finished nothing."""
        if self.count() == 0:
            with suppress(OSError):
                (self.folder / _LOCK).unlink(missing_ok=True)
                self.folder.rmdir()

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

"""What is damaged: a small valid file of every format, a run directory, measurements."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.cli import main
from simulator.data import path as data_path
from simulator.traces.oracle_files import RECORD

__all__ = [
    "EXPERIMENT",
    "OBSERVED",
    "TRACES",
    "catalogue",
    "measurements",
    "run_directory",
    "trace",
]

OBSERVED = Path(__file__).parent / "observed"
"""A run directory of `scratchpipe observe`."""

MEASURED = ("micro_launch", "micro_mlp", "micro_plan", "micro_pcie")

EXPERIMENT = """\
config_version: 1
name: tiny
platform: v100_p3
operators: observed
model:
  base: default
  tables: 2
  rows_per_table: 1000
  batch_size: 16
  lookups_per_table: 2
  dim: 16
  bottom_mlp: [8, 16]
  top_mlp: [8, 1]
trace: {kind: zipf, alpha: 0.9}
systems: [hybrid, {name: scratchpipe, cache: {policy: lfu}}]
cache: {policy: lru, fraction: 0.5, scope: table}
pipeline: {mode: lockstep}
run: {batches: 3, warmup_batches: 2, seed: 0}
sweep: {model.dim: [16, 32]}
"""

_IDS = np.arange(60) % 7
_OFFSETS = np.array([0, 3, 3, 20, 60])


@cache
def trace(name: str) -> bytes:
    """A valid trace, by a file name (of `TRACES`) whose ending tells the format."""
    return TRACES[name]()


def _csv(delimiter: str = ",") -> bytes:
    text = "user,item\n" + "".join(f"{n % 5},{n % 7}\n" for n in range(30))
    return text.replace(",", delimiter).encode()


def _words() -> bytes:
    return ("site,app,device\n" + "".join(f"s{n % 3},a{n % 5},{n:x}\n" for n in range(20))).encode()


def _criteo() -> bytes:
    lines = (
        "\t".join(["1", *map(str, range(13)), *(f"{n * k:08x}" for k in range(26))])
        for n in range(1, 9)
    )
    return "\n".join(lines).encode()


def _records() -> bytes:
    records = np.zeros(20, RECORD)
    records["time"], records["object"] = np.arange(20) // 4, np.arange(20) % 7
    records["size"], records["next"] = 1, -2
    return records.tobytes()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(save: object) -> bytes:
    file = io.BytesIO()
    save(file, x=_IDS, x_offsets=_OFFSETS, y=_IDS.reshape(12, 5))
    return file.getvalue()


def _parquet() -> bytes:
    file = io.BytesIO()
    bags = pa.array(np.split(_IDS, _OFFSETS[1:-1]))
    pq.write_table(pa.table({"x": bags, "y": [1, 2, 3, 4]}), file)
    return file.getvalue()


def _packed(data: bytes, codec: str) -> bytes:
    sink = io.BytesIO()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
        stream.flush()
        return sink.getvalue()


def _zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("ids.csv"), data)
    return file.getvalue()


def _tensors(zipped: bool) -> bytes:
    import torch

    file = io.BytesIO()
    tensors = {"x": torch.tensor(_IDS), "x_offsets": torch.tensor(_OFFSETS)}
    torch.save(tensors, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@cache
def catalogue(folder: str) -> list[str]:
    """The texts of the shipped YAML files below `folder` of the catalogue."""
    return [file.read_text() for file in sorted((data_path("configs") / folder).rglob("*.yaml"))]


@cache
def run_directory(folder: Path) -> Path:
    """A finished run of `EXPERIMENT`, made in `folder`."""
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    with contextlib.suppress(SystemExit):
        main(["run", str(folder / "tiny.yaml"), "--out", str(folder / "run")])
    assert (folder / "run" / "manifest.json").is_file()
    return folder / "run"


@cache
def measurements() -> dict[str, bytes]:
    """Some micro-benchmarks of a machine, by file name; enough for a fit that takes a second."""
    folder = data_path("experiments") / "validation" / "microbenchmarks"
    names = ("machine.json", *(f"{name}.csv" for name in MEASURED))
    return {name: (folder / name).read_bytes() for name in names}


TRACES: dict[str, Callable[[], bytes]] = {
    "1.npy": lambda: _npy(_IDS),
    "2.npy": lambda: _npy(np.asfortranarray(_IDS.reshape(12, 5))),
    "stored.npz": lambda: _npz(np.savez),
    "packed.npz": lambda: _npz(np.savez_compressed),
    "lists.parquet": _parquet,
    "ids.csv": _csv,
    "ids.tsv": lambda: _csv("\t"),
    "ids.txt": lambda: _csv(" "),
    "words.csv": _words,
    "clicks.criteo": _criteo,
    "ids.oracleGeneral": _records,
    "ids.csv.gz": lambda: gzip.compress(_csv(), mtime=0),
    "ids.csv.bz2": lambda: bz2.compress(_csv()),
    "ids.csv.xz": lambda: lzma.compress(_csv()),
    "ids.csv.zst": lambda: _packed(_csv(), "zstd"),
    "ids.csv.lz4": lambda: _packed(_csv(), "lz4"),
    "ids.csv.zip": lambda: _zip(_csv()),
    "zip.pt": lambda: _tensors(True),
    "stream.pt": lambda: _tensors(False),
}
"""How a valid trace of each kind is made."""

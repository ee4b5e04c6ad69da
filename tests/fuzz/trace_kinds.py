"""Kinds of input that are traces, or what traces are drawn from."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mutations import mutated_bytes, mutated_fields
from seeds import EXPERIMENT, TRACES, trace
from trial import Bench, Kind, Trial

__all__ = ["TRACE_KINDS"]


def _trace(name: str) -> Kind:
    delimiter = {"ids.tsv": "\t", "clicks.criteo": "\t", "ids.txt": " "}.get(name, ",")
    is_text = name in ("ids.csv", "ids.tsv", "ids.txt", "words.csv", "clicks.criteo")

    def made(bench: Bench) -> Trial:
        data, random = trace(name), bench.random
        if is_text and random.random() < 0.7:
            text = mutated_fields(data.decode(), random, delimiter)
            data = text.encode("utf-8", "surrogatepass")
        else:
            data = mutated_bytes(data, random)
        file = f"fuzzed.{name}" if random.random() < 0.9 else "fuzzed"
        (bench.folder / file).write_bytes(data)
        hashed = name in ("words.csv", "clicks.criteo")
        extra = ("--sizes", "100") if hashed else ()
        command = random.choice(
            (
                ("trace", "validate", file, *extra),
                ("trace", "describe", file, *extra),
                ("trace", "convert", file, "out.parquet", *extra),
                ("trace", "convert", file, "out.npz", "--ids", "renumber", *extra),
                ("replay", "--trace", file, "--policy", "lru", "--capacity", "3", *extra),
                ("run", _experiment_of(bench, file)),
            )
        )
        return Trial((command,), ("fuzzed",))

    return made


def _experiment_of(bench: Bench, file: str) -> str:
    trace = f"trace: {{kind: file, path: {file}, at_end: wrap, ids: modulo}}"
    text = EXPERIMENT.replace("trace: {kind: zipf, alpha: 0.9}", trace).split("sweep:")[0]
    (bench.folder / "x.yaml").write_text(text)
    return "x.yaml"


def _counts(bench: Bench) -> Trial:
    """Access counts: `trace generate` of kind `histogram`."""
    random = bench.random
    text = "a,b\n" + "".join(f"{n * n},{40 - n}\n" for n in range(40))
    return _generated(bench, mutated_fields(text, random), ("kind=histogram", "path=fuzzed.csv"))


def _popularity(bench: Bench) -> Trial:
    """A popularity curve: `trace generate` of kind `curve`."""
    points = "".join(f"x,100,1000,{n},{n / 100},1,{(n / 100) ** 0.5}\n" for n in range(1, 101, 9))
    head = "dataset,n_ids,n_accesses,rank,rank_fraction,count_at_rank,cumulative_share\n"
    text = mutated_fields(head + points, bench.random)
    return _generated(bench, text, ("kind=curve", "curve=x", "path=fuzzed.csv"))


def _distances(bench: Bench) -> Trial:
    """Stack distances: `trace generate` of kind `stack`."""
    points = "".join(f"x,real,100,1000,100,{n},{9 * n}\n" for n in range(1, 101, 9))
    head = "dataset,order,n_ids,n_accesses,cold_misses,le_distance,cumulative_hits\n"
    text = mutated_fields(head + points, bench.random)
    curve = "".join(f"x,100,1000,{n},{(n / 100) ** 0.5}\n" for n in range(1, 101, 9))
    columns = "dataset,n_ids,n_accesses,rank,cumulative_share\n"
    (bench.folder / "curve.csv").write_text(columns + curve)
    files = ("path=curve.csv", "distances_path=fuzzed.csv")
    return _generated(bench, text, ("kind=stack", "curve=x", *files))


def _generated(bench: Bench, text: str, settings: tuple[str, ...]) -> Trial:
    (bench.folder / "fuzzed.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    return _drawn(settings)


def _drawn(settings: tuple[str, ...]) -> Trial:
    sets = tuple(word for setting in settings for word in ("--set", setting))
    size = ("--rows", "100", "--batch-size", "8", "--batches", "2", "--lookups", "3")
    return Trial((("trace", "generate", "out.npz", *sets, *size),), ("fuzzed", "trace.tolerance"))


def _count_file(bench: Bench) -> Trial:
    """Access counts in a file of arrays."""
    random = bench.random
    ending = random.choice(("npy", "npz", "parquet"))
    counts, sink = np.arange(40) ** 2, io.BytesIO()
    if ending == "npy":
        np.save(sink, counts)
    elif ending == "npz":
        np.savez(sink, a=counts, b=counts[::-1])
    else:
        pq.write_table(pa.table({"a": counts, "b": counts[::-1]}), sink)
    (bench.folder / f"fuzzed.{ending}").write_bytes(mutated_bytes(sink.getvalue(), random))
    columns = random.choice(((), ("columns=[a]",), ("columns=[x]",), ("header=yes",)))
    sets = ("kind=histogram", f"path=fuzzed.{ending}", *columns)
    return _drawn(sets)


def _meta(bench: Bench) -> Trial:
    """Tensors in the layouts that others publish."""
    import torch

    random = bench.random
    ids, wild = [n % 7 for n in range(12)], (-1, 0, 1, 5, 12, 13, 2**40, 2**62)
    offsets, lengths = [0, 3, 3, 9, 12], [3, 0, 6, 3]
    for values in (ids, offsets, lengths):
        for _ in range(random.choice((0, 0, 1, 2))):
            values[random.randrange(len(values))] = random.choice(wild)
    kinds = (torch.int64, torch.int64, torch.int32, torch.uint8, torch.float32, torch.bool)
    tensors = [_tensor(values, random.choice(kinds)) for values in (ids, offsets, lengths)]
    tensors[2] = tensors[2].reshape(random.choice(((2, 2), (4,), (1, 4), (2, 2, 1))))
    whole = random.choice(
        (
            tuple(tensors),
            tuple(tensors[:2]),
            [tuple(tensors), tuple(tensors)],
            {"keys": ["a", "b"], "values": tensors[0], "lengths": tensors[2]},
            {"x": tensors[0], "x_offsets": tensors[1]},
            {"a": tuple(tensors[:2]), "b": tensors[0]},
            [tensors[0], None],
            {"x": {"y": tensors[0]}},
        )
    )
    sink = io.BytesIO()
    torch.save(whole, sink)
    (bench.folder / "fuzzed.pt").write_bytes(sink.getvalue())
    verb = random.choice((("validate",), ("describe",)))
    return Trial((("trace", *verb, "fuzzed.pt"),), ("fuzzed",))


def _tensor(values: list[int], kind: object) -> object:
    import torch

    return torch.tensor(values, dtype=torch.int64).to(kind)


def _parts(bench: Bench) -> Trial:
    """A folder of parts, one of which is damaged or of another kind."""
    random = bench.random
    folder = bench.folder / "fuzzed"
    folder.mkdir()
    name = random.choice(("ids.csv", "ids.csv.gz", "lists.parquet", "stored.npz", "1.npy"))
    for number in range(3):
        (folder / f"part-{number}.{name}").write_bytes(trace(name))
    broken = random.choice(("part-0", "part-1", "part-2", "part-10", "_part", ".part"))
    other = random.choice((name, name, *TRACES)) if random.random() < 0.5 else name
    data = mutated_bytes(trace(other), random)
    (folder / f"{broken}.{random.choice((name, other))}").write_bytes(data)
    if random.random() < 0.2:
        (folder / "part-1.csv").mkdir()
    command = random.choice(
        (
            ("trace", "validate", "fuzzed", "--sizes", "100"),
            ("trace", "describe", "fuzzed"),
            ("trace", "convert", "fuzzed", "out.npz"),
            ("run", _experiment_of(bench, "fuzzed")),
        )
    )
    return Trial((command,), ("fuzzed",))


def _bounded_ids(bench: Bench) -> Trial:
    """Ids at the edges of their types, each rule of `ids`."""
    random = bench.random
    edges = (0, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63), 10**30)
    values = [random.choice((n, random.choice(edges))) for n in range(24)]
    ending = random.choice(("csv", "txt", "npy", "npz", "parquet"))
    file, path = f"fuzzed.{ending}", bench.folder / f"fuzzed.{ending}"
    if ending in ("csv", "txt"):
        path.write_text("".join(f"{n}\n" for n in values))
    else:
        kind = random.choice((np.uint64, np.int64, np.uint32, np.float64))
        array = np.array([n & (2**64 - 1) for n in values], np.uint64).astype(kind)
        if ending == "npy":
            np.save(path, array)
        elif ending == "npz":
            np.savez(path, a=array)
        else:
            pq.write_table(pa.table({"a": array}), path)
    rule = random.choice(("error", "modulo", "hash", "renumber"))
    command = random.choice(
        (
            ("trace", "validate", file),
            ("trace", "convert", file, "out.npz", "--ids", rule, "--rows", "100"),
            ("replay", "--trace", file, "--policy", "lru", "--capacity", "3"),
            ("run", _experiment_of(bench, file), "--set", f"trace.ids={rule}"),
        )
    )
    return Trial((command,), ("fuzzed",))


TRACE_KINDS: dict[str, Kind] = {
    **{f"trace {name}": _trace(name) for name in TRACES},
    "counts": _counts,
    "count file": _count_file,
    "popularity": _popularity,
    "distances": _distances,
    "meta tensors": _meta,
    "parts": _parts,
    "ids": _bounded_ids,
}

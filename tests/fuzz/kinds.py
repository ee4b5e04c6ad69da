"""The kinds of input: each makes one trial, files and the commands that read them, of a number.

What a trial is made of follows from its kind and number alone, so that both name it for good.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
from mutations import (
    ABSURD,
    mutated_bytes,
    mutated_data,
    mutated_fields,
    mutated_table,
    mutated_yaml,
    value,
)
from seeds import EXPERIMENT, OBSERVED, TRACES, catalogue, measurements, run_directory, trace

__all__ = ["KINDS", "Bench", "Trial"]


@dataclass(frozen=True)
class Bench:
    """Where a trial is made: its own empty folder, a folder for seeds, its random numbers."""

    folder: Path
    seeds: Path
    random: Random


@dataclass(frozen=True)
class Trial:
    """Commands, run one after the other; an error names one of `places`."""

    commands: tuple[tuple[str, ...], ...]
    places: tuple[str, ...]


Kind = Callable[[Bench], Trial]


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
    sets = tuple(word for setting in settings for word in ("--set", setting))
    size = ("--rows", "100", "--batch-size", "8", "--batches", "2", "--lookups", "3")
    return Trial((("trace", "generate", "out.npz", *sets, *size),), ("fuzzed", "trace.tolerance"))


def _experiment(bench: Bench) -> Trial:
    """An experiment: checked, shown, and run where it is small."""
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(EXPERIMENT, bench.random))
    verbs = (
        ("config", "check", "fuzzed.yaml"),
        ("config", "show", "fuzzed.yaml", "--resolved"),
        ("run", "fuzzed.yaml", "--out", "out"),
    )
    return Trial((bench.random.choice(verbs),), ("fuzzed",))


def _entry(folder: str, key: str) -> Kind:
    """A file of the catalogue that an experiment names under `key`."""

    def made(bench: Bench) -> Trial:
        text = bench.random.choice(catalogue(folder))
        (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
        command = (
            ("run", "x.yaml") if bench.random.random() < 0.5 else ("config", "check", "x.yaml")
        )
        lines = [f"{key}: fuzzed.yaml", "  base: fuzzed.yaml"]
        changed = EXPERIMENT
        if key == "model":
            changed = changed.replace("  base: default", lines[1])
        else:
            old = next(line for line in changed.split("\n") if line.startswith(f"{key}:"))
            changed = changed.replace(old, lines[0])
        (bench.folder / "x.yaml").write_text(changed)
        return Trial((command,), ("fuzzed", "x.yaml"))

    return made


def _platform(bench: Bench) -> Trial:
    """A machine: shown."""
    text = bench.random.choice(catalogue("platforms"))
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    extra = bench.random.choice(((), ("--all",), ("--json",)))
    return Trial((("machine", "show", "fuzzed.yaml", *extra),), ("fuzzed",))


_PARTS = {"cpus": "cpu", "gpus": "gpu", "links": "pcie"}


def _part(bench: Bench) -> Trial:
    """A part of a machine: shown, or run."""
    folder = bench.random.choice(tuple(_PARTS))
    text = bench.random.choice(catalogue(f"parts/{folder}"))
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    change = f"host.{_PARTS[folder]}.part=fuzzed.yaml"
    shown = ("machine", "show", "v100_p3", "--set", change)
    (bench.folder / "x.yaml").write_text(EXPERIMENT)
    run = ("run", "x.yaml", "--set", f"platform.{change}")
    return Trial((bench.random.choice((shown, run)),), ("fuzzed", "--set"))


def _memory(bench: Bench) -> Trial:
    """A memory: measured."""
    text = bench.random.choice(catalogue("parts/memories"))
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    pattern = bench.random.choice(("seq", "gather", "scatter", "mixed", "zipf"))
    options = ("--pattern", pattern, "--requests", "300")
    return Trial((("memory", "measure", "--memory", "fuzzed.yaml", *options),), ("fuzzed",))


_SET_PATHS = {
    "experiment": (
        *("platform", "model", "model.dim", "model.base", "model.tables", "model.batch_size"),
        *("trace", "trace.kind", "trace.alpha", "trace.path", "systems", "systems.0", "systems.9"),
        *("trace.tables", "trace.tables.user", "trace.multi_hot", "model.lookups_per_table"),
        *("systems.1.cache.policy", "systems.1.platform.host.gpu.count", "cache", "cache.fraction"),
        *("cache.rows", "cache.bytes", "pipeline", "pipeline.window_past", "pipeline.mode"),
        *("run.seed", "run.batches", "run.warmup_batches", "sweep", "sweep.run.seed", "name"),
        *("operators", "operators.sort.row_time", "sweep.model.dim.0", "", ".", "µ", "a..b", "<<"),
    ),
    "machine": (
        *("name", "host", "hosts", "host.cpu", "host.gpu.count", "host.gpu.part", "host.pcie.join"),
        *("host.gpu.memory", "host.gpu.memory.timing.rp", "host.count", "network", "operators"),
        *("host.pcie.per", "host.cpu.cores", "host.nvlink", "", ".", "µ", "base", "host.gpu.x"),
    ),
    "memory": (
        *("timing.rp", "timing", "channels", "banks", "name", "standard", "controller", "mapping"),
        *("mapping.order", "controller.queue", "timing.refi", "row_bytes", "", ".", "data_rate"),
        *("energy", "sources", "bank_groups", "ranks", "capacity", "timing.x", "clock"),
    ),
    "trace": ("kind", "alpha", "path", "locality", "pooling", "correlation", "curve", "", "µ"),
}


def _set(bench: Bench) -> Trial:
    """`--set` of every verb that has it."""
    random = bench.random
    (bench.folder / "x.yaml").write_text(EXPERIMENT)
    of, verb = random.choice(
        (
            ("experiment", ("config", "check", "x.yaml")),
            ("experiment", ("run", "x.yaml")),
            ("machine", ("machine", "show", random.choice(("v100_p3", "h100_x2", "gh200")))),
            ("memory", ("memory", "measure", "--memory", "ddr4_2400", "--pattern", "gather",
                        "--requests", "300")),
            ("trace", ("trace", "generate", "out.npz", "--rows", "50", "--batch-size", "4",
                       "--batches", "2", "--lookups", "2")),
        )
    )  # fmt: skip
    texts = []
    for _ in range(random.choice((1, 1, 2, 3))):
        given = value(random) if random.random() < 0.8 else random.choice(ABSURD)
        texts.append(f"{random.choice(_SET_PATHS[of])}{random.choice('====:')}{given}")
    sets = tuple(word for text in texts for word in ("--set", text))
    machines = ("v100_p3", "h100_x2", "gh200", "ddr4_2400")
    places = ("--set", "x.yaml", "commandline", "out.npz", *machines)
    given = tuple("".join(text.partition("=")[2].split()) for text in texts if "path=" in text)
    return Trial(((*verb, *sets),), (*places, *given))


def _run_directory(bench: Bench) -> Trial:
    """A run directory: shown, compared, drawn."""
    random = bench.random
    whole = run_directory(bench.seeds)
    run = bench.folder / "fuzzed"
    shutil.copytree(whole, run)
    _damage(run, random, ("manifest.json",))
    command = random.choice(
        (
            ("results", "show", "fuzzed"),
            ("results", "show", "fuzzed", "--json"),
            ("results", "compare", "fuzzed", str(whole)),
            ("results", "compare", str(whole), "fuzzed", "--tolerance", "0.1"),
            ("report", "fuzzed"),
            ("timeline", "fuzzed"),
            ("run", str(bench.seeds / "tiny.yaml"), "--out", "fuzzed"),
        )
    )
    return Trial((command,), ("fuzzed", "differbymorethan"))


def _observed(bench: Bench) -> Trial:
    """What `observe` wrote: validated."""
    run = bench.folder / "fuzzed"
    shutil.copytree(OBSERVED, run)
    _damage(run, bench.random, ("observed.json", "observed.json", "observed.json"))
    return Trial((("validate", "fuzzed", "--out", "out"),), ("fuzzed", "goal"))


def _damage(run: Path, random: Random, documents: tuple[str, ...]) -> None:
    """Damage one file of a folder of JSON documents and tables."""
    tables = sorted(file.name for file in run.glob("*.parquet"))
    name = random.choice((*documents, *tables))
    file, kind = run / name, random.randrange(10)
    if kind == 0:
        file.unlink()
    elif kind == 1:
        file.unlink()
        random.choice((file.mkdir, lambda: file.symlink_to("nowhere")))()
    elif kind == 2:
        file.write_bytes(random.choice((b"", b"[]", b"null", b"PAR1", b"\xff\xfe", b"{" * 5000)))
    elif kind in (3, 4):
        file.write_bytes(mutated_bytes(file.read_bytes(), random))
    elif name.endswith(".json"):
        file.write_text(json.dumps(mutated_data(json.loads(file.read_text()), random)))
    else:
        pq.write_table(mutated_table(pq.read_table(file), random), file)


def _calibration(bench: Bench) -> Trial:
    """Micro-benchmarks of a machine: fitted."""
    random, folder = bench.random, bench.folder / "fuzzed"
    folder.mkdir()
    files = dict(measurements())
    name = random.choice(tuple(files))
    data = files[name]
    if name.endswith(".json") and random.random() < 0.7:
        data = json.dumps(mutated_data(json.loads(data), random)).encode()
    elif random.random() < 0.8:
        data = mutated_fields(data.decode(), random).encode("utf-8", "surrogatepass")
    else:
        data = mutated_bytes(data, random)
    for other, text in (files | {name: data}).items():
        (folder / other).write_bytes(text)
    options = random.choice((("--keep-undecided",), (), ("--json",)))
    return Trial((("calibrate", "--from", "fuzzed", "--out", "out.yaml", *options),), ("fuzzed",))


_NUMBER = ("0", "1", "-1", "2", "3", "7", "1e3", "1.5", "nan", "inf", "-inf", "1e400", "9" * 20)
_NUMBER += ("", " ", "x", "0x10", "１２", "999999999999", "2147483648", "18446744073709551616")
_PATH = ("", " ", ".", "..", "/", "folder", "no", "no/such", "x.yaml", "ids.csv", "µ", "a\nb")
_PATH += ("/dev/null", "folder/x", "ids.csv/x", "x" * 300, "\x1b[31m", "~", "-", "--")
_NAME = ("", " ", "lru", "LRU", "hybrid", "scratchpipe", "v100_p3", "ddr4_2400", "all", "µ", "-")
_NAME += ("x" * 3000, "a\nb", "\x1b[31m", "[bold]", "../x", "folder", "x.yaml", "both", "per-bank")

_FED = ("user=t", "item=t", "item=user", "x=t", "user=", "=t", "=", "", "user=a=b")
_VERBS: tuple[tuple[tuple[str, ...], dict[str, tuple[str, ...]]], ...] = (
    (("run",), {"@": _PATH, "--out": _PATH, "--jobs": ("1", "1", "-1", "x", "", "nan"),
                "--set": ABSURD, "--executor": _NAME, "--scheduler": _NAME, "--resume": (),
                "--replace": (), "--dry-run": (), "--json": ()}),
    (("replay",), {"--trace": _PATH, "--policy": _NAME, "--capacity": _NUMBER, "--column": _NAME,
                   "--format": _NAME, "--header": ("auto", "yes", "no", "x"), "--sizes": ABSURD,
                   "--unchecked": (), "--granularity": ("lookup", "batch", ""), "--json": (),
                   "--batch-lookups": _NUMBER, "--window-past": _NUMBER,
                   "--window-future": _NUMBER, "--seed": _NUMBER}),
    (("replay", "--trace", "ids.csv", "--policy", "lru", "--column", "user"),
     {"--table": _FED, "--capacity": _NUMBER, "--granularity": ("lookup", "batch"),
      "--batch-lookups": _NUMBER,
      "--window-past": _NUMBER, "--window-future": _NUMBER, "--seed": _NUMBER}),
    (("hazards", "--batches", "20"),
     {"--window-past": _NUMBER, "--window-future": _NUMBER, "--system": _NAME,
      "--platform": _NAME, "--policy": _NAME, "--mode": ("lockstep", "async", "x", ""),
      "--tables": ("1", "2", "0", "-1", "nan", "x"), "--rows": _NUMBER, "--batch-rows": _NUMBER,
      "--slots": _NUMBER, "--order": ("timed", "random", "both", "x", ""), "--seed": _NUMBER,
      "--json": ()}),
    (("reproduce",), {"@": ("", " ", "x", "µ", "../x", "a\nb", "[bold]"), "--out": _PATH,
                      "--jobs": ("-1", "x", "", "nan", "1"), "--json": ()}),
    (("report",), {"@": _PATH, "--out": _PATH}),
    (("timeline",), {"@": _PATH, "--out": _PATH, "--point": ABSURD}),
    (("observe",), {"@": _PATH[:-2], "--out": _PATH, "--device": _NAME, "--replace": (),
                    "--repeats": ("0", "-1", "x", "nan", ""), "--set": ABSURD, "--json": ()}),
    (("observe", "x.yaml", "--repeats"), {"@": ("0", "-1", "x", "nan", "", "1.5"),
                                          "--out": ("folder", "x.yaml"), "--device": _NAME}),
    (("observe", "x.yaml", "--device"), {"@": ("", " ", "tpu", "cuda:9", "µ"), "--out": _PATH}),
    (("validate",), {"@": _PATH, "--platform": _NAME, "--operators": _NAME, "--out": _PATH,
                     "--guard": _PATH, "--write-guard": _PATH, "--summary": _PATH, "--json": ()}),
    (("validate", "observed"), {"--platform": _NAME, "--operators": _NAME, "--out": _PATH,
                                "--guard": _PATH, "--write-guard": _PATH, "--summary": _PATH}),
    (("calibrate", "--from"), {"@": _PATH, "--out": _PATH, "--update": _NAME, "--base": _NAME,
                               "--operators": _PATH, "--profile": _NAME, "--residuals": _PATH}),
    (("trace", "generate"), {"@": ("out.npz", "out.csv", "folder", "", "/dev/null", "no/x.npy"),
                             "--kind": _NAME, "--alpha": _NUMBER, "--locality": _NAME,
                             "--set": ABSURD, "--tables": ("0", "1", "-1", "x"),
                             "--rows": _NUMBER, "--batch-size": ("0", "1", "2", "-1", "nan"),
                             "--lookups": ("0", "1", "-1", "nan", "1,2", ",", ""),
                             "--seed": _NUMBER,
                             "--batches": ("0", "1", "-1", "nan"), "--to": _NAME,
                             "--threads": ("0", "1", "2", "-1", "x"), "--row-bytes": _NUMBER}),
    (("trace", "describe"), {"@": _PATH, "--column": _NAME, "--format": _NAME, "--sizes": ABSURD,
                             "--plot": _PATH, "--seed": _NUMBER, "--unchecked": ()}),
    (("trace", "convert"), {"@": _PATH, "@2": _PATH, "--to": _NAME, "--ids": _NAME,
                            "--rows": ABSURD, "--row-bytes": _NUMBER, "--sizes": ABSURD}),
    (("trace", "convert", "ids.csv"), {"@": ("out.npy", "out.bin", "out.npz", "folder", "x/y.npy"),
                                       "--ids": ("error", "modulo", "hash", "renumber", ""),
                                       "--rows": _NUMBER, "--row-bytes": _NUMBER,
                                       "--table": _FED, "--column": ("user", "item", "", "x")}),
    (("trace", "describe", "ids.csv", "--table", "user=t"), {"--table": _FED, "--column": _NAME}),
    (("trace", "validate"), {"@": _PATH, "--rows": ABSURD, "--sizes": ABSURD, "--format": _NAME}),
    (("machine", "show"), {"@": (*_NAME, *_PATH), "--set": ABSURD, "--all": (), "--json": ()}),
    (("memory", "measure", "--memory", "ddr4_2400", "--pattern", "zipf"),
     {"--row-bytes": _NUMBER, "--requests": ("0", "1", "-1", "nan", "300", "x"),
      "--channels": _NUMBER, "--map": _NAME, "--queue": _NUMBER, "--scheduler": _NAME,
      "--load": _NUMBER, "--alpha": _NUMBER, "--seed": _NUMBER, "--set": ABSURD, "--json": ()}),
    (("memory", "measure"), {"--memory": (*_NAME, *_PATH), "--pattern": ("seq", "x", "", "µ"),
                             "--requests": ("10", "0")}),
    (("config", "check"), {"@": _PATH, "--set": ABSURD}),
    (("config", "schema"), {"@": _NAME}),
    (("list",), {"@": (*_NAME, "systems", "parts"), "--json": ()}),
    (("explain",), {"@": (*_NAME, "iteration_time_us"), "--markdown": ()}),
    (("results", "show"), {"@": _PATH, "--json": ()}),
    (("results", "compare"), {"@": _PATH, "@2": _PATH, "--tolerance": _NUMBER}),
)  # fmt: skip


def _options(bench: Bench) -> Trial:
    """Absurd options of every verb."""
    random = bench.random
    (bench.folder / "folder").mkdir()
    (bench.folder / "x.yaml").write_text(EXPERIMENT)
    (bench.folder / "ids.csv").write_bytes(trace("ids.csv"))
    shutil.copytree(OBSERVED, bench.folder / "observed")
    verb, options = random.choice(_VERBS)
    given: list[str] = []
    for name in ("@", "@2"):
        if name in options and random.random() < 0.95:
            given.append(random.choice(options[name]))
    names = [name for name in options if name.startswith("--")]
    for name in random.sample(names, random.randint(0, min(3, len(names)))):
        given += [name, random.choice(options[name])] if options[name] else [name]
    return Trial(((*verb, *given),), ("",))


KINDS: dict[str, Kind] = {
    **{f"trace {name}": _trace(name) for name in TRACES},
    "counts": _counts,
    "popularity": _popularity,
    "distances": _distances,
    "experiment": _experiment,
    "model": _entry("models", "model"),
    "operators": _entry("operators", "operators"),
    "platform of an experiment": _entry("platforms", "platform"),
    "machine": _platform,
    "part": _part,
    "memory": _memory,
    "set": _set,
    "options": _options,
    "run directory": _run_directory,
    "observed run": _observed,
    "calibration": _calibration,
}
"""Every kind of input by name."""

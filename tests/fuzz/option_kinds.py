"""Kinds of input that are typed: `--set` and every other option of every verb."""

from __future__ import annotations

import shutil

from mutations import ABSURD, value
from seeds import EXPERIMENT, OBSERVED, trace
from trial import Bench, Kind, Trial

__all__ = ["OPTION_KINDS"]


_SET_PATHS = {
    "experiment": (
        *("platform", "model", "model.dim", "model.base", "model.tables", "model.batch_size"),
        *("trace", "trace.kind", "trace.alpha", "trace.path", "systems", "systems.0", "systems.9"),
        *("trace.tables", "trace.tables.user", "trace.multi_hot", "model.lookups_per_table"),
        *("model.lookups_per_table.0", "model.lookups_per_table.0.1", "model.sharding"),
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
    files = tuple(word.strip("|>/") for word in given)  # as YAML and the system read them
    return Trial(((*verb, *sets),), (*places, *given, *files))


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
      "--gpus": ("1", "2", "0", "-1", "nan", "x"), "--json": (),
      "--sharding": ("table", "row", "column", "auto", "x", "")}),
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
    (("trace", "describe", "ids.csv"), {"--transform": _NAME, "--rows": ABSURD}),
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


OPTION_KINDS: dict[str, Kind] = {"set": _set, "options": _options}

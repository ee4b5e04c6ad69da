"""Kinds of input that are experiments, and what they name in the catalogue."""

from __future__ import annotations

from mutations import mutated_yaml
from seeds import EXPERIMENT, catalogue
from trial import Bench, Kind, Trial

__all__ = ["MACHINE_KINDS"]


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


_SEVERAL = """\
config_version: 1
name: several
platform: {base: h100_x2, hosts: 1}
operators: {base: tuned, collectives: nccl_2_28}
model: {base: default, tables: 4, rows_per_table: [900, 500, 300, 100], batch_size: 16,
  lookups_per_table: 2, dim: 16, bottom_mlp: [8], top_mlp: [8, 1], placement: size,
  sharding: table}
trace: {kind: zipf, alpha: 0.9}
systems: [{name: gpu_only, gpus: 2}, {name: scratchpipe, gpus: 2}]
cache: {fraction: 0.9}
run: {batches: 2, warmup_batches: 1}
"""


def _collectives(bench: Bench) -> Trial:
    """A library of collectives: run on two GPUs."""
    text = bench.random.choice(catalogue("collectives"))
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    experiment = _SEVERAL.replace("nccl_2_28", "fuzzed.yaml")
    (bench.folder / "x.yaml").write_text(experiment)
    verb = bench.random.choice((("run", "x.yaml"), ("config", "check", "x.yaml")))
    return Trial((verb,), ("fuzzed", "x.yaml"))


def _plan(bench: Bench) -> Trial:
    """What lies where on several GPUs: planned, and run."""
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(_SEVERAL, bench.random))
    shown = ("machine", "plan", "fuzzed.yaml")
    run = ("run", "fuzzed.yaml")
    placement = bench.random.choice(("size", "lookups", "hugectr", "torchrec", "x", "0"))
    sharding = bench.random.choice(("table", "row", "column", "auto", "x", "[]"))
    sets = ("--set", f"model.placement={placement}", "--set", f"model.sharding={sharding}")
    extra = bench.random.choice(((), (), ("--json",), sets))
    verb = bench.random.choice((shown, shown, run))
    extra = () if verb is run and extra == ("--json",) else extra
    return Trial(((*verb, *extra),), ("fuzzed", "--set"))


def _network(bench: Bench) -> Trial:
    """A machine of several hosts: run."""
    text = bench.random.choice([t for t in catalogue("platforms") if "network:" in t])
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    experiment = _SEVERAL.replace("{base: h100_x2, hosts: 1}", "fuzzed.yaml")
    (bench.folder / "x.yaml").write_text(experiment)
    verb = bench.random.choice((("run", "x.yaml"), ("machine", "plan", "x.yaml")))
    return Trial((verb,), ("fuzzed", "x.yaml"))


MACHINE_KINDS: dict[str, Kind] = {
    "experiment": _experiment,
    "model": _entry("models", "model"),
    "operators": _entry("operators", "operators"),
    "platform of an experiment": _entry("platforms", "platform"),
    "machine": _platform,
    "part": _part,
    "memory": _memory,
    "collectives": _collectives,
    "plan": _plan,
    "several hosts": _network,
}

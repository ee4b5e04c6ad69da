"""What a rival cannot do is refused with its name, the number and a remedy; typed, that works."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rivalry import MODEL

from simulator.cli import main

SMALL = {
    "config_version": 1,
    "name": "refused",
    "platform": "v100_p3",
    "model": MODEL,
    "operators": "tuned",
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": ["hybrid"],
    "cache": {"fraction": 0.5},
    "run": {"batches": 4, "warmup_batches": 4},
}
BAGPIPE = "systems=[{name: bagpipe, platform: bagpipe_p3, look_ahead: 8}]"
HET = "systems=[{name: het, platform: herald_100g}]"
HERALD = "systems=[{name: herald, platform: herald_100g}]"
ETC = "systems=[{name: hugectr_etc, pass_batches: 8}]"
CDLRM = "systems=[{name: cdlrm, ways: 64}]"
HOT = ("model.rows_per_table=30000000", "cache.fraction=0.9")


def typed(folder: Path, capsys: pytest.CaptureFixture[str], *settings: str) -> tuple[int, str]:
    """Exit code and errors of a run with `--set` for each of `settings`."""
    file = folder / "refused.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    words = [word for setting in settings for word in ("--set", setting)]
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file), "--out", str(folder / "run"), "--replace", *words])
    code = ended.value.code
    return (int(code) if code else 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        (
            ("systems=[bagpipe]",),
            ("systems.bagpipe", "v100_p3 is a single host", "platform: bagpipe_p3}"),
            ("systems=[{name: bagpipe, platform: bagpipe_p3, look_ahead: 3}]",),
        ),
        (
            (BAGPIPE,),
            ("systems.bagpipe", "41,765 rows need a slot", "40,000", "cache.if_too_small: grow"),
            (BAGPIPE, "cache.if_too_small=grow"),
        ),
        (
            (HET, "cache.rows=100"),
            ("systems.het", "worker 0 looks up", "100 slots", "cache.rows to at least 2560 "),
            (HET, "cache.rows=2560"),
        ),
        (
            (HERALD, "cache.rows=100"),
            ("systems.herald", "looks up", "100 slots", "cache.rows to at least 2560 "),
            (HERALD, "cache.rows=2560"),
        ),
        (
            (ETC, "cache.rows=1000"),
            ("systems.hugectr_etc", "41,787 distinct rows", "1,000", "to at least 80000 "),
            (ETC, "cache.rows=80000"),
        ),
        (
            (CDLRM, "cache.rows=100"),
            ("systems.cdlrm", "25 slots", "64 ways", "cache.rows to at least 256", "at most 25"),
            (CDLRM, "cache.rows=256"),
        ),
        (
            ("systems=[fbgemm_cached]", "cache.rows=10"),
            (
                "systems.fbgemm_cached",
                "10 slots",
                "one set of 32 ways",
                "cache.rows to at least 32",
            ),
            ("systems=[fbgemm_cached]", "cache.rows=32"),
        ),
        (
            ("systems=[torchrec_prefetch]", "cache.fraction=0.0001"),
            ("systems.torchrec_prefetch", "8 slots", "cache.fraction to at least 0.0004", "most 8"),
            ("systems=[{name: torchrec_prefetch, ways: 8}]", "cache.fraction=0.0001"),
        ),
        (
            ("systems=[{name: bagpipe, platform: {base: bagpipe_p3, hosts: 1}}]",),
            ("systems[0].platform.hosts: is 1", "count: hosts: {trainer: {count: 1}}"),
            (
                "systems=[{name: bagpipe, look_ahead: 3, "
                "platform: {base: bagpipe_p3, hosts: {trainer: {count: 1}}}}]",
            ),
        ),
        (
            ("systems=[hotline]",),
            ("systems.hotline", "v100_p3 has none", "{name: hotline, platform: hotline_v100}"),
            ("systems=[{name: hotline, platform: hotline_v100}]",),
        ),
        (
            ("systems=[hotline]",),
            ("accelerator: hotline_card, accelerator_link: {part: pcie3_x16, join: [cpu, acc",),
            (
                "systems=[hotline]",
                "platform.host.accelerator=hotline_card",
                "platform.host.accelerator_link={part: pcie3_x16, join: [cpu, accelerator]}",
            ),
        ),
        (
            ("systems=[{name: fae, round_batches: 4, cache: {rows: 200000}}]",),
            ("systems.fae", "200,000 is more than the 80,000", "to at most 80,000"),
            ("systems=[{name: fae, round_batches: 4, cache: {rows: 80000}}]",),
        ),
    ],
)
def test_the_remedy_works_when_typed(
    settings: tuple[str, ...],
    said: tuple[str, ...],
    remedy: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, told = typed(tmp_path, capsys, *settings)
    assert code == 2
    assert all(word in told for word in said), told
    code, told = typed(tmp_path, capsys, *remedy)
    assert code == 0, told


@pytest.mark.parametrize("system", ["fae", "{name: hotline, platform: hotline_v100}", "recshard"])
def test_a_hot_budget_above_the_memory_is_named_with_both_sizes(
    system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = typed(tmp_path, capsys, f"systems=[{system}]", *HOT)
    assert code == 2
    assert all(word in told for word in ("55.3 GB", "holds 32 GB", "lower cache.fraction")), told


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: het, platform: herald_100g, bound: -1}", "bound: is -1: must be at least 0"),
        ("{name: het, platform: herald_100g, bound: 0.5}", "bound: is 0.5: expected a whole"),
        ("{name: het, platform: herald_100g, bound: 1e30}", "must be at most 1,073,741,824"),
        ("{name: bagpipe, platform: bagpipe_p3, look_ahead: 0}", "look_ahead: is 0: must be at"),
        ("{name: bagpipe, platform: bagpipe_p3, look_ahead: 2.5}", "is 2.5: expected a whole"),
        ("{name: bagpipe, platform: bagpipe_p3, look_ahead: 1e12}", "at most 1,000,000"),
        ("{name: bagpipe, platform: bagpipe_p3, chunk: 0}", "chunk: is 0: must be greater than 0"),
        ("{name: bagpipe, platform: bagpipe_p3, gpus: 9}", "gpus: is 9: bagpipe_p3 has 8"),
        ("{name: bagpipe, platform: bagpipe_p3}", "is 200, but the run has 8 mini-batches"),
        ("{name: cdlrm, look_ahead: 3000}", "reads 3,000 mini-batches ahead, but the run has"),
        ("{name: herald, platform: herald_100g, buffered: 100}", "is 100, but the run has 8"),
        ("{name: fbgemm_cached, ways: 1025}", "ways: is 1025: must be at most 1,024"),
        ("{name: cdlrm, queue: -1}", "queue: is -1: must be at least 0"),
    ],
)
def test_values_out_of_bounds_are_named_with_the_bound(
    entry: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = typed(tmp_path, capsys, f"systems=[{entry}]")
    assert code == 2
    assert said in told

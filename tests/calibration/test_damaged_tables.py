"""Micro-benchmarks that are cut, shifted or no numbers: one error with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.calibration.tables import read_rows
from simulator.errors import UsageError

PLAN = "slots,n_lookups,misses,ms"
MLP = "what,batch,dim,precision,mode,ms"
SORT = "op,impl,n,dist,ms"
CPU = "op,impl,dim,threads,n_rows,dist,ms,note"


@pytest.mark.parametrize(
    ("name", "head", "line", "words"),
    [
        ("micro_plan.csv", PLAN, "100,10,5", "line 2: more or fewer fields"),
        ("micro_plan.csv", PLAN, "100,10,5,0.1,9", "line 2: more or fewer fields"),
        ("micro_plan.csv", PLAN, "100;10;5;0.1", "line 2: more or fewer fields"),
        ("micro_plan.csv", PLAN, "100,10,5,", "line 2: ms is '': expected a number above 0"),
        ("micro_plan.csv", PLAN, "100,10,5,0", "line 2: ms is '0'"),
        ("micro_plan.csv", PLAN, "100,10,5,nan", "line 2: ms is 'nan'"),
        ("micro_plan.csv", PLAN, "1.5,10,5,1", "line 2: slots is '1.5': expected a whole number"),
        ("micro_plan.csv", PLAN, "100,-1,5,1", "line 2: n_lookups is '-1'"),
        ("micro_plan.csv", PLAN, "100,1,inf,1", "line 2: misses is 'inf'"),
        ("micro_plan.csv", PLAN, "１,1,1,1", "line 2: slots is"),
        (
            "micro_mlp.csv",
            MLP,
            "mlp_train_step,9,9,名前,cuda_graph,1",
            "precision is '名前': expected",
        ),
        (
            "micro_sort.csv",
            SORT,
            "sort_pairs,cub radix,9,uniform,1",
            "impl is 'cub radix'",
        ),
        ("micro_sort.csv", SORT, "sort_pairs,cub 99999 bit,9,uniform,1", "impl is 'cub 99999 bit'"),
        ("micro_cpu.csv", CPU, "gather,own nt-store,0,1,9,uniform,1,", "line 2: dim is '0'"),
        (
            "micro_mlp.csv",
            "what,network,batch,dim,precision,mode,ms",
            "mlp_train_step,deep,9,9,tf32,cuda_graph,1",
            "network is 'deep': expected one of default, wide, vectors, many, beside",
        ),
    ],
)
def test_a_row_that_is_none(tmp_path: Path, name: str, head: str, line: str, words: str) -> None:
    (tmp_path / name).write_text(f"{head}\n{line}\n")
    with pytest.raises(UsageError) as refused:
        read_rows(tmp_path, name)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert words in str(refused.value)


def test_sizes_of_what_works_on_no_rows_are_0(tmp_path: Path) -> None:
    (tmp_path / "micro_cpu.csv").write_text(f"{CPU}\nparallel_region_overhead,own,0,1,0,,1,\n")
    assert read_rows(tmp_path, "micro_cpu.csv")[0]["dim"] == "0"

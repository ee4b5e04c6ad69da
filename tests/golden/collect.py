"""Collects what the shipped experiments gave into one table, and compares it with the stored one.

    scratchpipe reproduce all --jobs 2 --out OUT
    scratchpipe run configs/experiments/quickstart.yaml --out OUT/quickstart
    scratchpipe run configs/experiments/real_trace.yaml --out OUT/real_trace
    python tests/golden/collect.py OUT [--write]

Compares every column that both tables have, to the last digit, and prints what differs; exit code
1 where anything does. `--write` stores the table anew (after a change of physics; say why).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

STORED = Path(__file__).with_name("points.csv")
IDENTITY = ["label", "platform", "model", "locality", "operators", "sweep", "policy"]
IDENTITY += ["cache_rows", "tables", "dim", "batch_size", "gpus", "batches", "window_past"]
LEFT_OUT = ("point", "realtime_factor")
"""The key of a point covers the layout of its configuration; wall-clock values differ."""


def collect(out: Path) -> pd.DataFrame:
    """One row a distinct point of the run directories and of the finished points in `out`; points
    that the identifying columns do not tell apart are left out."""
    rows = []
    for file in sorted(out.glob("**/points/*.json")):
        _, body = file.read_text(encoding="utf-8").splitlines()
        metrics = json.loads(body)["metrics"]
        kept = {k: v for k, v in metrics.items() if k not in LEFT_OUT and "wall" not in k}
        kept.pop("speedup_over_hybrid", None)  # filled for a whole experiment only
        rows.append(kept)
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    table = table.sort_values(IDENTITY).drop_duplicates()
    return table[~table.duplicated(IDENTITY, keep=False)].reset_index(drop=True)


def differences(stored: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What differs in the columns that both have."""
    shared = [name for name in stored.columns if name in table.columns]
    keys = [name for name in IDENTITY if name in shared]
    if len(stored) != len(table):
        return [f"{len(stored)} points stored, {len(table)} now"]
    lines = []
    for name in shared:
        before, after = stored[name], table[name]
        unequal = ~((before == after) | (before.isna() & after.isna()))
        lines += [
            f"{name}: {before[row]!r} -> {after[row]!r} at {stored.loc[row, keys].to_dict()}"
            for row in stored.index[unequal][:3]
        ]
    return lines


def main() -> int:
    """Collect and compare, or store."""
    out = Path(sys.argv[1])
    table = collect(out)
    if "--write" in sys.argv:
        table.to_csv(STORED, index=False)
        return 0
    text = table.to_csv(index=False)
    from io import StringIO

    lines = differences(pd.read_csv(STORED), pd.read_csv(StringIO(text)))
    print("\n".join(lines) or f"{len(table)} points equal")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())

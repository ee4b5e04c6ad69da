"""Ids that are no row numbers: folded, hashed or renumbered, whatever file they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator._mix import mixed
from simulator.cli import main
from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces import Trace, open_trace, pieces, read_ids, replay
from simulator.traces.id_map import FirstAppearance

ROWS, BATCH = 50, 10
IDS = np.random.default_rng(3).permutation(np.repeat(np.arange(40), 5))
"""40 ids, five lookups each."""
WIDE = np.array([int(mixed(7 * int(i)) >> 2) for i in IDS], np.int64)
"""The same ids as hashes of 62 bits."""


def opened(path: Path, ids: Any, rows: int = ROWS) -> Trace:
    config = FileTraceConfig(path=str(path), ids=ids)
    return open_trace(config, rows=(rows,), lookups=(2,), batch_size=BATCH, seed=0)


def looked_up(trace: Trace) -> list[int]:
    assert trace.batches is not None
    return [int(i) for n in range(trace.batches) for i in trace.minibatch(n).ids[0]]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    np.save(tmp_path / "wide.npy", WIDE)
    return tmp_path / "wide.npy"


def by_first_appearance() -> list[int]:
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(i), len(numbers)) for i in WIDE]


def test_each_rule_makes_the_row_numbers_that_it_says(wide: Path) -> None:
    assert looked_up(opened(wide, "modulo")) == [int(i) % ROWS for i in WIDE]
    assert looked_up(opened(wide, "hash")) == [mixed(int(i)) % ROWS for i in WIDE]
    assert looked_up(opened(wide, "renumber")) == by_first_appearance()


def test_the_hottest_rows_are_those_of_the_row_numbers(wide: Path) -> None:
    counts = np.bincount([int(i) % ROWS for i in WIDE], minlength=ROWS)
    hottest = opened(wide, "modulo").hottest(0, 5, share=1.0)
    assert counts[hottest].tolist() == sorted(counts.tolist(), reverse=True)[:5]


def test_the_error_names_the_remedies(wide: Path) -> None:
    with pytest.raises(TraceError, match=r"outside of a table .* modulo, hash or renumber"):
        opened(wide, "error").minibatch(0)


def test_renumbering_takes_a_row_for_every_distinct_id(wide: Path) -> None:
    assert max(looked_up(opened(wide, "renumber", rows=40))) == 39
    with pytest.raises(TraceError, match="40 distinct ids for a table of 39 rows"):
        opened(wide, "renumber", rows=39)


@pytest.mark.parametrize("rule", ["error", "modulo", "hash", "renumber"])
def test_negative_ids_are_always_errors(tmp_path: Path, rule: str) -> None:
    np.save(tmp_path / "a.npy", np.array([*range(19), -4]))
    with pytest.raises(TraceError, match="id -4 at record 19 is negative"):
        looked_up(opened(tmp_path / "a.npy", rule))


def written(folder: Path, ids: np.ndarray[Any, Any], name: str) -> Path:
    path = folder / name
    kind = path.stem
    if path.suffix == ".npy":
        np.save(path, ids.astype(kind))
    elif path.suffix == ".npz":
        np.savez(path, wide=ids.astype(kind))
    else:
        path.write_text("".join(f"{i}\n" for i in ids))
    return path


FILES = ("int32.npy", "int64.npy", "uint64.npy", "uint32.npz", "text.csv", "text.tsv")


@pytest.mark.parametrize("rule", ["error", "modulo", "hash", "renumber"])
def test_the_file_that_ids_stand_in_changes_nothing(tmp_path: Path, rule: str) -> None:
    """Mapped or loaded, 32 or 64 bits, signed or not: same rows, profile and fingerprint."""
    traces = [opened(written(tmp_path, IDS, name), rule) for name in FILES]
    first = traces[0]
    for trace in traces[1:]:
        assert looked_up(trace) == looked_up(first)
        assert trace.hottest(0, 7).tolist() == first.hottest(0, 7).tolist()
        assert trace.has_time_order == first.has_time_order
        assert trace.fingerprint() == first.fingerprint()


@pytest.mark.parametrize("rule", ["modulo", "hash", "renumber"])
def test_the_size_of_pieces_changes_nothing(
    wide: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = opened(wide, rule)
    before = looked_up(whole), whole.fingerprint(), whole.hottest(0, 9).tolist()
    monkeypatch.setattr(replay, "CHUNK", 7)
    monkeypatch.setattr(pieces, "CHUNK", 7)
    parts = opened(wide, rule)
    assert (looked_up(parts), parts.fingerprint(), parts.hottest(0, 9).tolist()) == before


def test_fingerprints_differ_between_rules(wide: Path) -> None:
    rules = ("error", "modulo", "hash", "renumber")
    assert len({opened(wide, rule).fingerprint() for rule in rules}) == 4


def test_numbers_go_on_from_piece_to_piece() -> None:
    numbers = FirstAppearance()
    assert numbers(np.array([50, 9, 50])).tolist() == [0, 1, 0]
    assert numbers(np.array([7, 9, 3, 90, 7])).tolist() == [2, 1, 3, 4, 2]
    assert numbers(np.empty(0, np.int64)).tolist() == []
    assert (numbers.distinct, numbers.of(np.array([90, 50])).tolist()) == (5, [4, 0])


def convert(*arguments: object) -> int:
    """The exit code of `scratchpipe trace convert`."""
    with pytest.raises(SystemExit) as ended:
        main(["trace", "convert", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("rule", ["modulo", "hash", "renumber"])
def test_a_converted_trace_holds_the_rows_of_the_experiment(wide: Path, rule: str) -> None:
    target = wide.with_name("rows.npy")
    assert convert(wide, target, "--ids", rule, "--rows", ROWS) == 0
    assert read_ids(target).tolist() == looked_up(opened(wide, rule))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ids", "renumber", "--rows", 39), "40 distinct ids"),
        (("--ids", "hash"), "--rows"),
        (("--ids", "fold"), "expected one of error, modulo, hash, renumber"),
        (("--rows", 100), "outside of a table of 100 rows"),
    ],
)
def test_converting_refuses_what_does_not_fit(
    wide: Path, options: Sequence[object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = wide.with_name("rows.npy")
    assert convert(wide, target, *options) == 2
    assert message in capsys.readouterr().err
    assert not target.exists()


def test_renumbering_needs_no_rows_to_convert(wide: Path) -> None:
    target = wide.with_name("rows.npy")
    assert convert(wide, target, "--ids", "renumber") == 0
    assert read_ids(target).tolist() == by_first_appearance()

"""Tables that several columns of a file, or several features of a model, look up."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.cli import main
from simulator.config.trace import (
    CurveTraceConfig,
    FileTraceConfig,
    SessionTraceConfig,
    StackTraceConfig,
    UniformTraceConfig,
    ZipfTraceConfig,
)
from simulator.errors import TraceError
from simulator.traces import MiniBatch, Trace, bags_of, open_trace
from simulator.traces.features import Feeds, by_feature, even_bags
from simulator.traces.files import open_source
from simulator.traces.pieces import Column, load
from simulator.traces.survey import mean_lookups

ITEMS = {"item": "items", "last": "items"}
FILE = Path("log.npz")


def opened(config: Any, lookups: Any, rows: tuple[int, ...] = (50, 90), **changes: Any) -> Trace:
    shape = {"batch_size": 4, "seed": 5} | changes
    return open_trace(config, rows=rows, lookups=lookups, **shape)


def samples(batch: MiniBatch, table: int, features: int) -> list[list[list[int]]]:
    """The ids of every sample, feature by feature."""
    bags, ids = batch.pooled[table], batch.ids[table].tolist()
    edges = bags.tolist()
    cut = [ids[a:b] for a, b in pairwise(edges)]
    return [cut[k : k + features] for k in range(0, len(cut), features)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Eight samples: a user, an item, and 0 to 3 last items."""
    rng = np.random.default_rng(3)
    lengths = [2, 0, 3, 1, 1, 0, 2, 3]
    frame = pd.DataFrame(
        {
            "user": rng.integers(0, 50, 8),
            "item": rng.integers(0, 90, 8),
            "last": [rng.integers(0, 90, n).tolist() for n in lengths],
        }
    )
    frame.to_parquet(tmp_path / "log.parquet")
    return tmp_path / "log.parquet"


# which columns feed which table


def test_a_column_without_a_table_is_one_of_its_own_name() -> None:
    feeds = Feeds.of(FILE, ("item", "user", "last"), ITEMS)
    assert feeds.names == ("items", "user")
    assert feeds.columns == ((0, 2), (1,))
    assert feeds.table_of == (0, 1, 0)
    assert feeds.shared
    assert not Feeds.of(FILE, ("a", "b"), {"a": "x"}).shared


def test_a_column_may_feed_the_table_of_another_column() -> None:
    assert Feeds.of(FILE, ("item", "last"), {"last": "item"}).columns == ((0, 1),)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(TraceError, match=r"no column items to feed a table; .* item, last"):
        Feeds.of(FILE, ("item", "last"), {"items": "all"})


@pytest.mark.parametrize(("lookups", "edges"), [((2,), [0, 2, 4]), ((1, 3), [0, 1, 4, 5, 8])])
def test_even_bags(lookups: tuple[int, ...], edges: list[int]) -> None:
    assert even_bags(lookups, 2).tolist() == edges


def test_lookups_come_sample_by_sample_and_feature_by_feature() -> None:
    columns = [
        Column("item", np.array([1, 2, 3], np.uint8)),
        Column("last", np.array([10, 11, 20, 21, 22]), np.array([0, 2, 2, 5])),
    ]
    (table,) = Feeds.of(FILE, ("item", "last"), ITEMS).merged(FILE, columns, [(1, 9)])
    assert table.name == "items"
    assert table.ids.tolist() == [1, 10, 11, 2, 3, 20, 21, 22]
    assert table.offsets is not None
    assert table.bags is not None
    assert table.offsets.tolist() == [0, 3, 4, 8]
    assert table.bags.tolist() == [0, 1, 3, 4, 4, 5, 8]
    parts = by_feature(table.ids, table.bags, 2)
    assert [ids.tolist() for ids, _ in parts] == [[1, 2, 3], [10, 11, 20, 21, 22]]
    assert [lengths.tolist() for _, lengths in parts] == [[1, 1, 1], [2, 0, 3]]


def test_columns_of_no_equal_number_of_samples_need_bags() -> None:
    columns = [Column("item", np.arange(3)), Column("last", np.arange(7))]
    feeds = Feeds.of(FILE, ("item", "last"), ITEMS)
    with pytest.raises(TraceError, match="no equal number of samples"):
        feeds.merged(FILE, columns)
    empty = [Column(name, np.arange(0)) for name in ("item", "last")]
    assert len(feeds.merged(FILE, empty)[0].ids) == 0
    assert feeds.merged(FILE, columns, [(1, 2)])[0].ids.tolist() == [0, 0, 1, 1, 2, 3, 2, 4, 5]


# generated traces

GENERATORS = [
    UniformTraceConfig(),
    ZipfTraceConfig(alpha=0.9, correlation=0.4),
    CurveTraceConfig(curve="session_tmall_items"),
    SessionTraceConfig(alpha=0.8, repeat=0.5, length=6.0, concurrent=3),
    StackTraceConfig(curve="session_tmall_items", tolerance=1.0),
]


@pytest.mark.parametrize("config", GENERATORS, ids=lambda config: config.kind)
def test_two_features_draw_what_one_of_all_their_lookups_draws(config: Any) -> None:
    """The ids are equal, lookup by lookup; their bags are those of each feature."""
    rows = (4_000, 9_000)
    shared, whole = opened(config, ((1, 10), 4), rows), opened(config, (11, 4), rows)
    assert shared.fingerprint() != whole.fingerprint()
    for index in (-3, 0, 7):
        one, other = shared.minibatch(index), whole.minibatch(index)
        assert all(map(np.array_equal, one.ids, other.ids))
        assert all(map(np.array_equal, one.offsets, other.offsets))
        assert other.bags is None
        assert np.diff(one.pooled[0]).tolist() == [1, 10] * 4
        assert one.pooled[1].tolist() == other.offsets[1].tolist()
        assert (one.longest, other.longest) == ((10, 4), (11, 4))


@pytest.mark.parametrize("pooling", ["poisson", "geometric", "uniform"])
def test_each_feature_has_bags_around_its_own_mean(pooling: Any) -> None:
    trace = opened(ZipfTraceConfig(alpha=0.9, pooling=pooling), ((2, 9),), (500,), batch_size=4000)
    batch = trace.minibatch(0)
    sizes = np.diff(batch.pooled[0]).reshape(-1, 2)
    assert sizes.mean(axis=0) == pytest.approx([2, 9], rel=0.05)
    assert abs(np.corrcoef(sizes.T)[0, 1]) < 0.05
    assert sizes.sum(axis=1).tolist() == np.diff(batch.offsets[0]).tolist()
    first = opened(ZipfTraceConfig(alpha=0.9, pooling=pooling), (2,), (500,), batch_size=4000)
    assert np.diff(first.minibatch(0).offsets[0]).tolist() == sizes[:, 0].tolist()
    bags = bags_of(trace)
    assert bags is not None
    assert bags.mean == (11,)
    assert len(batch.ids[0]) <= bags.most[0]


def test_sessions_repeat_what_features_of_any_bag_looked_up() -> None:
    """Every lookup of a sample is one of its session's sample before, or drawn afresh."""
    config = SessionTraceConfig(
        alpha=0.0, repeat=0.9, length=1e9, concurrent=1, pooling="geometric"
    )
    batch = opened(config, ((1, 4),), (10**9,), batch_size=500).minibatch(0)
    own = [first + second for first, second in samples(batch, 0, 2)]
    repeated = sum(id in before for before, now in pairwise(own) for id in now)
    assert repeated / sum(map(len, own[1:])) == pytest.approx(0.9, abs=0.03)


def test_ages_of_rows_follow_the_lookups_of_both_features() -> None:
    """A row is left alone by a mini-batch with probability E[(1 - p)**size] of either feature."""
    config = ZipfTraceConfig(alpha=0.0, pooling="poisson")
    trace: Any = opened(config, ((2, 9),), (1000,), batch_size=64)
    ages = trace.popularity_ages(0)
    assert ages.expected(1.0) == pytest.approx(1000 * -np.expm1(-64 * 11 / 1000), rel=1e-6)


# files


def test_columns_of_a_file_feed_one_table(log: Path) -> None:
    config = FileTraceConfig(path=str(log), tables=ITEMS)
    trace = opened(config, ((1,), (1, 2)))
    frame = pd.read_parquet(log)
    batch = trace.minibatch(1)
    assert batch.ids[0].tolist() == frame.user[4:].tolist()
    wanted = [[[item], list(last)] for item, last in zip(frame["item"], frame["last"], strict=True)]
    assert samples(batch, 1, 2) == wanted[4:]
    assert batch.longest == (1, 3)
    bags = bags_of(trace)
    assert bags is not None
    assert bags.mean == (1, 2.5)
    assert bags.most == (4, 10)
    assert mean_lookups(config, (50, 90)) == (None, None), "bags of item are not told"


def test_the_hottest_rows_are_those_of_all_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", item=[7, 3, 3, 1], last=[7, 7, 7, 1])
    config = FileTraceConfig(path=str(tmp_path / "log.npz"), tables=ITEMS)
    trace = opened(config, ((1, 1),), (9,), batch_size=2)
    assert trace.hottest(0, 3, 1.0).tolist() == [7, 1, 3]


def test_bags_of_features_are_part_of_what_a_trace_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", item=np.arange(12), last=np.arange(12))
    config = FileTraceConfig(path=str(tmp_path / "log.npz"), tables=ITEMS)
    one, other = (opened(config, (pair,), batch_size=2, rows=(12,)) for pair in ((1, 2), (2, 1)))
    assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("lookups", "tables", "message"),
    [
        (((1,), (1,)), ITEMS, r"'items' is fed by 2 column\(s\) \(item, last\), but model.*has 1"),
        (((1, 2), (1, 1)), ITEMS, r"'user' is fed by 1 column\(s\) \(user\), but model.*has 1, 2"),
        (((1,), (1, 2)), {}, "3 tables in the file .* say with trace.tables which columns feed"),
        (((1,), (1,)), {}, r"3 tables in the file \(user, item, last\), 2 in the model"),
        (((1,), (1, 2)), {"items": "item"}, "no column items to feed a table"),
    ],
)
def test_tables_that_the_columns_do_not_feed_are_refused(
    log: Path, lookups: Any, tables: dict[str, str], message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        opened(FileTraceConfig(path=str(log), tables=tables), lookups)


def test_an_id_outside_of_the_table_names_its_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", item=[1, 2], last=[1, 95])
    config = FileTraceConfig(path=str(tmp_path / "log.npz"), tables=ITEMS)
    with pytest.raises(TraceError, match=r"column 'last' of table 'items': id 95 at record 1"):
        opened(config, ((1, 1),), (90,), batch_size=2)


@pytest.mark.parametrize("rule", ["modulo", "hash", "renumber"])
def test_equal_ids_of_two_columns_are_one_row(tmp_path: Path, rule: Any) -> None:
    big = np.array([10**12, 5, 10**12 + 1, 9])
    np.savez(tmp_path / "log.npz", item=big, last=big[::-1].copy())
    config = FileTraceConfig(path=str(tmp_path / "log.npz"), tables=ITEMS, ids=rule)
    pairs = samples(opened(config, ((1, 1),), (90,)).minibatch(0), 0, 2)
    first, second = ([pair[k][0] for pair in pairs] for k in (0, 1))
    assert first == second[::-1]
    if rule == "renumber":
        assert first == [0, 1, 2, 3]


def test_words_of_two_columns_are_hashed_to_one_table(tmp_path: Path) -> None:
    log = tmp_path / "words.csv"
    log.write_text("query,title,user\nred,blue,ann\nblue,red,bob\n")
    tables = {"query": "words", "title": "words"}
    source = open_source(log, format="words", tables=tables, rows=(1000, 7))
    query, title, user = (column.ids.tolist() for column in load(source))
    assert query == title[::-1]
    assert max(query) >= 7 > max(user)
    with pytest.raises(TraceError, match="2 tables need as many sizes, 3 are given"):
        open_source(log, format="words", tables=tables, sizes=(10, 10, 10))


# verbs


def run(arguments: list[str]) -> int | str | None:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


FED = ["--table", "item=items", "--table", "last=items"]


def test_what_is_converted_is_read_back_with_its_features(log: Path, tmp_path: Path) -> None:
    target = tmp_path / "log.npz"
    assert run(["trace", "convert", str(log), str(target), *FED]) == 0
    one, other = (
        opened(FileTraceConfig(path=str(path), tables=ITEMS), ((1,), (1, 2)))
        for path in (log, target)
    )
    assert one.fingerprint() == other.fingerprint()
    assert samples(one.minibatch(0), 1, 2) == samples(other.minibatch(0), 1, 2)


def test_converting_renumbers_all_columns_of_a_table_together(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a run does that renumbers them itself."""
    target = tmp_path / "log.parquet.npz"
    assert run(["trace", "convert", str(log), str(target), "--ids", "renumber", *FED]) == 0
    assert "of 2 table(s)" in capsys.readouterr().out
    itself = opened(FileTraceConfig(path=str(log), tables=ITEMS, ids="renumber"), ((1,), (1, 2)))
    converted = opened(FileTraceConfig(path=str(target), tables=ITEMS), ((1,), (1, 2)))
    assert itself.fingerprint() == converted.fingerprint()
    most = str(max(batch.ids[1].max() for batch in map(converted.minibatch, (0, 1))) + 1)
    assert run(["trace", "validate", str(target), "--rows", f"8,{most}", *FED]) == 0


@pytest.mark.parametrize("pooling", ["fixed", "poisson"])
def test_generated_features_are_columns(tmp_path: Path, pooling: str) -> None:
    target = tmp_path / "made.npz"
    shape = ["--tables", "2", "--rows", "60", "--lookups", "1,4", "--batch-size", "8"]
    kind = ["--kind", "zipf", "--alpha", "0.9", "--set", f"pooling={pooling}", "--seed", "5"]
    assert run(["trace", "generate", str(target), *shape, *kind, "--batches", "3"]) == 0
    tables = {f"t{t}_{f}": f"t{t}" for t in (0, 1) for f in (0, 1)}
    config = FileTraceConfig(path=str(target), tables=tables)
    read = opened(config, ((1, 4), (1, 4)), (60, 60), batch_size=8)
    made = opened(
        ZipfTraceConfig.model_validate({"alpha": 0.9, "pooling": pooling}),
        ((1, 4), (1, 4)),
        (60, 60),
        batch_size=8,
    )
    assert read.past is not None
    for number in range(3):
        one, other = read.minibatch(number - read.past), made.minibatch(number)
        for table in (0, 1):
            assert samples(one, table, 2) == samples(other, table, 2)


def test_verbs_see_the_table(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "validate", str(log), "--json", *FED]) == 0
    user, items = json.loads(capsys.readouterr().out)["tables"]
    assert (user["table"], items["table"], items["lookups"]) == ("user", "items", 20)
    assert run(["trace", "describe", str(log), "--json", *FED]) == 0
    frame = pd.read_parquet(log)
    distinct = len({*frame["item"], *(id for last in frame["last"] for id in last)})
    described = json.loads(capsys.readouterr().out)["tables"]
    assert described[1]["unique_ids"] == distinct
    columns = ["--column", "item", "--column", "last", *FED]
    replay = ["replay", "--trace", str(log), "--policy", "lru", "--capacity", "90", "--json"]
    assert run([*replay, *columns]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert (replayed["lookups"], replayed["misses"]) == (20, distinct)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--table", "items"], "expected COLUMN=TABLE"),
        (["--table", "=items"], "expected COLUMN=TABLE"),
        (["--table", "item="], "expected COLUMN=TABLE"),
        (["--table", "item=a", "--table", "item=b"], "item feeds table a already"),
        (["--table", "price=items"], "no column price to feed a table"),
    ],
)
def test_options_that_feed_no_table_are_refused(
    log: Path, capsys: pytest.CaptureFixture[str], option: list[str], message: str
) -> None:
    assert run(["trace", "validate", str(log), *option]) != 0
    assert message in capsys.readouterr().err

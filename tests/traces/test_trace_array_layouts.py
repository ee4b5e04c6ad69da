"""The layouts in which arrays and columns of ids are shared, and what is said of them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from simulator.errors import TraceError
from simulator.traces import read_ids
from simulator.traces.files import open_source
from simulator.traces.pieces import checked, load

SPARSE = np.arange(12).reshape(4, 3)
IDS = np.array([3, 1, 4, 1, 5, 9, 2])
LENGTHS = np.array([2, 0, 1, 4])
OFFSETS = np.array([0, 2, 2, 3, 7])
BAGS = OFFSETS.tolist()


def tables(path, columns=()):
    """name -> (ids, offsets), and the notes."""
    source = open_source(path, columns=columns)
    read = {
        c.name: (c.ids.tolist(), None if c.offsets is None else c.offsets.tolist())
        for c in load(source)
    }
    assert tuple(read) == source.tables
    return read, " | ".join(source.notes)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i8", ">i4", "u1"])
def test_npy_of_two_dimensions_is_a_table_a_column(tmp_path, order, dtype):
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(SPARSE, dtype, order=order))
    read, notes = tables(path)
    assert read == {f"C{i + 1}": (SPARSE[:, i].tolist(), None) for i in range(3)}
    assert "shape (4, 3) is read as (samples, tables)" in notes
    source = open_source(path, columns=("C3", "C1"))
    pieces = {piece.table: piece.ids.tolist() for piece in source.pieces()}
    assert pieces == {0: [2, 5, 8, 11], 1: [0, 3, 6, 9]}
    with pytest.raises(TraceError, match="no table C4; npy has C1, C2, C3"):
        open_source(path, columns=("C4",))


def test_npy_of_many_samples_comes_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.traces.numpy_files.CHUNK", 8)
    grid = np.arange(60).reshape(20, 3)
    for order in "CF":
        np.save(tmp_path / "a.npy", np.asarray(grid, order=order))
        ids = [[], [], []]
        for piece in open_source(tmp_path / "a.npy").pieces():
            ids[piece.table] += piece.ids.tolist()
        assert ids == grid.T.tolist()


def test_records_are_numbered_over_the_whole_table(tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.traces.numpy_files.CHUNK", 4)
    monkeypatch.setattr("simulator.traces.npz_files.CHUNK", 4)
    monkeypatch.setattr("simulator.traces.parquet_files._ROWS", 4)
    ids = np.array([1] * 10 + [2**63], np.uint64)
    np.save(tmp_path / "a.npy", ids)
    np.savez(tmp_path / "a.npz", x=ids)
    pq.write_table(pa.table({"x": ids}), tmp_path / "a.parquet")
    for name in ("a.npy", "a.npz", "a.parquet"):
        with pytest.raises(TraceError, match=r"id 9223372036854775808 at record 10 is above"):
            list(checked(open_source(tmp_path / name)))
    pq.write_table(pa.table({"x": [*range(9), None]}), tmp_path / "b.parquet")
    with pytest.raises(TraceError, match="no value at record 9"):
        read_ids(tmp_path / "b.parquet")
    pq.write_table(pa.table({"x": [[1]] * 5 + [[], [7, None]]}), tmp_path / "c.parquet")
    with pytest.raises(TraceError, match="no value in the list at record 6"):
        read_ids(tmp_path / "c.parquet")


def test_npy_that_holds_more_than_one_array_says_so(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, IDS)
        np.save(file, IDS)
    assert "left out: another array" in tables(tmp_path / "a.npy")[1]


def test_multi_hot_npz_has_bags_of_one_size(tmp_path):
    hot = {"0": SPARSE[:, :1], "1": SPARSE, "25": np.asfortranarray(SPARSE[:, 1:])}
    np.savez_compressed(tmp_path / "a.npz", **hot)
    read, notes = tables(tmp_path / "a.npz")
    assert read == {
        name: (array.ravel().tolist(), list(range(0, array.size + 1, array.shape[1])))
        for name, array in hot.items()
    }
    assert "read as (samples, lookups): 0, 1, 25" in notes


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": IDS, "x_offsets": OFFSETS},
        {"x": IDS, "x_offsets": OFFSETS[:-1]},
        {"x": IDS, "x_lengths": LENGTHS},
        {"x_values": IDS, "x_lengths": LENGTHS},
        {"x_values": IDS, "x_offsets": OFFSETS, "x_lengths": LENGTHS},
        {"x": IDS, "x_lengths": LENGTHS, "x_weights": np.ones(7)},
        {"x": IDS, "x_lengths": LENGTHS, "x_weights": np.ones(7, int), "label": LENGTHS},
    ],
)
@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_bags_beside_their_ids(tmp_path, ending, arrays):
    path = tmp_path / f"a.{ending}"
    if ending == "npz":
        np.savez(path, **arrays)
    else:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    read, notes = tables(path)
    assert read == {"x": (IDS.tolist(), BAGS)}
    assert ("x_weights" in notes) == ("x_weights" in arrays)
    assert ("'label' (a label)" in notes) == ("label" in arrays)
    assert ("as many offsets as bags" in notes) == (len(arrays.get("x_offsets", OFFSETS)) == 4)
    values = "x_values" if "x_values" in arrays else "x"
    assert tables(path, (values,))[0] == {values: (IDS.tolist(), BAGS)}


def test_one_rule_of_offsets_holds_for_a_file(tmp_path):
    """The last bag of `b` is empty: only `a` tells that no offset stands at the end."""
    np.savez(tmp_path / "a.npz", a=IDS, a_offsets=[0, 2, 3], b=IDS, b_offsets=[0, 5, 7])
    assert [t[1] for t in tables(tmp_path / "a.npz")[0].values()] == [[0, 2, 3, 7], [0, 5, 7, 7]]
    np.savez(tmp_path / "b.npz", a=SPARSE[:3], b=IDS, b_offsets=[0, 5, 7])
    assert tables(tmp_path / "b.npz")[0]["b"] == (IDS.tolist(), [0, 5, 7, 7])


@pytest.mark.parametrize("names", [("values", "lengths"), ("indices", "lengths")])
def test_bags_of_a_file_of_one_table(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (IDS, LENGTHS), strict=True)))
    assert tables(tmp_path / "a.npz")[0] == {names[0]: (IDS.tolist(), BAGS)}


def test_what_can_be_no_table_of_an_npz(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"x": IDS, "price": np.ones(7), "seen": IDS > 1, "count": np.array(7)}
    np.savez(path, **arrays, keys=np.array(["a"]), timestamp=IDS)
    read, notes = tables(path)
    assert list(read) == ["x"]
    for phrase in ("'price' (float64 values)", "'seen' (bool", "'count' (a single number)",
                   "'keys' (<U1 values)", "'timestamp' (a time)"):  # fmt: skip
        assert phrase in notes
    assert tables(path, ("timestamp",))[0] == {"timestamp": (IDS.tolist(), None)}
    with pytest.raises(TraceError, match="'price': float64 values, ids must be integers"):
        open_source(path, columns=("price",))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3, 4), int)}, r"shape \(2, 3, 4\), expected .* for each table"),
        ({"x": SPARSE, "x_lengths": LENGTHS}, r"shape \(4, 3\) beside 'x_lengths'"),
        ({"values": IDS, "lengths": LENGTHS.reshape(2, 2)}, r"shape \(2, 2\), expected integers"),
        ({"x": IDS, "x_lengths": LENGTHS + 0.0}, "float64 values, expected integers"),
        ({"x": IDS, "x_lengths": [2**62] * 4}, "a bag of 4611686018427387904 lookups"),
        ({"x": IDS, "x_lengths": LENGTHS[:-1]}, "add to 3, but there are 7"),
        ({"x": IDS, "x_offsets": [0, 9]}, "add to 9, but there are 7"),
        ({"x": np.ones(3)}, r"no table of ids: it has 'x' \(float64 values\)"),
    ],
)
def test_npz_that_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(TraceError, match=message):
        load(open_source(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.int8()),
        pa.list_view(pa.uint64()),
        pa.large_list_view(pa.int16()),
        pa.list_(pa.dictionary(pa.int32(), pa.int64())),
    ],
)
def test_lists_of_every_kind_are_bags(tmp_path, kind):
    rows = np.split(IDS, OFFSETS[1:-1])
    lists = pa.array([r.tolist() for r in rows], kind)
    pq.write_table(pa.table({"x": lists}), tmp_path / "a.parquet", row_group_size=3)
    assert tables(tmp_path / "a.parquet")[0] == {"x": (IDS.tolist(), BAGS)}


def test_lists_of_one_size_and_dictionaries(tmp_path):
    path = tmp_path / "a.parquet"
    fixed = pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))
    ids = pa.array([7, 8], pa.uint8()).dictionary_encode()
    pq.write_table(pa.table({"x": fixed, "y": ids}), path)
    assert tables(path)[0] == {"x": ([1, 2, 3, 4], [0, 2, 4]), "y": ([7, 8], None)}
    read = [p.ids.tolist() for p in open_source(path, columns=("y",)).pieces()]
    assert read == [[7, 8]]


@pytest.mark.parametrize("name", [None, "row", "user_id"])
def test_the_index_of_a_frame_is_no_table(tmp_path, name):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"user": [5, 6, 7], "item": [1, 2, 3]}, index=[2, 0, 1]).rename_axis(name)
    frame.to_parquet(path)
    read, notes = tables(path)
    assert list(read) == ["user", "item"]
    column = name or "__index_level_0__"
    assert f"'{column}' (the index of a data frame)" in notes
    assert tables(path, (column,))[0] == {column: ([2, 0, 1], None)}


def test_what_can_be_no_table_of_a_parquet_file(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table(
            {
                "x": [[1], [2, 3]],
                "x_lengths": [1, 2],
                "label": [0, 1],
                "event_timestamp": [1, 2],
                "at": pa.array([1, 2], pa.timestamp("us")),
                "seen": [True, False],
                "price": [1.5, 2.5],
                "word": ["a", "b"],
                "both": [{"a": 1}, {"a": 2}],
            }
        ),
        path,
    )
    read, notes = tables(path)
    assert list(read) == ["x"]
    for phrase in ("'x_lengths' (lengths of 'x')", "'label' (a label)", "'seen' (bool values)",
                   "'event_timestamp' (a time)", "'at' (timestamp[us] values)"):  # fmt: skip
        assert phrase in notes
    with pytest.raises(TraceError, match="'price': double values, ids must be integers"):
        open_source(path, columns=("price",))


def test_parquet_that_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1, 2], "deep": [[[1]], [[2]]]}), path)
    with pytest.raises(TraceError, match="lists of lists are no bags of ids: deep; flatten"):
        open_source(path)
    assert tables(path, ("x",))[0] == {"x": ([1, 2], None)}
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), path)
    with pytest.raises(TraceError, match="several columns are named x: rename"):
        open_source(path)
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), path)
    with pytest.raises(TraceError, match="holds no ids"):
        load(open_source(path))
    pq.write_table(pa.table({"x": [[1], None]}), path)
    with pytest.raises(TraceError, match="no value at record 1"):
        load(open_source(path))


@pytest.mark.parametrize("index", ['{"index_columns": 7}', "{", '{"index_columns": [7, null]}'])
def test_metadata_that_are_not_of_pandas(tmp_path, index):
    table = pa.table({"x": [1, 2]}).replace_schema_metadata({"pandas": index})
    pq.write_table(table, tmp_path / "a.parquet")
    assert list(tables(tmp_path / "a.parquet")[0]) == ["x"]


def tensor(values, dtype=torch.int64):
    return torch.tensor(np.asarray(values).tolist(), dtype=dtype)


PAIR = (tensor(IDS), tensor(OFFSETS))
KEYED = {"keys": ["a", "b"], "values": tensor(IDS), "lengths": tensor(LENGTHS)}
TWO = {"a": ([3, 1], [0, 2, 2]), "b": ([4, 1, 5, 9, 2], [0, 1, 5])}


@pytest.mark.parametrize(
    ("value", "expected", "note"),
    [
        (tensor(IDS), {"t0": (IDS.tolist(), None)}, ""),
        (tensor(SPARSE), {f"C{i + 1}": (SPARSE[:, i].tolist(), None) for i in range(3)}, "(4, 3)"),
        (PAIR, {"t0": (IDS.tolist(), BAGS)}, "as ids and offsets"),
        ((PAIR[0], PAIR[1][:-1]), {"t0": (IDS.tolist(), BAGS)}, "the last bag ends with the ids"),
        ((PAIR[0], tensor(LENGTHS)), {"t0": (IDS.tolist(), BAGS)}, "as ids and bag lengths"),
        ((*PAIR, torch.ones(7)), {"t0": (IDS.tolist(), BAGS)}, "left out: weights"),
        ({"u": PAIR}, {"u": (IDS.tolist(), BAGS)}, "as ids and offsets"),
        (KEYED, TWO, ""),
        (
            {"keys": ["a", "b"], "values": tensor(IDS), "offsets": tensor(OFFSETS)},
            TWO,
            "",
        ),
        ((*PAIR, tensor(LENGTHS.reshape(2, 2))), {"t0": TWO["a"], "t1": TWO["b"]}, ""),
        (
            (PAIR[0], PAIR[1][:-1], tensor(LENGTHS.reshape(2, 2)), torch.ones(7)),
            {"t0": TWO["a"], "t1": TWO["b"]},
            "weights",
        ),
        (
            [{"u": PAIR[0], "u_lengths": tensor(LENGTHS)}] * 2,
            {"u": (IDS.tolist() * 2, [*BAGS, *(x + 7 for x in BAGS[1:])])},
            "a list of 2 is read as batches",
        ),
        ([PAIR, PAIR], {"t0": (IDS.tolist() * 2, [*BAGS, *(x + 7 for x in BAGS[1:])])}, "batches"),
        ({"x": tensor(IDS, torch.int16), "w": torch.ones(7)}, {"x": (IDS.tolist(), None)}, "'w'"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_in_the_ways_they_are_saved(tmp_path, value, expected, note, zipped):
    torch.save(value, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    read, notes = tables(tmp_path / "a.pt")
    assert read == expected
    assert note in notes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(3), r"holds float32 of shape \(3,\); expected \(indices, offsets, lengths\)"),
        ((tensor(IDS), torch.ones(7)), r"a tuple of int64 of shape \(7,\), float32 of shape"),
        ((tensor(IDS), tensor([1, 2])), "lengths add to 3, but there are 7"),
        ((tensor(SPARSE), tensor(SPARSE)), r"a tuple of int64 of shape \(4, 3\), int64"),
        ({"a": "text", "b": 3}, r"a dictionary of a: a value of type str, b: a value"),
        ({}, "holds a dictionary of 0"),
        ([PAIR, {"u": PAIR}], "the batches have different tables"),
        (3, "holds a value of type int"),
        (KEYED | {"keys": ["a", "b", "c"]}, "4 bags of 3 keys"),
        (torch.nn.Parameter(torch.ones(3)), "_rebuild_parameter, which is never called"),
        (tensor(SPARSE).T, "not contiguous"),
    ],
)
def test_tensors_that_are_refused_are_named(tmp_path, value, message):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(TraceError, match=message) as caught:
        load(open_source(tmp_path / "a.pt"))
    assert str(tmp_path / "a.pt") in str(caught.value)

"""Which ids exist: 0 to 2**63 - 1, in every format, with the same words above and below."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import TraceError
from simulator.traces import read_ids
from simulator.traces.files import open_source
from simulator.traces.oracle_files import RECORD
from simulator.traces.pieces import Column, checked
from simulator.traces.writing import spooled, write_columns

GOOD = [0, 2**31, 2**32, 2**53 + 1, 10**18, 2**63 - 1]
FORMATS = ("npy", "npz", "parquet", "csv", "tsv", "oracle", "meta")


def written(tmp_path, format, values, dtype):
    """A file of ids that other programs could have written."""
    path = tmp_path / f"ids.{'pt' if format == 'meta' else format}"
    array = np.array(values, dtype)
    if format == "npy":
        np.save(path, array)
    elif format == "npz":
        np.savez(path, x=array)
    elif format == "parquet":
        pq.write_table(pa.table({"x": array}), path)
    elif format == "oracle":
        records = np.zeros(len(array), RECORD)
        records["object"], records["size"], records["next"] = array.view(np.uint64), 1, -2
        path.write_bytes(records.tobytes())
    elif format == "meta":
        torch = pytest.importorskip("torch")
        ids = torch.from_numpy(array)
        lengths = torch.full((1, 1), len(array))
        torch.save((ids, torch.tensor([0, len(array)]), lengths), path)
    else:
        path.write_text("x\n" + "".join(f"{value}\n" for value in values))
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_all_ids_of_63_bits_are_read(tmp_path, format):
    path = written(tmp_path, format, GOOD, np.int64)
    assert read_ids(path, format=format).tolist() == GOOD


@pytest.mark.parametrize("to", ["npy", "npz", "parquet", "csv", "tsv", "oracle"])
def test_all_ids_of_63_bits_come_back(tmp_path, to):
    source = open_source(written(tmp_path, "npy", GOOD, np.int64))
    target = tmp_path / "copy"
    with spooled(checked(source), source.tables, target) as columns:
        write_columns(target, to, [Column("x", columns[0].ids)])
    assert read_ids(target, format=to).tolist() == GOOD


@pytest.mark.parametrize("format", ["npy", "npz", "parquet", "csv", "tsv", "oracle"])
@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_ids_above_are_refused_in_the_same_words(tmp_path, format, value):
    path = written(tmp_path, format, [7, value, 3], np.uint64)
    with pytest.raises(TraceError, match=rf"id {value} .*is above 2\*\*63 - 1") as caught:
        read_ids(path, format=format)
    assert str(path) in str(caught.value)
    assert ("line 3" if format in ("csv", "tsv") else "record 1") in str(caught.value)


@pytest.mark.parametrize("format", ["npy", "npz", "parquet", "csv", "tsv", "meta"])
def test_ids_below_are_refused_in_the_same_words(tmp_path, format):
    path = written(tmp_path, format, [7, -1, 3], np.int64)
    with pytest.raises(TraceError, match="id -1 at record 1 is negative"):
        read_ids(path, format=format)

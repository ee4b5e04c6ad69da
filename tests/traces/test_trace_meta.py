"""Meta's tensor files, made by hand in both of torch's layouts, read without running any code."""

import gzip
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from simulator.errors import TraceError
from simulator.traces.files import open_source
from simulator.traces.pieces import load
from simulator.traces.tensor_files import read_tensors

INDICES = np.array([3, 1, 4, 1, 5, 9, 2], np.int64)
LENGTHS = np.array([[2, 0], [1, 4]], np.int64)
OFFSETS = np.array([0, 2, 2, 3, 7], np.int64)
TENSORS = (INDICES, OFFSETS, LENGTHS)


class Tensor:
    """Pickles as torch's tensors do."""

    def __init__(self, array, key, rebuild, stride=None):
        self.array, self.key, self.rebuild = array, key, rebuild
        self.stride = stride or tuple(s // array.itemsize for s in array.strides)

    def __reduce__(self):
        arguments = (self, 0, self.array.shape, self.stride, False, OrderedDict())
        return self.rebuild, (Storage(self.array, self.key), *arguments[1:])


class Storage:
    def __init__(self, array, key):
        self.array, self.key = array, key


@pytest.fixture
def torch(monkeypatch):
    """As much of torch as pickling by reference needs."""

    def _rebuild_tensor_v2():
        raise AssertionError("never called")

    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("LongStorage", "IntStorage", "FloatStorage"):
        setattr(module, name, type(name, (), {"__module__": "torch"}))
    module._utils = utils
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def pickled(value, torch, legacy):
    names = {"int64": "LongStorage", "int32": "IntStorage", "float32": "FloatStorage"}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if not isinstance(obj, Storage):
                return None
            kind = getattr(torch, names[str(obj.array.dtype)])
            return ("storage", kind, obj.key, "cpu", obj.array.size, *([None] if legacy else []))

    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def zipped(value, arrays, torch):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(value, torch, False))
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(arrays):
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return file.getvalue()


def legacy(value, arrays, torch):
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)]
    parts.append(pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2))
    parts.append(pickled(value, torch, True))
    parts.append(pickle.dumps([str(key) for key in range(len(arrays))], 2))
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in arrays]
    return b"".join(parts)


def tensors(arrays, torch):
    rebuild = torch._utils._rebuild_tensor_v2
    return tuple(Tensor(array, str(key), rebuild) for key, array in enumerate(arrays))


@pytest.mark.parametrize("layout", [zipped, legacy])
@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS.astype(np.int32)])
def test_both_layouts_are_read(tmp_path, torch, layout, lengths):
    arrays = (INDICES, OFFSETS, lengths)
    path = tmp_path / "a.pt.gz"
    path.write_bytes(gzip.compress(layout(tensors(arrays, torch), arrays, torch)))
    for read, array in zip(read_tensors(path), arrays, strict=True):
        assert np.array_equal(read, array)
    first, second = load(open_source(path))
    assert (first.name, first.ids.tolist(), first.offsets.tolist()) == ("t0", [3, 1], [0, 2, 2])
    assert (second.ids.tolist(), second.offsets.tolist()) == ([4, 1, 5, 9, 2], [0, 1, 5])
    assert load(open_source(path, columns=("t1",)))[0].ids.tolist() == [4, 1, 5, 9, 2]
    with pytest.raises(TraceError, match="no table t2"):
        open_source(path, columns=("t2",))


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("layout", [zipped, legacy])
def test_code_in_the_file_is_never_run(tmp_path, torch, layout):
    path, marker = tmp_path / "a.pt", tmp_path / "marker"
    path.write_bytes(layout((Evil(marker),), (), torch))
    with pytest.raises(TraceError, match=r"asks for (posix|nt)\.system, which is never called"):
        read_tensors(path)
    assert not marker.exists()


@pytest.mark.parametrize("layout", [zipped, legacy])
def test_every_truncation_is_an_error(tmp_path, torch, layout):
    data = layout(tensors(TENSORS, torch), TENSORS, torch)
    path = tmp_path / "a.pt"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(TraceError, match=str(path)):
            read_tensors(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((INDICES, OFFSETS, LENGTHS.ravel()), r"expected \(tables, batch\)"),
        ((INDICES, OFFSETS[:-2], LENGTHS), "not the running sum"),
        ((INDICES[:-1], OFFSETS, LENGTHS), "add to 7, but there are 6"),
        ((INDICES, OFFSETS, LENGTHS - 2), "negative length"),
        ((-INDICES, OFFSETS, LENGTHS), "id -3 at record 0 is negative"),
        ((INDICES.astype(np.float32), OFFSETS, LENGTHS), r"a tuple of float32 of shape \(7,\), "),
    ],
)
def test_bad_contents_are_named(tmp_path, torch, arrays, message):
    path = tmp_path / "a.pt"
    path.write_bytes(zipped(tensors(arrays, torch), arrays, torch))
    with pytest.raises(TraceError, match=message):
        load(open_source(path))


def test_tensors_that_reach_outside_of_their_storage(tmp_path, torch):
    rebuild = torch._utils._rebuild_tensor_v2
    path = tmp_path / "a.pt"
    path.write_bytes(zipped((Tensor(INDICES, "0", rebuild),), (INDICES[:3],), torch))
    with pytest.raises(TraceError, match="3 of 7 values"):
        read_tensors(path)
    path.write_bytes(zipped((Tensor(INDICES, "0", rebuild, stride=(2,)),), (INDICES,), torch))
    with pytest.raises(TraceError, match="not contiguous"):
        read_tensors(path)

"""The same hits, to the last one, as libcachesim's C implementations (where it is installed)."""

import numpy as np
import pytest

from simulator.caches.per_lookup.base import next_positions, replay_lookups

libcachesim = pytest.importorskip("libcachesim")

SAME = {
    "lru": "LRU",
    "fifo": "FIFO",
    "lfu": "LFU",
    "clock": "Clock",
    "belady": "Belady",
    "sieve": "Sieve",
    "s3fifo": "S3FIFO",
    "arc": "ARC",
    "2q": "TwoQ",
}
RECORD = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])


@pytest.fixture(scope="module")
def oracle_file(zipf_ids, tmp_path_factory):
    """The trace in libCacheSim's format, with the position of each id's next use."""
    later = next_positions([zipf_ids], 2000)[0]
    records = np.zeros(len(zipf_ids), dtype=RECORD)
    records["time"] = np.arange(len(zipf_ids))
    records["id"] = zipf_ids
    records["size"] = 1
    records["next"] = np.where(later < 0, -1, later + 1)
    path = tmp_path_factory.mktemp("oracle") / "trace.oracleGeneral.bin"
    records.tofile(path)
    return path


@pytest.mark.parametrize("capacity", [20, 100, 700])
@pytest.mark.parametrize("policy", sorted(SAME))
def test_hits_equal_libcachesim(policy, capacity, zipf_ids, oracle_file):
    kind = libcachesim.TraceType.ORACLE_GENERAL_TRACE
    options = libcachesim.ReaderInitParam(ignore_obj_size=True)
    reader = libcachesim.TraceReader(str(oracle_file), kind, options)
    theirs = getattr(libcachesim, SAME[policy])(cache_size=capacity)
    miss_ratio, _ = theirs.process_trace(reader)
    ours = replay_lookups(policy, zipf_ids, capacity, 2000)
    assert ours.misses == round(miss_ratio * len(zipf_ids))

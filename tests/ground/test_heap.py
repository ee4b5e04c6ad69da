"""What a mini-batch frees, the next one has again without new pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

WATCHED = """
import resource
import numpy as np
from simulator._heap import keep_heap

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    before = faults()
    arrays = [np.ones(1 << 20) for _ in range(4)]
    del arrays
    return faults() - before

kept = keep_heap() if KEEP else True
batch(), batch()
print(kept, sum(batch() for _ in range(10)))
"""


def watched(keep: bool) -> tuple[str, int]:
    """Whether the library was told, and page faults of ten times 32 MiB that are written."""
    code = WATCHED.replace("KEEP", str(keep))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has the setting")
def test_freed_memory_stays() -> None:
    kept, faults = watched(keep=True)
    if kept != "True":
        pytest.skip("another C library than glibc")
    assert faults < 1_000
    assert faults < watched(keep=False)[1] / 10

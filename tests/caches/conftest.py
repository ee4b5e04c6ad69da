"""A skewed trace that most cache tests replay."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def zipf_ids():
    """20,000 ids below 2000, popularity like 1 / rank, ranks spread over the rows."""
    rng = np.random.default_rng(7)
    weights = 1 / np.arange(1, 2001)
    ids = rng.choice(2000, size=20_000, p=weights / weights.sum())
    return rng.permutation(2000)[ids].astype(np.int64)

"""Training needs PyTorch: without it these tests are skipped, and say so."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(scope="session")
def torch_there() -> None:
    """Skip where PyTorch is not installed (it is the extra `hardware`, some gigabytes large)."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: pip install scratchpipe-sim[hardware]")

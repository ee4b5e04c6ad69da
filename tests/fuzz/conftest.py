"""The long run is off by default: `pytest -m fuzz` selects it."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `fuzz` unless a mark expression names it."""
    if "fuzz" in str(config.option.markexpr):
        return
    left_out = [item for item in items if item.get_closest_marker("fuzz")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]

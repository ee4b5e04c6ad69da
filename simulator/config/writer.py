"""Plain data as YAML that reads back to the same data."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML

__all__ = ["to_yaml"]


def to_yaml(data: Any) -> str:
    """`data` as block-style YAML, keys in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(data, text)
    return text.getvalue()

"""Numbers that are those of another part say of which, and are.

`assumed: as PART` and `assumed: 20/16 x PART, no more than 166 GB/s (why)`: PART is a part or a
profile of the catalogue, another block of the same profile, or a machine or profile by its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from simulator.config import catalogue
from simulator.config.catalogue import load_named
from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.config.types import BytesPerSecond
from simulator.hardware.catalogue import load_machine, load_part, part_names

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(
    r"assumed: (?:as|(?P<times>[\d.]+)(?:/(?P<over>[\d.]+))? x) (?P<of>[\w/]+(?:\.yaml)?)"
    r"(?:, no more than (?P<cap>[^(]+?))?(?: \([^)]*\))?(?:; .*)?"
)
UNNAMED = re.compile(r"\bas (fitted|measured|tuned|on|of)\b|fitted on|x ratio")
"""What says that a number comes from elsewhere and not from where."""


def references(part: Part) -> Iterator[tuple[str, re.Match[str]]]:
    for key, source in part.sources.items():
        match = REFERENCE.fullmatch(source)
        if match:
            yield key, match


def value(part: Any, key: str) -> Any:
    return reduce(getattr, key.split("."), part)


def origin(name: str, kind: str) -> Part:
    """A part of the catalogue, or that of its kind in a machine's file."""
    if not name.endswith(".yaml"):
        return load_part(name)
    parts = [part for _, part in load_machine(str(ROOT / name)).parts(kind)]
    assert len(parts) == 1, name
    return parts[0]


@pytest.mark.parametrize("name", part_names())
def test_a_number_of_another_part_is_that_number(name: str) -> None:
    part = load_part(name)
    for key, match in references(part):
        own, other = value(part, key), value(origin(match["of"], part.kind), key)
        if not isinstance(other, int | float):
            assert own == other, key
            continue
        expected = float(match["times"] or 1) / float(match["over"] or 1) * other
        if match["cap"]:
            expected = min(expected, TypeAdapter(BytesPerSecond).validate_python(match["cap"]))
        # four digits in the file; picoseconds are whole
        assert own == pytest.approx(expected, rel=5e-4, abs=0.51), key


@pytest.mark.parametrize("name", part_names())
def test_a_source_that_speaks_of_another_part_names_it(name: str) -> None:
    for key, source in load_part(name).sources.items():
        if source.startswith("assumed") and not REFERENCE.fullmatch(source):
            assert not UNNAMED.search(source), (key, source)


def test_numbers_of_fits_are_carried_over() -> None:
    """The rule is not empty, and follows a file to the device that it starts from."""
    sources = load_part("h100_gh200_96gb").sources
    assert sources["kernel_latency"] == "assumed: as h100_sxm5_80gb"
    assert sources["sms"] == "data sheet"
    assert load_part("h100_x2_xeon").sources["cores"].startswith("measured on the server with two")
    assert sum(1 for name in part_names() for _ in references(load_part(name))) > 100


# profiles


def blocks(profile: OperatorProfile) -> dict[str, Any]:
    """The blocks of a profile that have a source, by key."""
    found = ((key, getattr(profile, key)) for key in type(profile).model_fields)
    return {key: block for key, block in found if getattr(block, "source", None)}


def numbers(block: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(block).items() if key != "source"}


@pytest.mark.parametrize("name", catalogue.names("operators"))
def test_a_block_of_another_profile_is_that_block(name: str) -> None:
    own = blocks(load_named("operators", name))
    for key, block in own.items():
        match = REFERENCE.fullmatch(block.source)
        if match is None:
            assert not re.match("assumed: as tuned|assumed: as observed", block.source)
            continue
        if match["of"] in own:
            other = own[match["of"]]
        else:
            path = ROOT / match["of"] if match["of"].endswith(".yaml") else match["of"]
            other = blocks(load_named("operators", str(path)))[key]
        told = {"threads", "row_time", "line_time", "overlap"} if match["of"] in own else None
        mine, theirs = numbers(block), numbers(other)
        assert all(mine[k] == theirs[k] for k in told or mine), (key, mine, theirs)

"""Views name the same words in Python and in compiled code."""

from __future__ import annotations

from typing import Annotated, Any

import numba
import numpy as np
import pytest

from simulator.hardware.dram.state import Channel, State
from simulator.hardware.dram.views import Ints, View


class Pair(View):
    left: int
    right: int


class Record(View):
    count: int
    pair: Pair
    few: Annotated[Ints, 3]
    many: Annotated[Ints, 16]


SIZE = Record.size


def work(words: Ints, at: int) -> int:
    """Reads and writes fields of every kind."""
    record = Record(words, at)
    record.count = 7
    record.count += record.pair.right
    record.pair.left = record.few[2]
    for i in range(16):
        record.many[i] += i * record.count
    again = Record(record, SIZE)
    again.few[1] = record.words[0] + again.many[15]
    return record.count + again.few[1]


def test_compiled_code_does_what_python_does() -> None:
    plain, machine = np.arange(200), np.arange(200)
    compiled: Any = numba.njit(work)
    assert compiled(machine, 8) == work(plain, 8)
    assert machine.tolist() == plain.tolist()
    assert plain.tolist() != list(range(200))


def test_wide_fields_start_at_cache_lines_and_fields_do_not_overlap() -> None:
    for view in (Record, State, Channel):
        end = 0
        for field in view.fields.values():
            assert field.at >= end
            assert field.words < 8 or field.at % 8 == 0
            end = field.at + field.words
        assert end <= view.size
        assert view.size % 8 == 0


def test_a_view_copies_and_lists_its_words() -> None:
    first, second = (Pair(np.zeros(24, np.int64), at) for at in (0, 16))
    first.left, first.right = 3, 4
    second.fill(first)
    assert second.as_dict() == {"left": 3, "right": 4}
    assert second.words[:2].tolist() == [3, 4]


def test_an_unknown_field_is_no_silent_zero() -> None:
    def read(words: Ints) -> Any:
        return Pair(words, 0).middle  # type: ignore[attr-defined]

    compiled: Any = numba.njit(read)
    with pytest.raises(numba.TypingError, match="middle"):
        compiled(np.zeros(8, np.int64))
    with pytest.raises(AttributeError, match="middle"):
        read(np.zeros(8, np.int64))

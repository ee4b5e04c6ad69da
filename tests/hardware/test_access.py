"""A stream of accesses in other pieces."""

from dataclasses import fields, replace

import numpy as np

from simulator.hardware.access import Access

STREAM = Access("dram", 7, 100, True, False, 0.25, True, np.arange(7), True, 32.0)


def test_other_pieces_change_nothing_else():
    other = STREAM.of(3, 128)
    expected = replace(STREAM, count=3, size=128)
    for field in fields(Access):
        if field.name != "pieces":
            assert getattr(other, field.name) == getattr(expected, field.name), field.name
    assert other.pieces is STREAM.pieces
    assert other.bytes == 384


def test_the_same_pieces_are_the_same_stream():
    assert STREAM.of(7, 100) is STREAM

"""Kernels that other kernels call: compiled once whatever constants they are called with, and what
they say is what plain functions say."""

from __future__ import annotations

import numpy as np
import pytest

from simulator._compiled import PLAIN, compiled, inner_kernel, inner_on_words, on_words


def step(words, at, by):
    words[at] += by
    return words[at] // 3


def walk(words, inner):
    total = 0
    for at in range(len(words)):
        total += inner(words, at, 5) + inner(words, at, at) + inner(words, 0, 7)
    return total


@pytest.mark.parametrize(("outer", "inner"), [(compiled, inner_kernel), (on_words, inner_on_words)])
def test_constants_make_no_kernels_of_their_own(outer, inner):
    within = inner(step)

    def walk_on(words):
        total = 0
        for at in range(len(words)):
            total += within(words, at, 5) + within(words, at, at) + within(words, 0, 7)
        return total

    words, plain = np.arange(9, dtype=np.int64), np.arange(9, dtype=np.int64)
    assert outer(walk_on)(words) == walk(plain, step)
    assert words.tolist() == plain.tolist()
    if not PLAIN:
        assert len(within.signatures) == 1

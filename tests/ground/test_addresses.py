"""Kernels on words: indexed by addresses, as plain code is, without a look at their signs."""

from __future__ import annotations

import numpy as np
import pytest

from simulator._compiled import PLAIN, compiled, on_words


def walk(m: np.ndarray, x: np.ndarray, first: int) -> float:
    """Adds up a linked list of (next, value), which is overwritten by the sums; reads and writes
    at fixed places, at computed ones and in place."""
    total, at = 0.0, first
    while at:
        total += x[at + 1]
        x[at + 1] = total
        m[0] += 1
        at = m[at]
    return total


def words() -> np.ndarray:
    m = np.zeros(16, np.int64)
    x = m.view(np.float64)
    for at, following, value in ((4, 8, 0.5), (8, 2, 0.25), (2, 14, 3.0), (14, 0, -1.5)):
        m[at], x[at + 1] = following, value
    return m


def test_a_kernel_on_words_does_what_plain_code_does() -> None:
    plain, fast = words(), words()
    kernel = on_words(walk)
    assert kernel(fast, fast.view(np.float64), 4) == walk(plain, plain.view(np.float64), 4)
    assert plain.tobytes() == fast.tobytes()
    assert plain[0] == 4


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_a_kernel_on_words_does_not_ask_for_negative_indices() -> None:
    """In LLVM's text numba chooses (`select`) between an index and one that counts from the end."""
    chosen = {}
    for name, compile_ in (("words", on_words), ("arrays", compiled)):

        def read(m: np.ndarray, at: int) -> int:
            return m[at]  # type: ignore[no-any-return]

        kernel = compile_(read)
        kernel(words(), 4)
        ((_, text),) = kernel.inspect_llvm().items()  # type: ignore[attr-defined]
        chosen[name] = " select i1 " in text
    assert chosen == {"words": False, "arrays": True}

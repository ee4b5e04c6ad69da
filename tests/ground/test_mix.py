"""One SplitMix64: the compiled functions equal plain Python and the published stream."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator._mix import GOLDEN, draw_below, hashed, mix64, mixed

WORDS = st.integers(0, 2**64 - 1)


@given(WORDS)
@settings(max_examples=200, deadline=None)
def test_the_compiled_finaliser_equals_the_plain_one(x):
    assert int(mix64(np.uint64(x))) == mixed(x)


@given(st.lists(WORDS, max_size=20))
@settings(max_examples=50, deadline=None)
def test_it_takes_arrays_as_well(words):
    assert mix64(np.array(words, dtype=np.uint64)).tolist() == [mixed(x) for x in words]


def test_the_stream_of_seed_zero_is_the_published_one():
    """The first outputs of SplitMix64 with seed 0, as its reference in C prints them."""
    assert [mixed(int(GOLDEN) * k) for k in (1, 2, 3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@given(st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_a_hash_is_the_finaliser_without_its_lowest_bit(key):
    assert int(hashed(np.int64(key))) == mixed(key + int(GOLDEN)) >> 1 >= 0


@given(WORDS, st.integers(1, 2**30 - 1))
@settings(max_examples=100, deadline=None)
def test_draws_are_below_their_bound_and_follow_the_stream(seed, bound):
    state = np.array([seed], dtype=np.uint64)
    draws = [draw_below(state, bound) for _ in range(3)]
    words = [mixed(seed + k * int(GOLDEN)) >> 32 for k in (1, 2, 3)]
    assert draws == [word * bound >> 32 for word in words]
    assert all(0 <= draw < bound for draw in draws)

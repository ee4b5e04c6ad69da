"""Generated traces: a popularity, and where asked drift, sessions, correlation, jagged pooling.

Modelled: independent draws from a popularity (cells), rows scattered by a seeded bijection (or
not). Features that share a table draw from its popularity, each with bags of its own; a lookup of
a session repeats one of any of them.
`drift` turns columns of ranks with time; `session` lets a lookup repeat one of the sample before
it in its session. Approximated: correlation between tables of different sizes couples the random
numbers, not the ranks. Ignored: users, features, time of day.

A mini-batch is a pure function of (seed, number of its samples): batch n of size B holds the
samples n * B .. (n + 1) * B - 1, whatever was drawn before. Numbers below 0 are the past of a run:
mini-batches that came before its first one, without end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.config.trace import HALF
from simulator.errors import TraceError
from simulator.traces import kernels
from simulator.traces.base import Bags, Ids, MiniBatch
from simulator.traces.cells import Cells
from simulator.traces.features import even_bags, sample_edges
from simulator.traces.frequency import Frequency
from simulator.traces.recency import Recency, bag_rates, fixed_rates
from simulator.traces.sessions import number_session_lookups

__all__ = [
    "Drift",
    "Keys",
    "Scatter",
    "Session",
    "Shape",
    "SyntheticTrace",
    "one_buffer",
    "pooling_cumulative",
]

Edges = tuple[tuple[Ids, ...], tuple[Ids, ...]]
"""Of bags and of samples, for each table."""

_MAX_ROWS = 2**32 - 1
_MAX_BAG = 2**kernels.SAMPLE_SHIFT - 1
_SHARED = 2**31  # spawn key of what all tables have in common; table numbers are far below


@dataclass(frozen=True)
class Shape:
    """What the model asks of a trace: rows and mean lookups of each table, samples, the seed.

    `pooling`: lookups of a sample in each table, or a tuple with those of each of its features.
    """

    rows: tuple[int, ...]
    pooling: tuple[int | tuple[int, ...], ...]
    batch_size: int
    seed: int
    threads: int = 1

    @cached_property
    def features(self) -> tuple[tuple[int, ...], ...]:
        """Mean lookups of each feature of each table."""
        return tuple(each if isinstance(each, tuple) else (each,) for each in self.pooling)

    @cached_property
    def lookups(self) -> tuple[int, ...]:
        """Mean lookups of a sample in each table."""
        return tuple(map(sum, self.features))

    @property
    def shared(self) -> bool:
        """Whether several features look some table up."""
        return any(len(each) > 1 for each in self.features)

    def __post_init__(self) -> None:
        if not self.rows or len(self.rows) != len(self.pooling):
            raise TraceError(
                f"{len(self.rows)} tables have rows and {len(self.pooling)} have lookups: "
                "a trace needs at least one table, and both for each"
            )
        for name, values, most in (
            ("rows", self.rows, _MAX_ROWS),
            ("lookups", tuple(n for each in self.features for n in each), _MAX_BAG),
            ("lookups of all features", self.lookups, _MAX_BAG),
            ("batch size", (self.batch_size,), 2**31),
            ("threads", (self.threads,), 2**10),
        ):
            for value in values:
                if not 1 <= value <= most:
                    raise TraceError(f"{name} {value} is not between 1 and {most}")


class Keys:
    """Independent 64-bit keys out of one seed, by table and purpose."""

    CELL, PLACE, COIN, SCATTER, POOLING, PHASE, SESSION, STACK, RECENCY, FREQUENCY = range(10)

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def draw(self, table: int, purpose: int, count: int = 1) -> npt.NDArray[np.uint64]:
        """`count` keys, uint64; a pure function of the seed and the arguments."""
        sequence = np.random.SeedSequence(abs(self._seed), spawn_key=(table, purpose))
        return np.asarray(sequence.generate_state(count, np.uint64), np.uint64)


class Scatter:
    """The seeded bijection of [0, rows) that spreads ranks over a table."""

    def __init__(self, rows: int, keys: npt.NDArray[np.uint64]) -> None:
        self._rows = rows
        self._split = max(1, (rows.bit_length() - 1) // 2)
        self._keys = keys

    def __call__(self, ids: Ids) -> Ids:
        """Map `ids` in place and return them."""
        kernels.permute(ids, self._rows, self._split, self._keys)
        return ids


def pooling_cumulative(kind: str, mean: int) -> npt.NDArray[np.float64]:
    """P(bag size <= k) for k = 0, 1, ...: float64, cut where less than 1e-12 is left."""
    most = min(_MAX_BAG, 60 + 40 * mean)
    k = np.arange(most, dtype=np.float64)
    if kind == "poisson":
        log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
        probability = np.exp(k * np.log(mean) - mean - log_factorial)
    elif kind == "geometric":
        probability = np.where(k > 0, (1.0 - 1.0 / mean) ** np.maximum(k - 1.0, 0.0) / mean, 0.0)
    else:
        probability = np.where((k > 0) & (k < 2 * mean), 1.0 / (2 * mean - 1), 0.0)
    cumulative = np.cumsum(probability)
    return np.append(cumulative[cumulative < 1.0 - 1e-12], 1.0)


def _in_order(ids: Ids) -> Ids:
    """Ranks are rows."""
    return ids


def _of_sum(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> Any:
    """P(sum <= k) of two independent sizes, from P(size <= k) of each."""
    first, second = (np.diff(cumulative, prepend=0.0) for cumulative in (one, other))
    return np.minimum(np.cumsum(np.convolve(first, second)), 1.0)


def one_buffer(sizes: Sequence[int]) -> list[Ids]:
    """Uninitialised int64 arrays of `sizes`, one after the other in one allocation: many small
    ones cost a page fault for every 512 ids."""
    buffer = np.empty(sum(sizes), np.int64)
    stops = np.cumsum(sizes)
    return [buffer[stop - size : stop] for size, stop in zip(sizes, stops, strict=True)]


@dataclass(frozen=True)
class Drift:
    """The hot set of `hot` rows in `groups` groups turns by `turns_per_batch`, in steps."""

    hot_fraction: float
    replaced: float
    period_batches: int

    def turns(self, batch: int) -> float:
        """Turns since mini-batch 0; negative before it."""
        return (batch // self.period_batches) * self.replaced


@dataclass(frozen=True)
class Session:
    """See `SessionTraceConfig`."""

    repeat: float
    length: float
    concurrent: int


class SyntheticTrace:
    """Mini-batches drawn from `cells`, one popularity a table; a `Trace`."""

    drawn_on_any_thread = True
    """A mini-batch depends on its number alone: any may be drawn at any time."""

    def __init__(
        self,
        shape: Shape,
        cells: Sequence[Cells],
        *,
        identity: str,
        pooling: str = "fixed",
        correlation: float = 0.0,
        drift: Drift | None = None,
        session: Session | None = None,
        scattered: bool = True,
    ) -> None:
        """`scattered`: hot rows lie anywhere in a table; else row 0 is the hottest, and so on."""
        self._shape = shape
        self._cells = tuple(cells)
        self._identity = identity
        self._drift = drift
        self._session = session
        keys = Keys(shape.seed)
        tables = range(len(shape.rows))
        self._streams = [
            np.concatenate([keys.draw(t, p) for p in (Keys.CELL, Keys.PLACE, Keys.COIN)])
            for t in tables
        ]
        coin = np.array([min(int(correlation * 2.0**64), 2**64 - 1)], np.uint64)
        self._shared = np.concatenate(
            [keys.draw(_SHARED, Keys.CELL), keys.draw(_SHARED, Keys.PLACE), coin]
        )
        self._scatter = [
            Scatter(shape.rows[t], keys.draw(t, Keys.SCATTER, 4)) if scattered else _in_order
            for t in tables
        ]
        self._phase = [keys.draw(t, Keys.PHASE)[0] for t in tables]
        self._recency_key = [keys.draw(t, Keys.RECENCY)[0] for t in tables]
        self._frequency_key = [keys.draw(t, Keys.FREQUENCY)[0] for t in tables]
        self._pooling_keys = [
            keys.draw(t, Keys.POOLING, len(each)) for t, each in enumerate(shape.features)
        ]
        self._session_keys = [
            np.concatenate([keys.draw(_SHARED, Keys.SESSION), keys.draw(t, Keys.SESSION, 2)])
            for t in tables
        ]
        self._bags = [
            None if pooling == "fixed" else [pooling_cumulative(pooling, mean) for mean in each]
            for each in shape.features
        ]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each table."""
        return self._shape.rows

    @property
    def batches(self) -> int | None:
        """No end."""
        return None

    @property
    def past(self) -> int | None:
        """No beginning."""
        return None

    @property
    def bags(self) -> Bags | None:
        """Bags drawn around the model's lookups; None where all are as long as that."""
        shape = self._shape
        bags = [bag for bag in self._bags if bag is not None]
        if not bags:
            return None
        longest = [sum(len(cumulative) - 1 for cumulative in bag) for bag in bags]
        return Bags(shape.lookups, tuple(shape.batch_size * most for most in longest))

    @property
    def has_time_order(self) -> bool:
        """Whether order in time is modelled: with drift or sessions."""
        return self._drift is not None or self._session is not None

    @property
    def cells(self) -> tuple[Cells, ...]:
        """The popularity by rank of each table, as closed forms."""
        return self._cells

    def minibatch(self, index: int) -> MiniBatch:
        """Mini-batch number `index`; below 0: of the past."""
        shape = self._shape
        sample0, tables = self._first_sample(index), range(len(shape.rows))
        bags, offsets = self._even_edges or self._edges_at(sample0)
        ids = one_buffer([int(o[-1]) for o in offsets])
        numbered = self._even_numbers  # made before threads ask for them
        fill = partial(self._fill, index=index, numbered=numbered)
        map_threads(lambda t: fill(t, ids[t], offsets[t]), len(tables), shape.threads)
        return MiniBatch(index, tuple(ids), offsets, bags=bags if shape.shared else None)

    def hottest(self, table: int, count: int, share: float = HALF) -> Ids:
        """The `count` likeliest rows, hottest first; under drift those of mini-batch 0.

        `share` is of files. Raises `TraceError` under drift where it is 1: no profile of a whole
        trace without end says what is hot.
        """
        if self._drift is not None and share >= 1.0:
            raise TraceError(
                "a drifting trace has no end, so nothing is the hottest of the whole: "
                "cache.profile: prefix takes what is hot at the first mini-batch"
            )
        ranks = np.arange(min(count, self.rows[table]), dtype=np.int64)
        return self._to_rows(table, ranks, 0)

    def popularity_ages(self, table: int) -> Recency:
        """When each row of `table` would have been looked up last, were draws independent."""
        shape, bag = self._shape, self._bags[table]
        if bag is None:
            rates = partial(fixed_rates, lookups=shape.batch_size * shape.lookups[table])
        else:
            cumulative = reduce(_of_sum, bag)
            rates = partial(bag_rates, samples=shape.batch_size, cumulative=cumulative)
        to_rows = self._scatter[table]
        return Recency(self._cells[table], rates, self._recency_key[table], to_rows)

    def popularity_counts(self, table: int) -> Frequency:
        """How often each row of `table` would have been looked up, were draws independent."""
        shape, bag = self._shape, self._bags[table]
        mean = float(shape.lookups[table])
        if bag is not None:
            cumulative = reduce(_of_sum, bag)
            mean = float(np.diff(cumulative, prepend=0.0) @ np.arange(len(cumulative)))
        lookups = shape.batch_size * mean
        key, to_rows = self._frequency_key[table], self._scatter[table]
        return Frequency(self._cells[table], lookups, key, to_rows)

    @property
    def correlated(self) -> bool:
        """Whether tables are looked up together: their lookups are not independent of each
        other."""
        return bool(self._shared[2])

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the configuration, the shape and the seed."""
        return self._identity

    @cached_property
    def unscattered(self) -> SyntheticTrace:
        """The same draws with rows numbered by popularity (under drift: by that of old), as they
        are before they are scattered: row *r* of table *t* here is `scattered(t, r)` of this
        trace. Itself where nothing is scattered."""
        if all(scatter is _in_order for scatter in self._scatter):
            return self
        twin = copy(self)
        twin._scatter = [_in_order] * len(self._scatter)
        return twin

    def scattered(self, table: int, rows: Ids) -> Ids:
        """The rows of this trace that `rows` of `unscattered` are; int64, a new array."""
        return self._scatter[table](rows.copy())

    def _fill(
        self, table: int, ids: Ids, offsets: Ids, *, index: int, numbered: Mapping[int, Ids]
    ) -> None:
        sample0 = self._first_sample(index)
        numbers, first = ids, 0
        if self._session is not None:
            self._number_session(table, ids, offsets, sample0)
        elif len(ids) in numbered:
            numbers, first = numbered[len(ids)], sample0 << kernels.SAMPLE_SHIFT
        else:
            kernels.number_lookups(ids, offsets, sample0)
        drawn = self._streams[table], self._shared, self._cells[table].arrays
        kernels.draw_ranks(ids, numbers, first, *drawn)
        self._to_rows(table, ids, index)

    @cached_property
    def _even_numbers(self) -> Mapping[int, Ids]:
        """Where all bags are alike: the counters of mini-batch 0 of tables by their lookups, which
        are those of any other less its first; else none."""
        numbered: dict[int, Ids] = {}
        _, samples = self._even_edges or ((), ())
        for edges in samples:
            count = int(edges[-1])
            if count not in numbered:
                numbered[count] = np.empty(count, np.int64)
                kernels.number_lookups(numbered[count], edges, 0)
        return numbered

    def _first_sample(self, index: int) -> int:
        return (index * self._shape.batch_size) % kernels.SAMPLES

    def _number_session(self, table: int, out: Ids, offsets: Ids, sample0: int) -> None:
        session, bag = self._session, self._bags[table] or []
        assert session is not None
        number_session_lookups(
            out,
            offsets,
            sample0,
            (session.repeat, 1.0 / session.length, session.concurrent),
            self._session_keys[table],
            (
                self._shape.lookups[table],
                self._pooling_keys[table],
                np.concatenate([np.zeros(0), *bag]),
                np.cumsum([0, *map(len, bag)], dtype=np.int64),
            ),
        )

    @cached_property
    def _even_edges(self) -> Edges | None:
        """Edges of bags and samples of every mini-batch, where none is drawn: arrays that all
        mini-batches share."""
        return self._edges_at(0) if self.bags is None else None

    def _edges_at(self, sample0: int) -> Edges:
        """Edges of bags and samples of all tables."""
        features = self._shape.features
        bags = tuple(self._edges(table, sample0) for table in range(len(features)))
        return bags, tuple(map(sample_edges, bags, features))

    def _edges(self, table: int, sample0: int) -> Ids:
        """Edges of the bags of all features, sample by sample."""
        size, bag = self._shape.batch_size, self._bags[table]
        if bag is None:
            return even_bags(self._shape.features[table], size)
        offsets = np.empty((len(bag), size + 1), np.int64)
        for out, key, cumulative in zip(offsets, self._pooling_keys[table], bag, strict=True):
            kernels.pooled_offsets(out, sample0, key, cumulative)
        lengths = np.diff(offsets, axis=1).T.reshape(-1)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])

    def _to_rows(self, table: int, ranks: Ids, index: int) -> Ids:
        rows = self.rows[table]
        if self._drift is not None:
            hot = max(1, round(self._drift.hot_fraction * rows))
            groups = rows // hot
            turns = self._drift.turns(index)
            turns += groups * np.ceil(max(0.0, -turns) / groups)  # whole rounds change nothing
            kernels.drift_ranks(ranks, hot, groups, turns, self._phase[table])
        return self._scatter[table](ranks)

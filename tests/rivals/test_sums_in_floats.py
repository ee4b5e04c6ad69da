"""Every system's program on rows of 32-bit floats: bits of training one mini-batch at a time, or,
where it adds in another order and says so, the same to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rivalry import executed

from simulator.engine import checker, checker_rules
from simulator.engine.copies import Copies, shares_of
from simulator.systems import names, system_class
from simulator.systems.private import PrivateTraining

Floats = npt.NDArray[np.float32]
RATE, DECAY, BATCHES = np.float32(0.5), np.float32(0.9), 60
SHORT = {"bagpipe": ("look_ahead=3",), "het": ("bound=0",), "fae": ("round_batches=6",)}
TRAINING = [n for n in names() if not system_class(n).no_training and n != "lazydp"]
RIGHT = [
    name
    for name in TRAINING
    if not issubclass(system_class(name), PrivateTraining)  # their noise is counted in ones
    and (name == "het" or system_class(name).consistency.result != "stale")  # type: ignore[union-attr]
]
ADDS_IN_ANOTHER_ORDER = {"het", "herald", "ndrec", "training_cxl"}
"""What changed a row is added to another copy of it; of others vectors or gradients, which are sums
of several rows or samples, and here of one."""


def started(rows: npt.NDArray[np.int64], _: object) -> Floats:
    """Values of rows before training; a slot without one has 0."""
    return np.where(rows < 0, 0.0, np.sin(1.0 + rows)).astype(np.float32)


def trained(values: Floats, batch: int, pooled: Floats | None = None) -> Floats:
    """One step towards a target of the mini-batch, by the gradient of what was pooled; decay in
    front of it, or what was subtracted would be the difference of both values without rounding."""
    read = values if pooled is None else pooled
    return DECAY * values - RATE * (read - np.float32(np.cos(batch)))


@pytest.fixture
def in_floats(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Floats, Floats]]:
    """The checker on floats; tables at the end and those of training one at a time, a pair for
    each order of stages."""
    tables: list[tuple[Floats, Floats]] = []
    untrained = Copies._untrained.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Copies,
        "_untrained",
        classmethod(lambda cls, rows, values: untrained(cls, rows, started(rows, values))),
    )

    def sequential(rows_of: Sequence[Any], rows: int, noise: str) -> Floats:
        assert noise == "none"
        values = started(np.arange(rows), None)
        for batch, ids in enumerate(rows_of):
            values[ids] = trained(values[ids], batch)
        return values

    def noted(final: Floats, wanted: Floats) -> bool:
        tables.append((final, wanted))
        return bool(np.array_equal(final, wanted))

    def even(stages: Any) -> Any:
        """Each part of a row has as large a share as every other."""
        keys, ids = [], []
        for stage in stages:
            for word in stage.operations:
                if getattr(word, "part", False):
                    keys.append((word.writes.name, word.writes.memory))
                    ids.append(word.rows.ids)
        rows, counts = np.unique(np.concatenate(ids), return_counts=True)
        of = {
            key: 1 / counts[np.searchsorted(rows, own)] for key, own in zip(keys, ids, strict=True)
        }
        return {key: share.astype(np.float32) for key, share in of.items()}

    def shares(stages: Any) -> Any:
        return even(stages) if shares_of(stages) else {}

    monkeypatch.setattr(checker, "sequential", sequential)
    monkeypatch.setattr(checker, "_equal", noted)
    monkeypatch.setattr(checker, "shares_of", shares)
    monkeypatch.setattr(checker_rules, "updated", trained)
    return tables


@pytest.mark.parametrize("name", RIGHT)
def test_floats_are_those_of_one_at_a_time_or_agree_to_rounding(
    name: str, in_floats: list[tuple[Floats, Floats]]
) -> None:
    """Values are at most 1 and a step keeps 0.4 of what a row was off by: a few roundings in a
    step, of half an epsilon each, come to four epsilon at most."""
    gpus = 3 if name in {"bagpipe", "het", "herald"} else None
    executed.__wrapped__(name, *SHORT.get(name, ()), tables=2, gpus=gpus, batches=BATCHES)
    assert len(in_floats) == 2
    claim = system_class(name).consistency
    assert claim is not None
    for final, wanted in in_floats:
        assert np.abs(wanted - started(np.arange(len(wanted)), None)).max() > 0.1
        if name in ADDS_IN_ANOTHER_ORDER:
            assert claim.sums or claim.result == "reordered"
            assert not np.array_equal(final, wanted)
            assert np.abs(final - wanted).max() <= 4 * np.finfo(np.float32).eps
        else:
            assert np.array_equal(final, wanted)

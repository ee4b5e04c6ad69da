"""Systems really train the same model: correct before they are timed.

The reference is plain NumPy, one mini-batch after the other on one table. On CPU tensors every
system sums in the same order, so tables agree with hybrid's to the bit; the static cache adds two
partial sums, so it agrees to rounding (1e-6, values of 0.01), and to the bit with one lookup.
"""

from __future__ import annotations

import csv
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deferred import Deferred, defer_dense
from training import MODEL, experiment, plain_tables, tables_of, trainer_of

from simulator.caches import Window
from simulator.config.expand import expand
from simulator.engine import simulate
from simulator.errors import InvariantError, UsageError
from simulator.observe import runner
from simulator.observe.inputs import Inputs
from simulator.observe.lru import Pools
from simulator.observe.mlp import DenseStep
from simulator.observe.record import summary
from simulator.observe.rows import aligned, fill_rows
from simulator.observe.run import observe
from simulator.systems.mlp import mlp_weight_bytes

pytestmark = pytest.mark.usefixtures("torch_there")

GOLDEN = Path(__file__).parent / "golden"
ENOUGH = {"fraction": 0.2, "if_too_small": "grow"}
MANY = ["hybrid", "straw_man", "scratchpipe", "gpu_only"]
JAGGED = {
    "trace": {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"},
    "cache": {"fraction": 0.4, "prefill": "hot"},
}

SHARED = {"model": MODEL | {"lookups_per_table": [[1, 3], 2]}}
"""Two features look the first table up."""


@pytest.mark.parametrize("changes", [{}, JAGGED, SHARED, JAGGED | SHARED])
def test_hybrid_trains_what_numpy_trains(changes: dict[str, Any]) -> None:
    point = expand(experiment(systems=["hybrid"], **changes))[0]
    trainer = trainer_of(point)
    trainer.run()
    assert np.allclose(trainer.tables(), plain_tables(point), rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, SHARED])
def test_all_systems_train_the_same_tables(changes: dict[str, Any]) -> None:
    trained = tables_of(**changes)
    before = aligned(1_200, 16)
    fill_rows(before, 1)
    assert np.abs(trained["hybrid"] - before).max() > 1e-5
    for label in ("straw_man", "scratchpipe", "gpu_only"):
        assert np.array_equal(trained[label], trained["hybrid"]), label
    assert np.allclose(trained["static_cache"], trained["hybrid"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("interaction", ["dot", "cat"])
def test_one_lookup_a_table_makes_the_static_cache_exact_too(interaction: str) -> None:
    model = MODEL | {"lookups_per_table": 1, "interaction": interaction}
    trained = tables_of(model=model, systems=["hybrid", "static_cache"], cache={"fraction": 0.1})
    assert np.array_equal(trained["static_cache"], trained["hybrid"])


@pytest.mark.parametrize("changes", [{"cache": {"fraction": 0.3}}, JAGGED, JAGGED | SHARED])
def test_pytorchs_own_operators_train_the_same(changes: dict[str, Any]) -> None:
    """Profile `stock` against the fused operators: sums in another order, so to rounding (values
    of 0.01, hundreds of additions)."""
    expected = tables_of(systems=["hybrid"], **changes)["hybrid"]
    before = aligned(1_200, 16)
    fill_rows(before, 1)
    assert np.abs(expected - before).max() > 1e-5
    for label, table in tables_of(operators="stock", **changes).items():
        assert np.allclose(table, expected, rtol=0, atol=1e-6), label


def test_pytorchs_own_operators_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding bag of each feature on the GPU, one of all tables on the CPU, for each of the
    mini-batches; no fused kernel."""
    import torch

    called: list[int] = []
    bag = torch.nn.functional.embedding_bag

    def counted(ids: Any, *arguments: Any, **named: Any) -> Any:
        called.append(len(ids))
        return bag(ids, *arguments, **named)

    monkeypatch.setattr(torch.nn.functional, "embedding_bag", counted)
    monkeypatch.setattr("simulator.observe.rows._pool", None)
    monkeypatch.setattr("simulator.observe.rows._update", None)
    cases = [("hybrid", {}, [48]), ("gpu_only", {}, [24, 24]), ("gpu_only", SHARED, [8, 24, 16])]
    for system, changes, lookups in cases:
        point = expand(experiment(systems=[system], operators="stock", **changes))[0]
        trainer = trainer_of(point)
        trainer.run()
        batches = len(trainer.inputs.batches)
        assert called == lookups * batches, system
        called.clear()


def test_the_sort_of_a_coalesce_is_timed_with_it() -> None:
    shown = experiment(systems=["hybrid"], operators="stock")
    stages = {
        stage for _, stage in observe(shown, device="cpu", repeats=1).points[0].repeats[0].stage_us
    }
    simulated = {row["stage"] for row in simulate(shown).points[0].stages}
    assert simulated - stages == {"sort"}


ADAGRAD = ["adagrad", "rowwise_adagrad"]


@pytest.mark.parametrize("optimizer", ADAGRAD)
def test_adagrad_trains_what_numpy_trains(optimizer: str) -> None:
    """Weights and state."""
    model = MODEL | {"optimizer": optimizer}
    point = expand(experiment(systems=["hybrid"], model=model))[0]
    trainer = trainer_of(point)
    trainer.run()
    expected = plain_tables(point)
    assert expected[:, 16:].max() > 1e-6
    assert np.allclose(trainer.tables(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("optimizer", ADAGRAD)
def test_rows_move_with_their_state(optimizer: str) -> None:
    """All systems end with the same weights and the same state, to the bit, with a cache that is
    so small that rows come and go; the static cache with one lookup a table."""
    model = MODEL | {"optimizer": optimizer, "lookups_per_table": 1}
    shown = {"model": model, "trace": {"kind": "zipf", "alpha": 0.9}, "cache": {"fraction": 0.1}}
    trained = tables_of(**shown)
    for label, table in trained.items():
        assert np.array_equal(table, trained["hybrid"]), label
    trained = tables_of(model=MODEL | {"optimizer": optimizer}, systems=MANY)
    for label in MANY[1:]:
        assert np.array_equal(trained[label], trained["hybrid"]), label
    assert trained["hybrid"].shape == (1_200, 32 if optimizer == "adagrad" else 17)


@pytest.mark.parametrize(("precision", "bits"), [("fp16", 11), ("bf16", 8)])
def test_half_precision_trains_nearly_the_same(precision: str, bits: int) -> None:
    """All systems to the bit; changes of rows are fp32's but for rounding: factors of `bits` bits
    in nine products in a row (forward and backward) and their sums."""
    model = MODEL | {"mlp_precision": precision}
    names = ["hybrid", "scratchpipe", "gpu_only"]
    full = tables_of(systems=names[:1], platform="h200")["hybrid"]
    half = tables_of(systems=names, platform="h200", model=model)
    before = aligned(1_200, 16)
    fill_rows(before, 1)
    for label in names[1:]:
        assert np.array_equal(half[label], half["hybrid"])
    distance = np.linalg.norm(half["hybrid"] - full) / np.linalg.norm(full - before)
    assert 1e-5 < distance < 2 * 9 * 2.0**-bits


def test_the_scaled_loss_gives_gradients_that_are_not_scaled() -> None:
    """fp16's step against fp32's: gradients of the pooled vectors and weights after it."""
    steps = {}
    for precision in ("fp32", "fp16"):
        point = expand(experiment(platform="h200", model=MODEL | {"mlp_precision": precision}))[0]
        step = DenseStep(point.model, "cpu", 0)
        rng = np.random.default_rng(0)
        for tensor in (step.pooled.detach(), step.dense):
            tensor.numpy()[:] = rng.random(tuple(tensor.shape), dtype=np.float32)
        step.run()
        steps[precision] = step
    full, half = steps["fp32"], steps["fp16"]
    assert np.allclose(half.gradient, full.gradient, rtol=0.02, atol=1e-4)
    for one, other in zip(full.weights, half.weights, strict=True):
        assert np.allclose(one.detach(), other.detach(), rtol=0.02, atol=1e-4)


@pytest.mark.parametrize(
    "dense",
    [
        {"interaction": "cat"},
        {"interaction": "cat", "bottom_mlp": None, "average_stride": 3},
        {"interaction": "cross", "cross": {"layers": 2, "rank": 3}},
        {"interaction": "cross", "dense_features": 0},
    ],
)
def test_the_dense_step_has_the_weights_that_are_counted(dense: dict[str, Any]) -> None:
    """Products as the simulated step has them, and a gradient of every pooled vector."""
    point = expand(experiment(model=MODEL | dense))[0]
    step = DenseStep(point.model, "cpu", 0)
    rng = np.random.default_rng(0)
    for tensor in (step.pooled.detach(), step.dense):
        tensor.numpy()[:] = rng.random(tuple(tensor.shape), dtype=np.float32)
    step.run()
    assert 4 * sum(weight.numel() for weight in step.weights) == mlp_weight_bytes(point.model)
    assert np.abs(step.gradient.numpy()).sum(axis=2).min() > 0.0


def test_a_cross_layer_multiplies_the_first_vector_with_what_the_last_one_gave() -> None:
    """Two layers in NumPy: x' = x0 * (U (V x) + b) + x."""
    keys = {"interaction": "cross", "cross": {"layers": 2, "rank": 3}, "dense_features": 0}
    step = DenseStep(expand(experiment(model=MODEL | keys))[0].model, "cpu", 0)
    rng = np.random.default_rng(0)
    step.pooled.detach().numpy()[:] = rng.random(tuple(step.pooled.shape), dtype=np.float32)
    first = x = step.pooled.detach().numpy().reshape(8, 32)
    down, up, bias = ([w.detach().numpy() for w in step.weights[k:6:3]] for k in range(3))
    for v, u, b in zip(down, up, bias, strict=True):
        x = first * (x @ v.T @ u.T + b) + x
    assert np.allclose(step.crossed(step.pooled, step.dense).detach().numpy(), x, rtol=1e-5)


def test_tables_of_unlike_dim_are_refused() -> None:
    model = MODEL | {"dim": [16, 8], "interaction": "cat"}
    with pytest.raises(UsageError, match="observe trains tables of one dim"):
        observe(experiment(systems=["hybrid"], model=model), device="cpu")


def test_threads_are_those_of_the_point() -> None:
    """A sweep over threads: each point has its own."""
    shown = experiment(systems=["hybrid"], sweep={"run.cpu_threads": [1, 2]})
    seen = observe(shown, device="cpu", repeats=1).points
    assert [one.threads for one in seen] == [1, 2]


def test_jagged_bags_and_a_warm_cache() -> None:
    trained = tables_of(**JAGGED)
    assert np.array_equal(trained["scratchpipe"], trained["hybrid"])
    assert np.array_equal(trained["straw_man"], trained["hybrid"])


def _golden(name: str) -> list[list[str]]:
    """Lines of a file that the systems wrote when training had copies of its own of them."""
    with (GOLDEN / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))[1:]


def test_programs_train_what_the_systems_did_that_were_written_for_training_alone() -> None:
    """Before a system was one program: the same counts of every mini-batch, the same changes of
    the tables (sum of absolute changes of each column)."""
    empty = ENOUGH | {"prefill": "empty"}
    shown = experiment(trace={"kind": "zipf", "alpha": 0.9}, cache=empty)
    before = aligned(1_200, 16)
    fill_rows(before, 1)
    counts, changes = [], {}
    for point in expand(shown):
        trainer, label = trainer_of(point), point.system.label
        for number, seen in sorted(trainer.run().counts.items()):
            counts.append(
                [label, str(number), *("" if n is None else str(n) for n in astuple(seen))]
            )
        changes[label] = np.abs(trainer.tables().astype(float) - before).sum(axis=0)
    assert counts == _golden("observed_counts.csv")
    for label, *sums in _golden("observed_changes.csv"):
        assert np.allclose(changes[label], np.array(sums, float), rtol=1e-4), label


def test_one_pool_for_all_tables() -> None:
    cache = {"fraction": 0.4, "scope": "global"}
    trained = tables_of(systems=["hybrid", "straw_man", "scratchpipe"], cache=cache)
    assert np.array_equal(trained["scratchpipe"], trained["hybrid"])
    assert np.array_equal(trained["straw_man"], trained["hybrid"])


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("system", ["five_stages", "hashed_cache"])
def test_systems_of_other_packages_train_too(system: str) -> None:
    """A pipeline with stages of its own names, and a cache with a replay of its own."""
    cache = {"fraction": 0.3, "if_too_small": "grow"}
    shown = experiment(systems=["hybrid", system], cache=cache)
    trained = tables_of(systems=["hybrid", system], cache=cache)
    assert np.array_equal(trained[system], trained["hybrid"])
    seen = observe(shown, device="cpu", repeats=1).points[1]
    simulated = simulate(shown).points[1]
    assert not seen.error
    assert {stage for _, stage in seen.repeats[0].stage_us} == {
        row["stage"] for row in simulated.stages
    }


ALL = ["hybrid", "static_cache", "straw_man", "scratchpipe", "five_stages", "gpu_only"]


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("changes", [{"cache": {"fraction": 0.3}}, JAGGED])
def test_nothing_relies_on_more_than_it_waited_for(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On streams that stand still until the host waits, and then go on in any order."""
    expected = tables_of(systems=ALL, **changes)
    for seed, point in enumerate(expand(experiment(systems=ALL, **changes))):
        trained = _on_streams(point, Deferred(seed), monkeypatch)
        assert np.array_equal(trained, expected[point.system.label]), point.system.label


def _on_streams(point: Any, gpu: Deferred, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patched:
        defer_dense(patched, gpu)
        trainer = trainer_of(point, gpu)
        trainer.run()
    return trainer.tables()


def test_a_wait_that_is_missing_after_a_plan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner._Order, "wait", lambda order: setattr(order, "busy", False))
    point = expand(experiment(systems=["straw_man"], cache={"fraction": 0.3}))[0]
    with pytest.raises(InvariantError, match="asked for before its Plan was waited for"):
        _on_streams(point, Deferred(), monkeypatch)


@pytest.mark.parametrize("system", ["hybrid", "static_cache"])
def test_a_wait_that_is_missing_trains_something_else(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above can fail."""
    cache = {"fraction": 0.3}
    expected = tables_of(systems=[system], cache=cache)[system]
    monkeypatch.setattr(runner._Order, "wait", lambda order: setattr(order, "busy", False))
    point = expand(experiment(systems=[system], cache=cache))[0]
    assert not np.array_equal(_on_streams(point, Deferred(), monkeypatch), expected)


@pytest.mark.parametrize(
    ("window", "same"), [({}, True), ({"window_past": 2}, False), ({"window_future": 1}, False)]
)
def test_a_window_that_is_too_small_trains_something_else(
    window: dict[str, int], same: bool
) -> None:
    """(3, 2) is enough; one mini-batch less on either side reads stale rows.

    Victims are drawn at random: LRU seldom picks rows that were used three mini-batches ago.
    """
    changes = {
        "systems": ["hybrid", "scratchpipe"],
        "pipeline": {"mode": "lockstep"} | window,
        "run": {"batches": 150, "warmup_batches": 4, "cpu_threads": 1},
        "trace": {"kind": "uniform"},
        "cache": {"policy": "random", "fraction": 0.001, "if_too_small": "grow"},
    }
    trained = tables_of(**changes)
    assert np.array_equal(trained["scratchpipe"], trained["hybrid"]) == same


def test_counts_are_the_simulators() -> None:
    """Unique ids, misses, victims and write-backs of the timed mini-batches, exactly."""
    shown = experiment(trace={"kind": "zipf", "alpha": 0.9})
    seen = observe(shown, device="cpu", repeats=1)
    names = {
        "unique_rows": "unique_rows_per_batch",
        "misses": "misses_per_batch",
        "victims": "victims_per_batch",
        "write_backs": "dirty_victims_per_batch",
    }
    for one, simulated in zip(seen.points, simulate(shown).points, strict=True):
        assert not one.error
        timed = [one.repeats[0].counts[b] for b in range(one.first, one.last + 1)]
        for name, column in names.items():
            counts = [getattr(c, name) for c in timed]
            if counts[0] is not None:
                assert np.mean(counts) == simulated.metrics[column], (one.point.system.label, name)


@pytest.mark.parametrize(("policy", "independent"), [("lru", True), ("lfu", None)])
def test_counts_of_a_planner_of_its_own_are_marked(policy: str, independent: bool | None) -> None:
    """Where the trainer follows the simulator's planner, nothing is claimed."""
    shown = experiment(systems=["straw_man"], cache={"policy": policy, "fraction": 0.3})
    (point,) = summary(observe(shown, device="cpu", repeats=1))["points"]
    assert point.get("counts_independent") is independent
    assert ("victims" in point["counts"]) is (independent is True)


@pytest.mark.parametrize("system", ["straw_man", "scratchpipe"])
def test_a_planner_that_differs_is_recorded(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's planner is not told what the simulator's decided: with a longer hold window it
    keeps other rows, trains the same tables out of its own slots, and the counts say so."""
    changes = {
        "systems": [system],
        "trace": {"kind": "zipf", "alpha": 0.9},
        "cache": {"fraction": 0.2, "if_too_small": "grow"},
    }
    expected = tables_of(**changes | {"systems": ["hybrid"]})["hybrid"]
    own = Inputs.pools.fget  # type: ignore[attr-defined]

    def longer(inputs: Inputs) -> Pools:
        return replace(own(inputs), window=Window(3, 4))

    monkeypatch.setattr(Inputs, "pools", property(longer))
    shown = experiment(**changes)
    trainer = trainer_of(expand(shown)[0])
    trainer.run()
    assert np.array_equal(trainer.tables(), expected)
    one = observe(shown, device="cpu", repeats=1).points[0]
    assert not one.error
    counts = [one.repeats[0].counts[b] for b in range(one.first, one.last + 1)]
    simulated = simulate(shown).points[0].metrics
    assert np.mean([c.unique_rows for c in counts]) == simulated["unique_rows_per_batch"]
    assert np.mean([c.victims or 0 for c in counts]) != simulated["victims_per_batch"]


def test_a_planner_that_finds_no_slot_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window longer than the cache holds."""
    own = Inputs.pools.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Inputs, "pools", property(lambda inputs: replace(own(inputs), window=Window(9, 2)))
    )
    one = observe(experiment(systems=["scratchpipe"]), device="cpu", repeats=1).points[0]
    assert "planner found no slot for" in one.error


@pytest.mark.parametrize("cache", [{"policy": "lfu"}, {"scope": "global"}])
def test_counts_of_a_planner_that_the_trainer_does_not_have_are_not_claimed(
    cache: dict[str, Any],
) -> None:
    shown = experiment(systems=["scratchpipe"], cache=cache | {"fraction": 0.4})
    seen = observe(shown, device="cpu", repeats=1).points[0].repeats[0].counts[7]
    assert seen.unique_rows > 0
    assert (seen.misses, seen.victims, seen.write_backs) == (None, None, None)


def test_every_stage_of_the_simulator_is_timed() -> None:
    shown = experiment()
    seen = observe(shown, device="cpu", repeats=1)
    for one, simulated in zip(seen.points, simulate(shown).points, strict=True):
        stages = {stage for _, stage in one.repeats[0].stage_us}
        assert stages == {row["stage"] for row in simulated.stages}
        assert min(one.repeats[0].iteration_us.values()) > 0

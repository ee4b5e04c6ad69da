"""The Triton kernels against NumPy, and systems that launch them, on Triton's interpreter: no GPU
needed.

In a process of its own: Triton reads `TRITON_INTERPRET` when a kernel is defined.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("torch_there")

CHECKS = '''
import numpy as np
import torch
from simulator.observe import kernels_gpu as kernels

rng = np.random.default_rng(0)
tensor = torch.from_numpy


def check_update():
    """Runs longer than a span, runs that end with the list, ids below 0, and a dim of no power."""
    for n, rows, dim in ((1000, 50, 16), (1003, 400, 12), (77, 3, 8)):
        ids = rng.integers(-1, rows, n).astype(np.int32)
        bags = (np.arange(n) // 5).astype(np.int32)
        gradients = rng.random((n, dim)).astype(np.float32)
        before = rng.random((rows, dim)).astype(np.float32)
        after = before.astype(np.float64)
        np.subtract.at(after, ids[ids >= 0], 0.1 * gradients[bags[ids >= 0]])
        table = tensor(before.copy())
        pairs = torch.sort(tensor(ids))
        kernels.coalesced_update(table, pairs, tensor(bags), tensor(gradients), 0.1, "sgd")
        assert np.allclose(table.numpy(), after, atol=1e-5)


def check_adagrad():
    """Runs of any length, cut ones among them: weights and state as the CPU's kernel has them."""
    from simulator.observe import rows as host

    for optimizer, state in (("adagrad", 12), ("rowwise_adagrad", 1)):
        for n, rows in ((1003, 40), (1024, 3), (77, 60), (20, 4)):
            ids = np.sort(rng.integers(-1, rows, n)) if n == 77 else rng.integers(-1, rows, n)
            bags = (np.arange(n) // 5).astype(np.int32)
            gradients = rng.random((n, 12)).astype(np.float32)
            before = rng.random((rows, 12 + state)).astype(np.float32)
            there = np.flatnonzero(ids >= 0)
            expected = before.copy()
            pairs = host.sort_pairs(ids[there], rows, 1)
            host.coalesced_update(expected, pairs, bags[there], gradients, 0.1, 1, optimizer)
            table, sent = tensor(before.copy()), (tensor(bags), tensor(gradients))
            pairs = torch.sort(tensor(ids.astype(np.int32)))
            kernels.coalesced_update(table, pairs, *sent, 0.1, optimizer)
            assert np.allclose(table.numpy(), expected, rtol=1e-5, atol=1e-5), (optimizer, n)


def check_split_and_pool():
    """Hot lookups are pooled, cold ones listed bag by bag."""
    sizes = rng.integers(0, 80, 40)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    n, rows, slots, dim = int(offsets[-1]), 300, 90, 12
    ids = rng.integers(0, rows, n)
    slot_of = np.full(rows, -1, np.int32)
    slot_of[rng.permutation(rows)[:slots]] = np.arange(slots)
    found, cold = torch.zeros(n, dtype=torch.int32), torch.zeros(40, dtype=torch.int32)
    args = (tensor(ids), tensor(slot_of), tensor(offsets), found)
    kernels.count_cold[(40,)](*args, cold, B=32)
    assert np.array_equal(found.numpy(), slot_of[ids])
    starts = torch.zeros(41, dtype=torch.int64)
    starts[1:] = torch.cumsum(cold, 0)
    cold_ids, cold_bags = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int32)
    kernels.place_cold[(40,)](args[0], found, args[2], starts, cold_ids, cold_bags, B=32)
    missing = slot_of[ids] < 0
    count = int(missing.sum())
    assert int(starts[-1]) == count
    assert np.array_equal(cold_ids.numpy()[:count], ids[missing])
    bags = np.repeat(np.arange(40), sizes)
    assert np.array_equal(cold_bags.numpy()[:count], bags[missing])
    table = rng.random((slots, dim)).astype(np.float32)
    expected = np.zeros((40, dim))
    np.add.at(expected, bags[~missing], table[slot_of[ids[~missing]]])
    out = torch.zeros((40, dim))
    sizes = (dim, dim, 16, 8)
    kernels.pool[(40,)](tensor(table), found, args[2], out, tensor(table), found, *sizes, False)
    assert np.allclose(out.numpy(), expected, atol=1e-4)
    beyond = rng.random((rows, dim)).astype(np.float32)
    np.add.at(expected, bags[missing], beyond[ids[missing]])
    kernels.pool[(40,)](tensor(table), args[0], args[2], out, tensor(beyond), found, *sizes, True)
    assert np.allclose(out.numpy(), expected, atol=1e-4)


def check_tiered_update():
    """Rows with a slot are trained there, others where they lie, whatever the length of a run."""
    from simulator.observe.accelerator import CpuTensors
    from simulator.observe.tagged import Tier

    gpu = CpuTensors(1)
    for optimizer, state in (("sgd", 0), ("adagrad", 12), ("rowwise_adagrad", 1)):
        for n, rows in ((1003, 40), (1024, 3), (77, 60)):
            ids = rng.integers(0, rows, n)
            slot_of = np.where(rng.random(rows) < 0.5, rng.permutation(rows), -1).astype(np.int32)
            bags = tensor((np.arange(n) // 5).astype(np.int32))
            gradients = tensor(rng.random((n, 12)).astype(np.float32))
            both = []
            cache, table = (rng.random((rows, 12 + state)).astype(np.float32) for _ in range(2))
            for fast in (False, True):
                own, beyond = tensor(cache.copy()), tensor(table.copy())
                tier = Tier(tensor(ids), tensor(slot_of[ids]), beyond)
                given = (bags, gradients, 0.1, optimizer)
                if fast:
                    pairs, two = torch.sort(tensor(ids.astype(np.int32))), (tier.slots, beyond)
                    kernels.coalesced_update(own, pairs, *given, tier=two, away=True)
                else:
                    gpu.update(own, gpu.sort(tensor(ids), rows), *given, tier)
                both.append((own.numpy(), beyond.numpy()))
            for plain, other in zip(*both):
                assert np.allclose(plain, other, rtol=1e-5, atol=1e-5), (optimizer, n)


def check_tagged():
    """Triton's set-associative cache and the plain one, mini-batch by mini-batch, by the plan of
    FBGEMM's: rows are missed, marked, located and swapped alike."""
    from simulator.caches.facts import VICTIM, BatchFacts, Flow
    from simulator.caches.plan.associative import AssociativeCache
    from simulator.caches.replays.associative import FETCHED
    from simulator.observe import kernels_tagged, tagged
    from simulator.observe.accelerator import CpuTensors

    gpu = CpuTensors(1)
    for rows, sets, ways, count in ((5_000, 7, 32, 100), (900, 11, 4, 60), (60, 1, 2, 40)):
        planner = AssociativeCache(rows, sets, ways, "lru", 0)
        empty = planner.tags.astype(np.int64)
        made = [tagged.TaggedCache(gpu, empty.copy(), ways, count, 9) for _ in range(2)]
        held = [torch.zeros((sets * ways, 12)) for _ in range(2)]
        table = [tensor(rng.random((rows, 12)).astype(np.float32))]
        table.append(table[0].clone())
        for number in range(9):
            ids = (rng.random(count) ** 2 * rows).astype(np.int64)
            unique, times = np.unique(ids, return_counts=True)
            done = planner.load(unique, times)
            some = done.fetched
            flows = {
                FETCHED: Flow(0, int(some.sum()), unique[some], done.slots[some]),
                VICTIM: Flow(0, len(done.victims), done.victims, done.freed),
            }
            facts = BatchFacts(number, 1, {name: (flow,) for name, flow in flows.items()})
            swapped = tagged.Swapped(gpu, facts)
            pairs = torch.sort(tensor(ids.astype(np.int32)))
            out = [torch.zeros(count, dtype=torch.int32) for _ in range(2)]
            for k, ops in enumerate((tagged, kernels_tagged)):
                ops.probe(made[k], tensor(ids), pairs, number)
                ops.insert(made[k], swapped, number)
                ops.locate(made[k], tensor(ids), out[k])
                ops.swap(swapped, held[k], table[k])
            slot_of = dict(zip(unique.tolist(), done.slots.tolist()))
            assert out[0].tolist() == [slot_of[i] for i in ids.tolist()], number
            assert made[0].missed_rows(number) == int((~done.hit).sum())
            for pair in (out, held, table, *zip(*((m.tags, m.marks, m.counts) for m in made))):
                assert torch.equal(*pair), number


def check_moves():
    table = rng.random((70, 12)).astype(np.float32)
    rows = rng.permutation(70)[:21]
    out = torch.zeros((21, 12))
    kernels.gather[(3,)](tensor(table), tensor(rows), out, 21, 12, D=16, R=8)
    assert np.array_equal(out.numpy(), table[rows])
    values = rng.random((21, 12)).astype(np.float32)
    kernels.scatter[(3,)](tensor(table), tensor(rows), tensor(values), 21, 12, D=16, R=8)
    assert np.array_equal(table[rows], values)


def check_hit_map():
    ids = rng.integers(0, 500, 700)
    slot_of = np.where(np.arange(500) % 3 == 0, np.arange(500) // 3, -1).astype(np.int32)
    winner, counts = torch.zeros(500, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    missed = torch.zeros(700, dtype=torch.int64)
    kernels.mark[(3,)](tensor(ids), winner, 700, B=256)
    kernels.find[(3,)](tensor(ids), winner, tensor(slot_of), missed, counts, 700, B=256)
    unique = np.unique(ids)
    misses = unique[slot_of[unique] < 0]
    assert counts.tolist() == [len(unique), len(misses)]
    assert np.array_equal(np.sort(missed.numpy()[: len(misses)]), misses)
    age, idle = rng.integers(0, 9, 10_000).astype(np.int32), torch.zeros(1, dtype=torch.int32)
    kernels.count_idle[(3,)](tensor(age), idle, 10_000, 4, B=4096)
    assert int(idle) == int((age < 4).sum())


def check_plan():
    """Triton's Plan and the plain one, mini-batch by mini-batch: the same rows move, the same slots
    are stamped, whatever slot a row gets; pools of several programs, free slots, places of two
    digits, windows."""
    from simulator.caches import Window
    from simulator.observe import kernels_lru, lru
    from simulator.observe.accelerator import CpuTensors

    gpu = CpuTensors(1)
    for rows, slots, lookups, window, filled in (
        ((300, 500), (150, 260), 2, Window(3, 2), True),
        ((9_000, 40), (5_000, 40), 40, Window(1, 1), False),
        ((90, 70, 80), (70, 60, 65), 2, Window(0, 2), True),
    ):
        tables = len(rows)
        bases, samples = np.cumsum((0, *rows[:-1])), 12
        bag_of = np.repeat(np.arange(samples * tables, dtype=np.int32), lookups)
        table = bag_of % tables
        skew = rng.random((9, len(table))) ** 2
        ids = [(skew[k] * np.array(rows)[table]).astype(np.int64) + bases[table] for k in range(9)]
        resident = np.concatenate(
            [b + np.where(np.arange(s) < filled * s * 0.8, np.arange(s), -1 - b)
             for b, s in zip(bases, slots)]
        )
        pools = lru.Pools(rows, slots, window)
        plain, fast = (lru.LruCache(gpu, pools, resident, ids) for _ in range(2))
        work = kernels_lru.LruScratch(gpu, fast)
        mine, other = (lru.LruLists(gpu, len(table)) for _ in range(2))
        for number, keys in enumerate(ids):
            out = [torch.zeros(len(keys), dtype=torch.int32) for _ in range(2)]
            lru.plan(plain, tensor(keys), out[0], mine)
            kernels_lru.plan(fast, work, tensor(keys), tensor(bag_of), out[1], other)
            assert torch.equal(plain.host_counts, fast.host_counts), number
            assert plain.counted(number, "short") == 0
            for name, count in (("missed_rows", "misses"), ("write_rows", "victims")):
                n = plain.counted(number, count)
                pair = [np.sort(getattr(x, name).numpy()[:n]) for x in (mine, other)]
                assert np.array_equal(*pair), (number, name)
            assert np.array_equal(fast.row_of.numpy()[out[1].numpy()], keys)
            assert np.array_equal(np.sort(plain.row_of), np.sort(fast.row_of))
            where = plain.slot_of.numpy() >= 0
            stamps = [c.stamp.numpy()[c.slot_of.numpy()[where]] for c in (plain, fast)]
            assert np.array_equal(*stamps), number
            n = fast.counted(number, "misses")
            given = fast.slot_of.numpy()[other.missed_rows[:n]]
            assert np.array_equal(given, other.missed_slots[:n])
            target = torch.full((n + 3,), -5)
            kernels_lru.send_list(fast, other.missed_rows, target, "misses")
            assert torch.equal(target[:n], other.missed_rows[:n]) and (target[n:] == -5).all()


check_tagged()
check_tiered_update()
check_plan()
check_adagrad()
check_update()
check_split_and_pool()
check_moves()
check_hit_map()
'''


SYSTEMS = '''
import numpy as np
from training import experiment, tables_of, trainer_of
from simulator.config.expand import expand
from simulator.observe import kernels_gpu, kernels_lru
from simulator.observe.accelerator import CpuTensors, CudaGpu


class Interpreted(CudaGpu):
    """Launches as on CUDA, without its streams, graphs and page-locked memory."""

    device = "cpu"

    def __init__(self):
        CpuTensors.__init__(self, 1)
        self._kernels, self._lru, self._scratch = kernels_gpu, kernels_lru, {}

    staging, stream, mark = CpuTensors.staging, CpuTensors.stream, CpuTensors.mark
    between_us, captured = CpuTensors.between_us, CpuTensors.captured
    synchronize, mapped = CpuTensors.synchronize, CpuTensors.mapped
    prepare_marks = CpuTensors.prepare_marks


FIVE = ["hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only"]
run = {"batches": 3, "warmup_batches": 1, "cpu_threads": 1}
for changes in ({}, {"trace": {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"}}):
    changes = changes | {"run": run, "cache": {"fraction": 0.4, "prefill": "hot"}}
    expected = tables_of(systems=["hybrid"], **changes)["hybrid"]
    few = {"name": "fbgemm_cached", "label": "of four ways", "ways": 4}
    systems = [*FIVE, "fbgemm_uvm", "fbgemm_cached", few]
    for point in expand(experiment(systems=systems, **changes)):
        trainer = trainer_of(point, Interpreted())
        trainer.run()
        assert np.allclose(trainer.tables(), expected, rtol=0, atol=1e-6), point.system.label
'''


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("checks", [CHECKS, SYSTEMS], ids=["kernels", "systems"])
def test_kernels_equal_numpy(checks: str, tmp_path: Path) -> None:
    script = tmp_path / "checks.py"
    script.write_text(checks)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

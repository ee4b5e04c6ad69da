"""`scratchpipe replay` as a user runs it."""

import json

import numpy as np
import pytest

from simulator.caches import Window
from simulator.caches.policies.base import LOOKUP_ONLY, policy_names
from simulator.caches.reference.per_batch import reference_plan
from simulator.caches.reference.per_lookup import LOOKUP_REFERENCES
from simulator.cli import main

REQUIRED = {"lookups", "unique_ids", "hits", "misses", "cold_misses", "evictions", "wall_s"}


@pytest.fixture
def run(capsys):
    """Run the command; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["replay", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def trace(zipf_ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "ids.npy"
    np.save(path, zipf_ids[:3000])
    return path


@pytest.mark.parametrize("policy", [*policy_names(), *LOOKUP_ONLY])
def test_per_lookup_json(run, trace, policy):
    code, out, err = run("--trace", trace, "--policy", policy, "--capacity", 100, "--json")
    found = json.loads(out)
    ids = np.load(trace)
    assert (code, err) == (0, "")
    assert found.keys() >= REQUIRED | {"lookups_per_s", "lookup_hit_rate"}
    assert found["hits"] + found["misses"] == found["lookups"] == len(ids)
    assert found["unique_ids"] == found["cold_misses"] == len(np.unique(ids))
    counts = np.bincount(ids)
    hottest = np.argsort(-counts, kind="stable").tolist()
    assert found["hits"] == sum(LOOKUP_REFERENCES[policy](ids.tolist(), 100, hottest=hottest))


def test_per_batch_json(run, trace):
    options = ["--granularity", "batch", "--batch-lookups", 64, "--window-future", 1]
    code, out, _ = run("--trace", trace, "--policy", "lru", "--capacity", 400, "--json", *options)
    found = json.loads(out)
    ids = np.load(trace).tolist()
    batches = [ids[start : start + 64] for start in range(0, len(ids), 64)]
    plans = reference_plan("lru", batches, 400, Window(3, 1))
    assert code == 0
    assert found["batches"] == len(batches)
    assert found["misses"] == sum(len(plan.missed_rows) for plan in plans)
    assert found["hits"] + found["misses"] == sum(len(set(batch)) for batch in batches)
    assert found["evictions"] == sum(len(plan.victim_rows) for plan in plans)
    assert found["lookup_hits"] == sum(plan.lookup_hits for plan in plans)
    assert (found["window_past"], found["window_future"]) == (3, 1)


@pytest.mark.parametrize("granularity", ["lookup", "batch"])
def test_sparse_ids_count_as_dense_ones(run, trace, tmp_path, granularity):
    sparse = tmp_path / "sparse.npy"
    ids = np.load(trace)
    np.save(sparse, 2**63 - 1 - ids * 1_000_003)
    options = ["--policy", "lru", "--capacity", 1500, "--json", "--granularity", granularity]
    options += ["--batch-lookups", 99] if granularity == "batch" else []
    found = [json.loads(run("--trace", path, *options)[1]) for path in (trace, sparse)]
    for counts in found:
        del counts["wall_s"], counts["lookups_per_s"]
    assert found[0] == found[1]


def test_a_person_gets_a_table(run, trace):
    code, out, _ = run("--trace", trace, "--policy", "fifo", "--capacity", 10)
    assert code == 0
    assert "lookup hit rate" in out


def test_pinned_rows_are_reported_with_and_without_their_first_load(run, trace):
    _, out, _ = run("--trace", trace, "--policy", "static_hot", "--capacity", 10, "--json")
    found = json.loads(out)
    top = np.sort(np.bincount(np.load(trace)))[-10:].sum()
    assert found["hits_if_preloaded"] == top == found["hits"] + 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "lruu", "--capacity", 5], "no policy 'lruu'"),
        (["--policy", "lru", "--capacity", 0], "'--capacity': 0 is less than"),
        (["--policy", "lru", "--capacity", 5, "--granularity", "row"], "must be lookup or batch"),
        (["--policy", "lru", "--capacity", 5, "--window-past", 1], "only with --granularity batch"),
        (
            ["--policy", "lru", "--capacity", 500, "--granularity", "batch", "--window-past", -1],
            "'--window-past': -1 is less than",
        ),
        (
            ["--policy", "lru", "--capacity", 5, "--granularity", "batch", "--batch-lookups", 0],
            "'--batch-lookups': 0 is less than",
        ),
        (["--policy", "lru", "--capacity", 5, "--granularity", "batch"], "has 5 slots"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run, trace, options, message):
    code, out, err = run("--trace", trace, *options, "--json")
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, -2]),
        np.array([1.5]),
        np.zeros((2, 2), dtype=np.int64),
        np.array([], dtype=np.int64),
        np.array([{}], dtype=object),
    ],
)
def test_bad_traces_are_told_in_a_sentence(run, tmp_path, array):
    path = tmp_path / "bad.npy"
    np.save(path, array, allow_pickle=True)
    code, out, err = run("--trace", path, "--policy", "lru", "--capacity", 5, "--json")
    assert (code, out) == (2, "")
    (told,) = [line for line in err.splitlines() if not line.startswith("note:")]
    assert told.startswith("error:")


def test_missing_and_truncated_files_are_told_in_a_sentence(run, trace, tmp_path):
    cut = tmp_path / "cut.npy"
    cut.write_bytes(trace.read_bytes()[:1000])
    for path in (tmp_path / "none.npy", cut):
        code, out, err = run("--trace", path, "--policy", "lru", "--capacity", 5)
        assert (code, out) == (2, "")
        assert str(path.name) in err


def test_a_column_of_a_log_is_replayed(run, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,stars\n1,10,5\n2,11,4\n1,10,3\n")
    options = ["--policy", "lru", "--capacity", 2, "--json"]
    code, _, err = run("--trace", log, *options)
    assert code == 2
    assert "name one with --column: user, item, stars" in err
    code, out, _ = run("--trace", log, "--column", "user", *options)
    assert (code, json.loads(out)["hits"]) == (0, 1)


def test_a_file_whose_name_tells_no_format_is_replayed(run, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n2\n1\n")
    options = ["--policy", "lru", "--capacity", 2, "--json"]
    code, out, _ = run("--trace", ids, "--format", "csv", *options)
    assert (code, json.loads(out)["hits"]) == (0, 1)


def test_hashed_categories_are_replayed(run, tmp_path):
    line = "\t".join(["1", *["0"] * 13, *["68fd1e64"] * 26])
    (tmp_path / "day.txt").write_text(f"{line}\n{line}\n")
    options = ["--policy", "lru", "--capacity", 2, "--json", "--column", "C1"]
    code, out, _ = run("--trace", tmp_path / "day.txt", *options, "--sizes", 100)
    assert (code, json.loads(out)["hits"]) == (0, 1)


@pytest.mark.parametrize("kind", ["int32", "uint64"])
def test_the_type_of_ids_changes_no_count(run, trace, tmp_path, kind):
    np.save(tmp_path / "ids.npy", np.load(trace).astype(kind))
    options = ["--policy", "s3fifo", "--capacity", 100, "--json"]
    found = [
        json.loads(run("--trace", file, *options)[1]) for file in (trace, tmp_path / "ids.npy")
    ]
    first, second = (
        {k: v for k, v in each.items() if k not in ("wall_s", "lookups_per_s")} for each in found
    )
    assert first == second


@pytest.mark.parametrize("granularity", ["lookup", "batch"])
def test_a_long_replay_of_an_own_policy_is_announced(
    run, trace, tmp_path, monkeypatch, granularity
):
    own = tmp_path / "mine.py"
    own.write_text(
        "from simulator.caches.policies.lru import LRU\n\n\nclass Mine(LRU):\n    name = 'mine'\n"
    )
    options = ("--trace", trace, "--capacity", 600, "--granularity", granularity)
    options += ("--batch-lookups", 64) * (granularity == "batch")
    _, _, quiet = run("--policy", f"{own}:Mine", *options)
    monkeypatch.setattr("simulator.cli.replay._LONG_S", 0.0)
    code, _, told = run("--policy", f"{own}:Mine", *options)
    assert (code, quiet) == (0, "")
    assert "Mine is plain Python: 3,000 lookups at about " in told
    assert ("--granularity batch" in told) == (granularity == "lookup")
    assert run("--policy", "lru", *options)[2] == ""

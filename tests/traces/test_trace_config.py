"""Trace configurations: kinds, what may be left out, and what `--set` does to them."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML

from simulator.config.trace import LOCALITY_ALPHA, TraceConfig, with_key
from simulator.traces import open_trace

NAMED = Path(__file__).parents[2] / "configs" / "traces"
READ = TypeAdapter(TraceConfig).validate_python


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"kind": "uniform"}, "uniform"),
        ({"kind": "zipf", "alpha": 1}, "zipf"),
        ({"locality": "medium"}, "locality"),
        ({"kind": "locality", "locality": "low"}, "locality"),
        ({"path": "a.npy"}, "file"),
        ({"kind": "histogram", "path": "counts.csv", "columns": ["a"]}, "histogram"),
        ({"kind": "curve", "curve": "x"}, "curve"),
        ({"kind": "stack", "curve": "x"}, "stack"),
        (
            {
                "kind": "drift",
                "alpha": 0.9,
                "hot_fraction": 0.1,
                "replaced": 0.5,
                "period_batches": 3,
            },
            "drift",
        ),
        (
            {"kind": "session", "alpha": 0.9, "repeat": 0.5, "length": 4.0, "concurrent": 8},
            "session",
        ),
    ],
)
def test_kind_is_read_or_told_by_other_keys(given, kind):
    assert READ(given).kind == kind


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "zipff", "alpha": 1.0}, "must be one of uniform, zipf"),
        ({}, "must be one of"),
        ({"locality": "hihg"}, "'random', 'low', 'medium' or 'high'"),
        ({"kind": "zipf"}, "Field required"),
        ({"kind": "zipf", "alpha": -1.0}, "greater than or equal to 0"),
        ({"kind": "zipf", "alpha": float("nan")}, "finite"),
        ({"kind": "zipf", "alpha": "1"}, "valid number"),
        ({"kind": "uniform", "alpha": 1.0}, "Extra inputs"),
        ({"path": "a.npy", "format": "hdf5"}, "'npy'"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(ValidationError, match=message):
        READ(given)


def test_random_is_uniform_and_localities_rise():
    assert LOCALITY_ALPHA["random"] == 0.0
    assert list(LOCALITY_ALPHA.values()) == sorted(LOCALITY_ALPHA.values())


def test_setting_the_locality_changes_the_kind_and_keeps_what_both_have():
    zipf = {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"}
    assert with_key(zipf, "locality", "high") == {
        "kind": "locality",
        "locality": "high",
        "pooling": "poisson",
    }
    assert with_key({"locality": "low"}, "kind", "uniform") == {"kind": "uniform"}


def test_setting_the_path_means_a_file_unless_the_kind_has_a_path():
    assert with_key({"locality": "low"}, "path", "x.npy") == {"kind": "file", "path": "x.npy"}
    curve = {"kind": "curve", "curve": "c"}
    assert with_key(curve, "path", "x.csv") == {**curve, "path": "x.csv"}


@pytest.mark.parametrize("file", sorted(NAMED.glob("*.yaml")), ids=lambda file: file.stem)
def test_named_configurations_open(file):
    given = YAML(typ="safe", pure=True).load(file)
    if "path" in given:
        given["path"] = str(file.parent / given["path"])
    trace = open_trace(READ(given), rows=(6000, 6000), lookups=(1, 1), batch_size=64, seed=0)
    assert trace.minibatch(0).lookups == 128


def test_a_dump_reads_back_as_the_same_configuration():
    config = READ({"path": "a.npz", "columns": ["x", "y"], "at_end": "wrap"})
    assert READ(config.model_dump(mode="json")) == config

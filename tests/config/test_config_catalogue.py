"""The catalogue: every entry is valid and says where its numbers come from."""

from collections import Counter

import pytest

from simulator.config import catalogue
from simulator.config.catalogue import load_named, names
from simulator.errors import ConfigError

ENTRIES = [(kind, name) for kind in catalogue.KINDS for name in names(kind)]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_is_valid(kind, name):
    entry = load_named(kind, name)
    if kind in ("models", "operators"):
        assert entry.name == name


@pytest.mark.parametrize("name", names("models"))
def test_every_model_says_where_it_comes_from(name):
    assert len(load_named("models", name).source) > 20


def test_the_names_that_users_rely_on():
    assert {"default", "mlperf_dlrm", "rmc1", "rmc2", "rmc3"} <= set(names("models"))
    assert {"paper", "stock", "tuned"} <= set(names("operators"))


def test_the_default_model_has_the_published_sizes():
    """40.96 GB of rows; six mini-batches of distinct rows are exactly 960 MiB."""
    model = load_named("models", "default")
    assert sum(model.table_bytes) == 40_960_000_000
    assert 6 * model.lookups_per_batch * model.row_bytes == 960 * 2**20
    assert model.bottom_widths == (13, 512, 256, 128)


def test_mlperf_has_the_criteo_cardinalities():
    model = load_named("models", "mlperf_dlrm")
    assert model.tables == 26
    assert model.rows == 187_767_399
    assert max(model.rows_per_table) == 39_979_771
    assert min(model.rows_per_table) == 3
    assert sum(model.table_bytes) == 187_767_399 * 512


@pytest.mark.parametrize(
    ("name", "tables", "lookups", "bottom"),
    [
        ("rmc1", 10, 80, (13, 256, 128, 32)),
        ("rmc2", 40, 80, (13, 256, 128, 32)),
        ("rmc3", 10, 20, (13, 2560, 512, 32)),
    ],
)
def test_models_of_lazydps_scripts(name, tables, lookups, bottom):
    """All have 96.0 GB of rows."""
    model = load_named("models", name)
    assert (model.tables, model.width, model.bottom_widths) == (tables, 32, bottom)
    assert model.lookups_per_batch == model.batch_size * tables * lookups
    assert sum(model.table_bytes) == 96 * 10**9


def test_dlrm_dcnv2_has_214_lookups_a_sample_149_of_them_in_its_largest_tables():
    model = load_named("models", "mlperf_dcnv2")
    pairs = list(zip(model.rows_per_table, model.table_lookups, strict=True))
    assert (model.tables, model.rows, model.width) == (26, 204_184_588, 128)
    assert sum(lookups for _, lookups in pairs) == 214
    assert sum(lookups for rows, lookups in pairs if rows == 40_000_000) == 149
    assert (model.optimizer, model.state_bytes) == ("adagrad", 512)


@pytest.mark.parametrize(
    ("name", "tables", "shared", "rows", "gib", "lookups", "gathered"),
    [
        ("tiny", 55, {10: 3}, 70.3e6, 4.2, 85, 4_128),
        ("small", 107, {30: 9}, 220.6e6, 26.3, 377, 34_176),
        ("medium", 311, {50: 26}, 664.9e6, 206.2, 1_611, 407_808),
        ("large", 612, {100: 57}, 2.846e9, 773.8, 6_312, 1_616_384),
        ("jumbo", 1_022, {200: 75}, 5.722e9, 3_109.5, 16_022, 8_217_088),
    ],
)
def test_the_synthetic_models_have_the_published_sizes(
    name, tables, shared, rows, gib, lookups, gathered
):
    """Tables, those that a one-hot and a k-hot feature share (by k), rows, GiB of fp32 weights,
    lookups and gathered bytes a sample."""
    model = load_named("models", f"synthetic_{name}")
    pairs = list(zip(model.dim, model.table_lookups, strict=True))
    weights = sum(4 * d * r for d, r in zip(model.dim, model.rows_per_table, strict=True))
    assert model.tables == tables
    assert model.rows == pytest.approx(rows, rel=1e-3)
    assert weights / 2**30 == pytest.approx(gib, abs=0.05)
    assert sum(lookups for _, lookups in pairs) == lookups
    assert sum(4 * dim * lookups for dim, lookups in pairs) == gathered
    assert Counter(model.lookups_per_table) == {
        (1,): tables - sum(shared.values()),
        **{(1, hot): count for hot, count in shared.items()},
    }
    assert model.features == len(model.pooled_dims) == tables + sum(shared.values())
    assert (model.batch_size, model.optimizer, model.bottom_widths) == (65_536, "adagrad", ())


@pytest.mark.parametrize(
    ("optimizer", "state"), [("sgd", 0), ("adagrad", 512), ("rowwise_adagrad", 4)]
)
def test_state_of_the_optimizer(optimizer, state):
    model = load_named("models", "default").model_copy(update={"optimizer": optimizer})
    assert model.state_bytes == state
    assert model.table_bytes[0] == 10_000_000 * (512 + state)


def test_a_model_without_dense_features_has_no_bottom_mlp():
    model = load_named("models", "default").model_copy(update={"dense_features": 0})
    assert model.bottom_widths == ()


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'rmc1'"):
        load_named("models", "rmc11")


def test_a_path_works_like_a_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: default\ntables: 4\nrows_per_table: [1, 2, 3, 4]\n")
    model = load_named("models", str(file))
    assert (model.name, model.rows) == ("mine", 10)
    assert model.model_dump(mode="json")["lookups_per_table"] == 20

"""The catalogue: every entry is valid and says where its numbers come from."""

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
    assert {"default", "mlperf_dlrm", "rm1", "rm2", "rm3"} <= set(names("models"))
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


@pytest.mark.parametrize(("name", "tables", "lookups"), [("rm1", 10, 80), ("rm2", 40, 80)])
def test_the_shaped_models(name, tables, lookups):
    model = load_named("models", name)
    assert (model.tables, model.dim) == (tables, 32)
    assert model.lookups_per_batch == model.batch_size * tables * lookups


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
    with pytest.raises(ConfigError, match="did you mean 'rm1'"):
        load_named("models", "rm11")


def test_a_path_works_like_a_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: default\ntables: 4\nrows_per_table: [1, 2, 3, 4]\n")
    model = load_named("models", str(file))
    assert (model.name, model.rows) == ("mine", 10)
    assert model.model_dump(mode="json")["lookups_per_table"] == 20

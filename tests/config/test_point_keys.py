"""Keys of points are quick, and those of the plain definition."""

import copy
import gc
import hashlib

import pytest

from simulator.config import assign
from simulator.config import point as module
from simulator.config.expand import expand
from simulator.config.memo import by_identity
from simulator.config.point import canonical_json
from simulator.config.tables import TablesConfig
from simulator.engine import parse_experiment

DATA = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": "default",
    "trace": {"kind": "zipf", "alpha": 1.05},
    "systems": ["hybrid", {"name": "scratchpipe", "label": "ours"}],
    "sweep": {"cache.fraction": [0.1, 0.2], "run.seed": [0, 1]},
}


def plain(point):
    """Of a point that trains, whose system has no parameters and whose tables lie in no tiers."""
    left_out = {"swept": True, "tables": True, "system": {"label", "where", "parameters"}}
    left_out["run"] = {"mode", "arrivals"}
    data = point.model_dump(mode="json", exclude=left_out)
    return hashlib.sha256(canonical_json(module._bare(data)).encode()).hexdigest()


def test_a_key_is_the_hash_of_the_canonical_configuration():
    points = expand(parse_experiment(DATA))
    assert len(points) == 8
    assert [point.key() for point in points] == [plain(point) for point in points]


def test_a_changed_copy_has_another_key():
    point = expand(parse_experiment(DATA))[0]
    run = point.run.model_copy(update={"seed": 9})
    before = point.key()
    assert point.model_copy(update={"run": run}).key() != before
    assert point.key() == before
    assert copy.deepcopy(point).key() == before


def test_what_is_remembered_goes_with_its_object():
    class Thing:
        pass

    calls = []
    remembered = by_identity(lambda thing: calls.append(thing.number) or thing.number)
    thing = Thing()
    thing.number = 1
    assert (remembered(thing), remembered(thing), calls) == (1, 1, [1])
    del thing
    gc.collect()
    (cell,) = (c for c in remembered.__closure__ if isinstance(c.cell_contents, dict))
    assert cell.cell_contents == {}


@pytest.mark.parametrize("values", [50, 400])
def test_a_longer_sweep_costs_no_more_a_point(values, monkeypatch):
    """A point does not carry the values of all others along: counted, not timed."""
    data = DATA | {"sweep": {"cache.fraction": [0.1 + n / 1000 for n in range(values)]}}
    experiment = parse_experiment(data | {"systems": ["hybrid"]})
    sizes = []
    real = assign._copied
    monkeypatch.setattr(assign, "_copied", lambda data: sizes.append(len(str(data))) or real(data))
    assert len(expand(experiment)) == values
    assert max(sizes) < 5000


TIERED = {"tier": {"dram": 0.5, "cxl": 0.5}}
OTHER_TABLES = {
    "tier": {"cxl": 0.5, "dram": 0.5},  # their order counts
    "cache": 0.6,
    "fetch_ahead": 4,
    "by": "table",
    "order": "hash",
}


def test_every_setting_of_tables_in_tiers_changes_the_key():
    point = expand(parse_experiment(DATA))[0]
    tiered = point.model_copy(update={"tables": TablesConfig.model_construct(**TIERED)})
    assert set(OTHER_TABLES) == set(TablesConfig.model_fields)
    keys = {
        tiered.model_copy(
            update={"tables": TablesConfig.model_construct(**TIERED | {name: value})}
        ).key()
        for name, value in OTHER_TABLES.items()
    }
    assert len(keys | {tiered.key(), point.key()}) == len(OTHER_TABLES) + 2

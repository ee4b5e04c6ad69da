"""Training that no source describes is called ours ([X]) wherever it is shown."""

from __future__ import annotations

import pytest
from rivalry import simulated

from simulator.engine.explanation import explain_system
from simulator.results.against import against
from simulator.results.extension import EXTENSION, extension_title
from simulator.results.record import Result
from simulator.systems import names, system_class

INFERENCE_PAPERS = {"tensordimm", "recnmp", "fafnir", "trim", "recross"}


def result(mode: str) -> Result:
    pool = {"name": "trim", "platform": "trim_v100"}
    run = {"mode": mode, "batches": 2, "warmup_batches": 1}
    return Result("r", tuple(simulated("hybrid", pool, run=run).values()))


def test_those_of_inference_papers_that_train_here_are_known() -> None:
    assert {name for name in names() if system_class(name).training_is_ours} == INFERENCE_PAPERS


@pytest.mark.parametrize("name", sorted(INFERENCE_PAPERS))
def test_what_explains_them_says_so(name: str) -> None:
    text = "\n".join(explain_system(name).lines())
    assert f"{EXTENSION} how it trains is our extension" in text


@pytest.mark.parametrize("name", ["recxl", "hybrid", "space", "screc"])
def test_what_explains_others_does_not(name: str) -> None:
    assert EXTENSION not in "\n".join(explain_system(name).lines())


def test_tables_figures_and_comparisons_of_training_say_so() -> None:
    trained = result("training")
    rows = trained.metrics()
    assert [row["training_is_ours"] for row in rows] == [False, True]
    text = repr(trained)
    assert f"trim {EXTENSION}" in text
    assert f"{EXTENSION} our extension: how trim train" in text
    assert extension_title(rows) == f"{EXTENSION} training of trim is ours"
    (note,) = (n for n in against(rows, rows, ("system",)).warnings if EXTENSION in n)
    assert "trim" in note


def test_answers_are_those_of_the_source() -> None:
    answered = result("inference")
    assert not any(row["training_is_ours"] for row in answered.metrics())
    assert EXTENSION not in repr(answered)

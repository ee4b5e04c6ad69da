"""Training that no source describes is called ours ([X]) wherever it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rivalry import simulated

from simulator.cli import main
from simulator.engine.explanation import explain_system
from simulator.engine.hazards import HazardCase, run_case
from simulator.figures import front, tornado
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


FILE = """
config_version: 1
name: ours
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 2000, batch_size: 64, bottom_mlp: [64]}
trace: {kind: uniform}
systems:
  - {name: trim, platform: {base: trim_v100, name: pool, price_usd_per_hour: 3}}
run: {batches: 2, warmup_batches: 1}
"""
SAID = f"{EXTENSION} our extension: how trim trains; its source is about inference alone"


@pytest.fixture
def typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """What `scratchpipe VERB experiment WORDS` prints; titles of its pictures after it."""
    titles: list[str] = []
    for module, name in ((tornado, "tornado"), (front, "front")):
        drawn = getattr(module, name)

        def draw(*given: Any, drawn: Any = drawn, **more: Any) -> Any:
            titles.append(given[-1])
            return drawn(*given, **more)

        monkeypatch.setattr(module, name, draw)
    file = tmp_path / "ours.yaml"
    file.write_text(FILE, encoding="utf-8")

    def run(verb: str, *words: str) -> str:
        arguments = [verb, str(file), "--out", str(tmp_path / verb), *words]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
        return "\n".join([capsys.readouterr().out, *titles])

    return run


@pytest.mark.parametrize(("verb", "words"), [("whatif", ()), ("optimize", ("--throughput", "1"))])
def test_what_varies_and_searches_says_so(
    typed: Callable[..., str], tmp_path: Path, verb: str, words: tuple[str, ...]
) -> None:
    text = typed(verb, *words)
    assert f"trim {EXTENSION}" in text
    assert text.count(SAID) == 2  # under the table and in the title of the picture
    asked = ("--set", "run.mode=inference", "--out", str(tmp_path / "queries"))
    queries = typed(verb, *words, *asked)
    assert queries.count(SAID) == 1  # the title of before


@pytest.mark.parametrize(("verb", "words"), [("whatif", ()), ("optimize", ("--throughput", "1"))])
@pytest.mark.parametrize(("mode", "ours"), [("training", True), ("inference", False)])
def test_so_does_their_json(
    typed: Callable[..., str], verb: str, words: tuple[str, ...], mode: str, ours: bool
) -> None:
    text = typed(verb, *words, "--json", "--set", f"run.mode={mode}")
    found = json.JSONDecoder().raw_decode(text)[0]
    rows = found["candidates"] if verb == "optimize" else found
    assert [row["training_is_ours"] for row in rows] == [ours]


def test_a_check_of_their_rows_says_so() -> None:
    outcome = run_case(HazardCase(system="trim", batches=10))
    assert outcome.sentence().startswith(f"trim {EXTENSION}, ")
    assert outcome.note() == SAID
    assert outcome.as_dict()["training_is_ours"] is True
    assert run_case(HazardCase(system="recxl", batches=10)).note() == ""


def test_so_does_a_timeline(typed: Callable[..., str], tmp_path: Path) -> None:
    typed("run")
    with pytest.raises(SystemExit):
        main(["timeline", str(tmp_path / "run")])
    events = json.loads((tmp_path / "run" / "timeline.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names
    assert all(name.startswith(f"trim {EXTENSION} ") for name in names)

"""`scratchpipe plot`: any column against any other, in the style of all figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from simulator.cli import main
from simulator.engine import parse_experiment, simulate
from simulator.errors import UsageError
from simulator.figures.charts import figure_grid
from simulator.figures.plot import plot
from simulator.figures.style import distinct_looks
from simulator.results.record import Result
from simulator.results.rows import joined

DATA = {
    "config_version": 1,
    "name": "plot",
    "platform": "v100_p3",
    "model": {"base": "default", "rows_per_table": 4000, "tables": 2, "batch_size": 32},
    "trace": {"locality": "medium"},
    "systems": ["hybrid", "static_cache"],
    "run": {"batches": 2, "warmup_batches": 1, "seeds": 2},
    "sweep": {"cache.fraction": [0.2, 0.4], "model.dim": [32, 64]},
}


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(parse_experiment(DATA))


@pytest.mark.parametrize(
    ("suffix", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89P")]
)
def test_a_run_is_drawn_into_a_file_of_its_suffix(
    small_run: Path, tmp_path: Path, suffix: str, begins: bytes
) -> None:
    target = tmp_path / f"figure.{suffix}"
    words = ["plot", str(small_run), "--x", "locality", "--y", "energy_mj", "--out", str(target)]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
    assert target.read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--x", "cache_fractoin"], "did you mean 'cache_fraction'?"),
        (["--x", "held_misses_per_batch"], "says nothing of these points"),
        (["--x", "locality", "--y", "bottleneck"], "is text: choose one of cache_fraction"),
        (["--x", "locality", "--width", "wide"], "column, page, or 1 to 40 inches"),
        (["--x", "locality", "--out", "a.gif"], "its name ends in one of .pdf, .svg, .png"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(
    small_run: Path, capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plot", str(small_run), *more])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_lines_are_of_a_system_and_what_else_was_swept(result: Result) -> None:
    figure = plot(result.metrics(), result.swept(), "cache.fraction", width="column")
    assert figure.get_size_inches()[0] == pytest.approx(3.35)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines() if line.get_label()[0] != "_"}
    assert set(lines) == {
        f"{name}, dim {dim}" for name in ("Hybrid CPU-GPU", "Static cache") for dim in (32, 64)
    }
    line = lines["Static cache, dim 64"]
    times = [
        row["iteration_time_us"] / 1e3
        for row, swept in zip(result.metrics(), result.swept(), strict=True)
        if row["label"] == "static_cache" and swept["model.dim"] == 64
    ]
    assert list(line.get_xdata()) == pytest.approx([20, 40])
    assert list(line.get_ydata()) == pytest.approx(times)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Cache (% of rows)", "Iteration time (ms)")
    assert len({(to_hex(one.get_color()), one.get_linestyle()) for one in lines.values()}) == 4
    spreads = [one for one in axes.get_lines() if one.get_label()[0] == "_"]
    assert len(spreads) == len(result)
    low, high = (result.metrics()[0][f"iteration_time_{end}_us"] / 1e3 for end in ("low", "high"))
    assert list(spreads[0].get_ydata()) == pytest.approx([low, high])


def test_bars_where_the_abscissa_is_text(result: Result) -> None:
    (axes,) = plot(result.metrics(), result.swept(), "system", "lookup_hit_rate").axes
    heights = sorted(bar.get_height() for bar in axes.patches if bar.get_height())
    rates = sorted(100 * r["lookup_hit_rate"] for r in result.metrics() if r["lookup_hit_rate"])
    assert heights == pytest.approx(rates)


def test_software_that_differs_stands_in_the_heading(result: Result) -> None:
    (first, *rest) = result.points
    other = dataclasses.replace(
        first, metrics={**first.metrics, "platform": "h200", "operators": "tuned"}
    )
    mixed = Result("mixed", (other, *rest))
    figure = plot(mixed.metrics(), mixed.swept(), "cache.fraction")
    assert "software differs as well as machines" in figure.legends[0].get_title().get_text()
    with pytest.raises(UsageError, match="column nothing does not exist"):
        plot(mixed.metrics(), mixed.swept(), "nothing")


def test_no_two_of_very_many_series_look_the_same() -> None:
    names = [f"scratchpipe, {n}" for n in range(60)]
    looks = distinct_looks(names, dict.fromkeys(names, "scratchpipe"))
    assert len({(look.color, look.hatch) for look in looks.values()}) == 60
    assert looks[names[0]].color == looks[names[1]].color
    usual = distinct_looks(["gather_reduce", "forward", "collect", "plan", "sort"])
    assert len({(look.color, look.hatch) for look in usual.values()}) == 5


def test_columns_of_the_load_stage_and_of_check_points_are_drawn() -> None:
    fed = {
        **DATA,
        "load": {"profile": "plain", "cores": 1, "source_bandwidth": "1 GB/s"},
        "checkpoint": {"kind": "snapshot", "to": "ssd", "every": 1},
        "platform": "ssd_v100",
        "sweep": {"load.cores": [1, 2]},
    }
    result = simulate(parse_experiment({**fed, "run": {"batches": 2, "warmup_batches": 1}}))
    figure = result.plot("load.cores", "training_busy")
    (axes,) = figure.axes
    (line, *_) = axes.get_lines()
    busy = [row["training_busy"] for row in result.loads() if row["label"] == "hybrid"]
    assert list(line.get_ydata()) == pytest.approx([100 * share for share in busy])
    assert axes.get_ylabel() == "Training busy (%)"
    rows = joined(result.metrics(), result.loads(), result.checkpoints())
    assert [row["checkpoint.rest_us"] for row in rows] == [
        row["rest_us"] for row in result.checkpoints()
    ]
    assert [row["rest_us"] for row in rows] == [row["rest_us"] for row in result.loads()]
    assert joined(result.metrics()) == list(result.metrics())


def test_thousands_have_a_comma_and_smaller_numbers_stay_as_they_are() -> None:
    figure, (panel,) = figure_grid(1, 1, 3.0, 2.0)
    told = {}
    for highest in (1.0, 900.0, 17_500.0, 2_000_000.0):
        panel.plot([0, 1], [0, highest])
        panel.set_yticks([0, highest])
        FigureCanvasAgg(figure).draw()
        told[highest] = panel.get_yticklabels()[-1].get_text()
    assert list(told.values())[:3] == ["1", "900", "17,500"]

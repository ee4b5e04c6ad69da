"""The search and the errors of its result, on problems whose answers are known in closed form."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from simulator.calibration import search as module
from simulator.calibration.search import KNEE, Problem, search, starts
from simulator.calibration.uncertainty import NOISE, uncertainty

DESIGN = np.random.default_rng(7).standard_normal((200, 3))
TRUE = np.array([0.3, -0.2, 0.5])


def linear(errors: np.ndarray, weights: np.ndarray | None = None) -> Problem:
    """Log errors DESIGN (logs - TRUE) + `errors`, numbers between 1/e^2 and e^2."""
    weights = np.ones(len(errors)) if weights is None else weights
    rows = DESIGN[: len(errors)]
    two = np.full(3, 2.0)
    return Problem(lambda logs: rows @ (logs - TRUE) + errors, weights, np.zeros(3), -two, two)


def test_the_least_loss_is_found_from_every_start() -> None:
    found = search(linear(np.zeros(200)))
    assert found.logs == pytest.approx(TRUE, abs=1e-3)
    assert (found.agreed, found.tried) == (5, 5)


def test_the_search_gives_the_same_place_each_time() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(200)
    first, second = (search(linear(noise)) for _ in range(2))
    assert first.logs.tobytes() == second.logs.tobytes()


def test_odd_points_hardly_pull() -> None:
    """A tenth of the points ten times too slow: least squares would be off by tens of percent."""
    odd = np.zeros(200)
    odd[::10] = np.log(10.0)
    assert search(linear(odd)).logs == pytest.approx(TRUE, abs=0.02)
    plain = np.linalg.lstsq(DESIGN, DESIGN @ TRUE - odd, rcond=None)[0]
    assert np.abs(plain - TRUE).max() > 0.05


def test_a_point_of_weight_two_is_two_points() -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal(40)
    heavy = search(linear(noise, np.where(np.arange(40) < 20, 2.0, 1.0)))
    twice = [*range(20), *range(40)]
    doubled = Problem(
        lambda logs: (DESIGN[:40] @ (logs - TRUE) + noise)[twice],
        np.ones(60),
        *(np.zeros(3), np.full(3, -2.0), np.full(3, 2.0)),
    )
    assert heavy.logs == pytest.approx(search(doubled).logs, abs=1e-3)


def test_the_search_stays_within_the_bounds() -> None:
    problem = linear(DESIGN @ np.array([-5.0, 0.0, 0.0]))  # least at 5.3, outside
    found = search(problem)
    assert (found.logs <= problem.high).all()
    assert found.logs[0] == pytest.approx(2.0, abs=1e-2)


def test_a_start_on_a_plateau_is_left_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 0.2 the number does not limit: no slope leads back from there."""

    def errors(logs: np.ndarray) -> np.ndarray:
        return np.minimum(logs[0], 0.2) * np.ones(5) + 0.4

    problem = Problem(errors, np.ones(5), np.array([1.0]), np.array([-3.0]), np.array([3.0]))
    found = search(problem)
    assert found.logs == pytest.approx([-0.4], abs=1e-2)
    assert 0 < found.agreed < found.tried
    monkeypatch.setattr(module, "DRAWS", 0)
    assert search(problem).loss > 10 * found.loss + 1e-3


def test_more_is_drawn_until_two_searches_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole that a twentieth of the starts fall into: the first that does is alone."""

    def errors(logs: np.ndarray) -> np.ndarray:
        return 0.5 - 0.4 * np.exp(-(((logs + 1.2) / 0.04) ** 2)) * np.ones(5)

    problem = Problem(errors, np.ones(5), np.zeros(1), np.array([-3.0]), np.array([3.0]))
    found = search(problem)
    assert found.tried > 1 + module.DRAWS or found.agreed > 1
    monkeypatch.setattr(module, "ROUNDS", 1)
    assert search(problem).tried == 1 + module.DRAWS


def test_draws_fill_every_part_of_every_range() -> None:
    draws = starts(linear(np.zeros(200)))
    reach = np.log(module.REACH)
    parts = np.floor((np.array(draws) + reach) / (2 * reach) * module.DRAWS)
    for column in parts.T:
        assert sorted(column) == list(range(module.DRAWS))


def test_errors_are_those_of_least_squares_where_noise_is_small() -> None:
    """Ordinary least squares: s^2 (J'J)^-1 with s^2 = sum e^2 / (m - n)."""
    noise = 0.015 * np.random.default_rng(3).standard_normal(200)
    found = uncertainty(DESIGN, noise, np.ones(200), knee=1.0)
    variance = (noise**2).sum() / 197
    expected = np.sqrt(variance * np.diag(np.linalg.inv(DESIGN.T @ DESIGN)))
    assert found.errors == pytest.approx(expected, rel=2e-3)


def test_correlation_and_condition_of_two_columns() -> None:
    """Columns of length 1 at a cosine c: r = -c, singular values sqrt(1 + c) and sqrt(1 - c)."""
    c = 0.6
    jacobian = np.zeros((50, 2))
    jacobian[0], jacobian[1] = (1.0, c), (0.0, np.sqrt(1 - c**2))
    found = uncertainty(jacobian, np.zeros(50), np.ones(50), KNEE)
    assert found.partner(0) == (1, pytest.approx(-c))
    assert found.condition == pytest.approx(np.sqrt((1 + c) / (1 - c)))
    assert found.errors == pytest.approx([NOISE / np.sqrt(1 - c**2)] * 2)


def test_errors_do_not_depend_on_the_unit_of_weights() -> None:
    noise = 0.05 * np.random.default_rng(4).standard_normal(200)
    weights = np.random.default_rng(5).uniform(0.5, 8.0, 200)
    one = uncertainty(DESIGN, noise, weights, KNEE)
    other = uncertainty(DESIGN, noise, 10.0 * weights, KNEE)
    assert one.errors == pytest.approx(other.errors)


def test_a_number_without_influence_has_no_error_that_ends() -> None:
    jacobian = np.column_stack([DESIGN[:, 0], np.zeros(200)])
    found = uncertainty(jacobian, np.zeros(200), np.ones(200), KNEE)
    assert np.isfinite(found.errors[0])
    assert found.errors[1] == np.inf
    assert found.partner(1)[1] == 0.0


def test_equal_columns_cannot_be_told_apart() -> None:
    jacobian = np.column_stack([DESIGN[:, 0], DESIGN[:, 0]])
    found = uncertainty(jacobian, np.zeros(200), np.ones(200), KNEE)
    assert found.condition > 1e6
    assert (found.errors > 1.0).all()


def test_simulating_does_without_the_search() -> None:
    code = (
        "import sys, simulator.engine.points, simulator.sweep, simulator.hardware.catalogue\n"
        "import simulator.calibration.calibrate\n"
        "sys.exit('scipy.optimize' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

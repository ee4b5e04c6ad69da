"""What a study should show: published numbers with a tolerance, and a shape that can fail.

`expected.yaml` asks its questions of the tables of the study. A published number is compared, and
said to be inside its tolerance or not; only a shape (`bounds`, `orders`) makes a study fail.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from simulator.config.problems import validate
from simulator.config.reader import read_yaml
from simulator.config.types import Frozen, MisfitError
from simulator.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Expected", "Outcome", "ShapeCheck", "check", "load_expected"]

Where = dict[str, Any]
Variants = tuple[tuple[str, ...], ...]
Source = Annotated[str, Field(pattern=r"^(V|V-lab|S|R \d+%|D)$")]
"""[V] read in the source; [V-lab] in another work of the lab; [S] said by others; [R p%] recalled,
right with probability p; [D] derived by arithmetic."""


class Ask(Frozen):
    """One number of a table: rows where columns have the given values, reduced."""

    table: str
    column: str
    where: Where = Field(default_factory=dict)
    """Column -> value, or a list of values any of which will do."""
    reduce: Literal["only", "mean", "max", "min", "sum"] = "only"
    """`only`: exactly one row must be left."""


class Query(Ask):
    """A number, or the ratio of two."""

    over: Ask | None = None
    """What to divide by."""


class Published(Frozen):
    """A published number and where to find its counterpart."""

    what: str
    value: float
    to: float | None = None
    """Where a range was published its upper end, `value` being the lower one."""
    source: Source
    tolerance: Annotated[float, Field(gt=0)]
    """Largest |simulated / published - 1| that counts as agreement; of a range the nearer end's."""
    simulated: Query

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if self.to is not None and self.to <= self.value:
            raise MisfitError("to", f"must be above value, {self.value:g}")
        return self


class Bound(Frozen):
    """A number that must not leave an interval."""

    what: str
    simulated: Query
    at_least: float | None = None
    at_most: float | None = None


class Order(Frozen):
    """A column that must rise or fall along another one, in every group."""

    what: str
    table: str
    column: str
    along: str
    direction: Literal["rising", "falling"]
    within: tuple[str, ...] = ()
    """Columns whose values make the groups."""
    where: Where = Field(default_factory=dict)
    slack: Annotated[float, Field(ge=0)] = 0.0
    """Share of a value by which a step may go the wrong way."""


class Expected(Frozen):
    """`expected.yaml`."""

    title: str
    settings: dict[str, Any] = Field(default_factory=dict)
    """What the study measures without a simulation: sizes, seeds, names."""
    variants: Variants | dict[str, Variants] = ((),)
    """Each experiment file is run once for each, with these changes (`run FILE --set ...`); a
    mapping has them for each file, by its stem."""
    published: tuple[Published, ...] = ()
    bounds: tuple[Bound, ...] = ()
    orders: tuple[Order, ...] = ()

    def variants_of(self, stem: str) -> Variants:
        """Those of one experiment file. Raises `ConfigError` where they are not told."""
        if not isinstance(self.variants, dict):
            return self.variants
        if stem not in self.variants:
            raise ConfigError(f"expected.yaml: variants has no {stem!r}, but there is {stem}.yaml")
        return self.variants[stem]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published number beside the simulated one."""

    what: str
    published: float
    source: str
    simulated: float
    tolerance: float
    upper: float | None = None
    """Of a published range; `published` is its lower end."""

    @property
    def ratio(self) -> float:
        """Simulated over published: over what is nearest of a range, so that 1 is within it."""
        return self.simulated / max(self.published, min(self.simulated, self.upper or 0.0))

    @property
    def text(self) -> str:
        """What was published, and how it is known."""
        upper = "" if self.upper is None else f" to {self.upper:g}"
        return f"{self.published:g}{upper} [{self.source}]"

    @property
    def inside(self) -> bool:
        return abs(self.ratio - 1.0) <= self.tolerance


@dataclass(frozen=True, slots=True)
class ShapeCheck:
    """One shape, whether it holds, and what was seen."""

    what: str
    holds: bool
    observed: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that `expected.yaml` asks, answered."""

    comparisons: tuple[Comparison, ...]
    shapes: tuple[ShapeCheck, ...]

    @property
    def holds(self) -> bool:
        return all(shape.holds for shape in self.shapes)


def load_expected(file: Path) -> Expected:
    """Raises `ConfigError` with every problem of the file."""
    document = read_yaml(file)
    adapter: TypeAdapter[Expected] = TypeAdapter(Expected)
    data, problems = validate(adapter, document.data, document.marks, ())
    if document.problems or problems:
        raise ConfigError(*document.problems, *problems)
    loaded: Expected = data
    return loaded


def check(expected: Expected, tables: Mapping[str, pd.DataFrame]) -> Outcome:
    """Answer every question; raises `ConfigError` for one that the tables cannot answer."""
    return Outcome(
        tuple(
            Comparison(p.what, p.value, p.source, _answer(p.simulated, tables), p.tolerance, p.to)
            for p in expected.published
        ),
        (
            *(_bound(bound, tables) for bound in expected.bounds),
            *(_order(order, tables) for order in expected.orders),
        ),
    )


def _answer(query: Query, tables: Mapping[str, pd.DataFrame]) -> float:
    value = _number(query, tables)
    return value if query.over is None else value / _number(query.over, tables)


def _number(ask: Ask, tables: Mapping[str, pd.DataFrame]) -> float:
    values = _rows(ask.table, (ask.column,), ask.where, tables)[ask.column].dropna()
    if not len(values) or (ask.reduce == "only" and len(values) != 1):
        raise ConfigError(f"{len(values)} rows of table {ask.table} match {ask.where}")
    return float(values.iloc[0] if ask.reduce == "only" else getattr(values, ask.reduce)())


def _rows(
    table: str, columns: tuple[str, ...], where: Where, tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    if table not in tables:
        raise ConfigError(f"the study has no table {table!r}; it has: {', '.join(tables)}")
    data = tables[table]
    missing = [name for name in (*columns, *where) if name not in data.columns]
    if missing:
        raise ConfigError(f"table {table} has no column {missing[0]!r}")
    for column, wanted in where.items():
        choices = wanted if isinstance(wanted, list | tuple) else (wanted,)
        data = data[[any(_same(value, choice) for choice in choices) for value in data[column]]]
    return data


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(value, int | float):
        return math.isclose(value, wanted, rel_tol=1e-9)
    return bool(value == wanted)


def _bound(bound: Bound, tables: Mapping[str, pd.DataFrame]) -> ShapeCheck:
    value = _answer(bound.simulated, tables)
    low = -math.inf if bound.at_least is None else bound.at_least
    high = math.inf if bound.at_most is None else bound.at_most
    wanted = [f"at least {low:g}"] * (low > -math.inf) + [f"at most {high:g}"] * (high < math.inf)
    return ShapeCheck(bound.what, low <= value <= high, f"{value:.4g} ({', '.join(wanted)})")


def _order(order: Order, tables: Mapping[str, pd.DataFrame]) -> ShapeCheck:
    columns = (order.column, order.along, *order.within)
    data = _rows(order.table, columns, order.where, tables)
    groups = [("", data)]
    if order.within:
        groups = [(str(name), rows) for name, rows in data.groupby(list(order.within), sort=False)]
    steps, broken = 0, []
    for name, rows in groups:
        values = rows.sort_values(order.along)[order.column].tolist()
        for before, after in itertools.pairwise(values):
            steps += 1
            step = after - before if order.direction == "rising" else before - after
            if step < -order.slack * abs(before):
                broken.append(f"{name} {before:.4g} -> {after:.4g}".strip())
    if not steps:
        raise ConfigError(f"table {order.table} has nothing to order along {order.along}")
    observed = f"{steps} steps" if not broken else f"{len(broken)} of {steps} wrong: {broken[0]}"
    return ShapeCheck(order.what, not broken, observed)

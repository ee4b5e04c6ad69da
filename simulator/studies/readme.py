"""The README of a study with the numbers of a run: its tables stand between marks.

`<!-- table: NAME -->`, the table, `<!-- end -->`. What is between two marks is made anew, from the
`readme` function of the study; `published` is the comparison with the published numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.errors import ConfigError

if TYPE_CHECKING:
    from simulator.studies.base import Study, Tables
    from simulator.studies.expected import Outcome

__all__ = ["columns_of", "published", "readme_of", "side_by_side", "with_tables"]

PUBLISHED = "published"
"""The table that every study with published numbers has."""

_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def readme_of(study: Study, tables: Tables, outcome: Outcome) -> str:
    """The README of `study` with the numbers in `tables`."""
    text = (study.folder / "README.md").read_text(encoding="utf-8")
    shown = study.module.readme(tables)
    if outcome.comparisons:
        shown = {**shown, PUBLISHED: published(outcome)}
    return with_tables(text, shown)


def with_tables(text: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """`text` with `tables` (cells are text) between their marks.

    Raises `ConfigError` for a mark without a table, and for a table without its mark.
    """
    marked = [name for _, name, _ in _MARKED.findall(text)]
    for name in (*marked, *tables):
        if name not in tables or marked.count(name) != 1:
            raise ConfigError(
                f"README.md has {marked.count(name)} marks for table {name!r}; the study has "
                f"{', '.join(tables) or 'none'}"
            )
    return _MARKED.sub(lambda mark: f"{mark[1]}{_markdown(tables[mark[2]])}{mark[3]}", text)


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(map(str, table.columns)), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    body = [f"| {' | '.join(row)} |" for row in rows]
    body[1] = body[1].replace(" ", "")
    return "\n".join(body) + "\n"


def published(outcome: Outcome) -> pd.DataFrame:
    """What is published beside what was simulated."""
    return pd.DataFrame(
        {
            "what": comparison.what,
            "published": comparison.text,
            "simulated": f"{comparison.simulated:.4g}",
            "ratio": f"{comparison.ratio:.2f}",
            "inside": f"{'yes' if comparison.inside else 'no'} (±{100 * comparison.tolerance:g} %)",
        }
        for comparison in outcome.comparisons
    )


def columns_of(data: pd.DataFrame, formats: Mapping[str, str]) -> pd.DataFrame:
    """Columns of `data` as text; `formats`: column -> format of its values, such as `.2f`."""
    return pd.DataFrame(
        {name: [_text(value, form) for value in data[name]] for name, form in formats.items()}
    )


def side_by_side(
    data: pd.DataFrame,
    rows: Sequence[str],
    columns: str,
    values: tuple[str, str],
    heading: Callable[[Any], str] = str,
) -> pd.DataFrame:
    """A row for each combination of `rows`, a column for each value of `columns`, as text.

    `values`: the column that fills the table, and its format. Of several rows for one cell the
    first counts; order is that of `data`.
    """
    value, form = values
    cells: dict[tuple[Any, ...], dict[str, str]] = {}
    for record in data.to_dict("records"):
        row = cells.setdefault(tuple(record[name] for name in rows), {})
        row.setdefault(heading(record[columns]), _text(record[value], form))
    frame = pd.DataFrame.from_records(list(cells.values())).fillna("-")
    for position, name in enumerate(rows):
        frame.insert(position, name, [str(key[position]) for key in cells])
    return frame


def _text(value: Any, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)

"""What the embedding lookups look like: one frozen model a kind of trace.

A trace configuration holds no facts of the model (tables, rows, lookups, batch size): the same
trace serves every model. `simulator.traces.open_trace` brings both together.

`trace.kind` may be left out where another key tells it: `locality` means kind `locality`, `path`
without anything else means kind `file` (`with_key` keeps this rule for a key that is set later).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from simulator.config.bounds import AtMost
from simulator.config.transform import TransformConfig
from simulator.config.types import Frozen

__all__ = [
    "HALF",
    "LOCALITY_ALPHA",
    "CurveTraceConfig",
    "DriftTraceConfig",
    "FileTraceConfig",
    "HistogramTraceConfig",
    "IdRule",
    "LocalityTraceConfig",
    "PowerLawTraceConfig",
    "SessionTraceConfig",
    "StackTraceConfig",
    "SyntheticTraceConfig",
    "TraceConfig",
    "UniformTraceConfig",
    "ZipfTraceConfig",
    "with_key",
]

LOCALITY_ALPHA: dict[str, float] = {"random": 0.0, "low": 0.37, "medium": 0.8, "high": 1.05}
"""Zipf exponents of the four locality classes. They are fits, not published numbers: the study
draws from access counts of real data sets that are not public in that form. Random is uniform.
Low gives the hottest 2 % of 10 M rows 8.5 % of the lookups, High 83 % ("above 80 %" is said of
Criteo), and Medium stands between (44 %)."""

HALF = 0.5
"""Share of a file that comes before the timed mini-batches and that a profile counts, unless an
experiment says otherwise."""

Exponent = Annotated[float, Field(ge=0.0, le=10.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
IdRule = Literal["error", "modulo", "hash", "renumber"]
"""What becomes of ids that are no row numbers (`simulator.traces.id_map`)."""
Names = Annotated[tuple[str, ...], Field(strict=False)]


def _nothing(value: object) -> bool:
    return not value


class SyntheticTraceConfig(Frozen):
    """Options that every generator has."""

    pooling: Literal["fixed", "poisson", "geometric", "uniform"] = "fixed"
    """How many lookups a sample makes in a table, around the model's mean L: exactly L; Poisson
    (bags may be empty); geometric from 1; uniform over 1 .. 2 L - 1."""
    correlation: Share = 0.0
    """Probability that a lookup of a sample uses, in all tables, one common random number, so
    that tables of one size see the same popularity rank together."""


class UniformTraceConfig(SyntheticTraceConfig):
    """Every row equally likely."""

    kind: Literal["uniform"] = "uniform"


class ZipfTraceConfig(SyntheticTraceConfig):
    """Independent draws, the row of rank r with probability proportional to r**-alpha."""

    kind: Literal["zipf"] = "zipf"
    alpha: Exponent
    """The exponent; 0 is uniform."""


class PowerLawTraceConfig(SyntheticTraceConfig):
    """Independent draws as the synthetic scaling models make theirs, row 0 the hottest.

    Row floor(y) - 1 with y = (u (n**(1 - alpha) - 1) + 1)**(1 / (1 - alpha)), u uniform in 0 .. 1
    and n = rows + 1 (NVIDIA distributed-embeddings, alpha 1.05).
    """

    kind: Literal["power_law"] = "power_law"
    alpha: Exponent
    """The exponent; 0 is uniform."""


class LocalityTraceConfig(SyntheticTraceConfig):
    """One of the four classes of the ScratchPipe study, as Zipf draws (exponents are fits)."""

    kind: Literal["locality"] = "locality"
    locality: Literal["random", "low", "medium", "high"]

    @property
    def alpha(self) -> float:
        """Zipf exponent of the class."""
        return LOCALITY_ALPHA[self.locality]


class HistogramTraceConfig(SyntheticTraceConfig):
    """Independent draws from measured access counts of rows."""

    kind: Literal["histogram"] = "histogram"
    path: str
    """A CSV/TSV, `.npy`, `.npz` or Parquet file of counts, one row a line and one table a
    column."""
    columns: Names = ()
    """The columns, one a table, or a single one for all tables; left out, the columns of the
    file in order (or its only one)."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line of text names the columns; `auto`: if it is not all numbers."""


class CurveTraceConfig(SyntheticTraceConfig):
    """Independent draws from the popularity curve of a real data set, scaled to the table.

    The share of lookups on the hottest x % of rows is that of the data set for every x.
    """

    kind: Literal["curve"] = "curve"
    curve: str
    """The name of a data set in the file."""
    path: str = ""
    """A CSV with columns dataset, n_ids, rank, cumulative_share; left out, the shipped one."""


class DriftTraceConfig(SyntheticTraceConfig):
    """Zipf draws whose hot set is renewed piece by piece."""

    kind: Literal["drift"] = "drift"
    alpha: Exponent
    hot_fraction: Annotated[float, Field(gt=0.0, le=0.5)]
    """The hot set, as a share of the rows."""
    replaced: Share
    """Share of the hot set that gives way to colder rows each period."""
    period_batches: Annotated[int, Field(gt=0), AtMost(10**9, "no trace is so long")]


class SessionTraceConfig(SyntheticTraceConfig):
    """Zipf draws in sessions whose samples repeat ids of the samples before them."""

    kind: Literal["session"] = "session"
    alpha: Exponent
    repeat: Annotated[float, Field(ge=0.0, le=0.999)]
    """Probability that a lookup repeats one of the sample before it in its session; a lookup takes
    1 / (1 - repeat) steps back."""
    length: Annotated[float, Field(ge=1.0), AtMost(10**9, "no session is so long")]
    """Mean number of samples of a session (geometric)."""
    concurrent: Annotated[int, Field(gt=0), AtMost(10**9, "no service has so many at a time")]
    """Sessions under way at a time; their samples take turns."""


class StackTraceConfig(Frozen):
    """Draws with the popularity curve and the LRU curve of a real data set, scaled to the table.

    Every sample makes the model's lookups; tables are independent of each other.
    """

    kind: Literal["stack"] = "stack"
    curve: str
    """The name of a data set that has a popularity curve and a stack-distance histogram."""
    order: Literal["real", "shuffled"] = "real"
    """Which of the two histograms: that of the real order, or that of a shuffle."""
    path: str = ""
    """Popularity curves as for `curve`; left out, the shipped ones."""
    tolerance: Share = 0.02
    """Largest error of the LRU hit rate (caches of 2 to 10 % of the rows) that is taken; a curve
    that cannot be met so closely is refused."""
    distances_path: str = ""
    """A CSV with columns dataset, order, n_ids, n_accesses, cold_misses, le_distance,
    cumulative_hits; left out, the shipped one."""


class FileTraceConfig(Frozen):
    """Ids out of a file, in the order in which they stand there."""

    kind: Literal["file"] = "file"
    path: str
    format: Literal[
        "auto", "npy", "npz", "parquet", "csv", "tsv", "words", "criteo", "meta", "oracle"
    ] = "auto"
    """The layout; `auto` goes by the content and the name of the file."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line of text names the columns; `auto`: if it is not all numbers."""
    columns: Names = ()
    """Which tables (columns, arrays) of the file, in the order of the model's tables; left out,
    all in the order of the file."""
    tables: Annotated[dict[str, str], Field(default_factory=dict, exclude_if=_nothing)]
    """Columns that several features look one table up with, each with the name of that table:
    `{item_id: items, last_items: items}`. Any other column is a table of its own; tables come in
    the order of their first columns."""
    multi_hot: Annotated[bool, Field(exclude_if=_nothing)] = False
    """Columns have one id a sample, and every id stands for a fixed list of as many ids as the
    model's lookups: itself and others of its table, drawn uniformly (DLRM-DCNv2 of MLPerf)."""
    ids: IdRule = "error"
    """Ids as row numbers. `error`: they must be some already; `modulo`: id mod rows; `hash`: a hash
    of the id, mod rows; `renumber`: by first appearance in the file, which takes a row for every
    distinct id. Negative ids are errors in any case."""
    transform: Annotated[TransformConfig | None, Field(exclude_if=_nothing)] = None
    """Sums of rows that a sample looks up together, stored as further rows of their table and
    looked up in place of them; null: none. `{algorithm: grace}`, `merci` or `space`, and its keys.
    """
    at_end: Literal["stop", "wrap"] = "stop"
    """After the last whole mini-batch: no more batches, or start again from the first."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


_KINDS: dict[str, type[Frozen]] = {
    "uniform": UniformTraceConfig,
    "zipf": ZipfTraceConfig,
    "power_law": PowerLawTraceConfig,
    "locality": LocalityTraceConfig,
    "histogram": HistogramTraceConfig,
    "curve": CurveTraceConfig,
    "drift": DriftTraceConfig,
    "session": SessionTraceConfig,
    "stack": StackTraceConfig,
    "file": FileTraceConfig,
}


def _kind(value: Any) -> str | None:
    """The tag of a mapping or model: `kind`, or what the other keys tell."""
    if isinstance(value, Frozen):
        return str(getattr(value, "kind", None))
    if not isinstance(value, Mapping):
        return None
    kind = value.get("kind")
    if kind is not None:
        return str(kind)
    for key in ("locality", "path"):
        if key in value:
            return {"locality": "locality", "path": "file"}[key]
    return None


TraceConfig = Annotated[
    Annotated[UniformTraceConfig, Tag("uniform")]
    | Annotated[ZipfTraceConfig, Tag("zipf")]
    | Annotated[PowerLawTraceConfig, Tag("power_law")]
    | Annotated[LocalityTraceConfig, Tag("locality")]
    | Annotated[HistogramTraceConfig, Tag("histogram")]
    | Annotated[CurveTraceConfig, Tag("curve")]
    | Annotated[DriftTraceConfig, Tag("drift")]
    | Annotated[SessionTraceConfig, Tag("session")]
    | Annotated[StackTraceConfig, Tag("stack")]
    | Annotated[FileTraceConfig, Tag("file")],
    Discriminator(
        _kind,
        custom_error_type="trace_kind",
        custom_error_message="trace.kind must be one of " + ", ".join(_KINDS),
    ),
]
"""Any kind of trace; in a model: `trace: TraceConfig`."""


def with_key(trace: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`trace` (as read from YAML) with `key` set to `value`, as `--set trace.KEY=VALUE` means it.

    Setting `kind`, `locality`, or the `path` of a kind that has none changes the kind; keys that
    the new kind does not have are then dropped, so that `--set trace.locality=high` works on any
    experiment.
    """
    changed = {**trace, key: value}
    old = _KINDS.get(str(_kind(trace)))
    if key == "locality":
        changed["kind"] = "locality"
    elif key == "path" and (old is None or "path" not in old.model_fields):
        changed["kind"] = "file"
    new = _KINDS.get(str(_kind(changed)))
    if new is None or new is old:
        return changed
    return {k: v for k, v in changed.items() if k in new.model_fields}

"""The load stage: where mini-batches come from, and what makes tensors of what storage holds.

`LoadKeys` is the section `load` of an experiment as it is written; `LoadConfig` is that of a point,
with its profile read. A profile says what named software spends on a value, never how long a
mini-batch takes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from simulator.config.bounds import AtMost
from simulator.config.machine import Price
from simulator.config.types import (
    BytesPerSecond,
    Frozen,
    MisfitError,
    Picoseconds,
    Positive,
    Source,
    Watts,
)

__all__ = ["InStorage", "LoadConfig", "LoadKeys", "LoaderProfile"]

Format = Literal["raw", "parquet"]
_MANY = AtMost(10**6, "no data set has so many")


class InStorage(Frozen):
    """An accelerator in a drive that decodes and transforms what it stores."""

    cores_worth: Annotated[float, Field(gt=0), AtMost(10**6, "no device replaces so many")]
    """Cores with the software of its profile that one device does the work of."""
    read_bandwidth: BytesPerSecond
    """Bytes per second that one device reads of its own flash."""
    idle_power: Watts
    active_power: Watts
    """Of a device under full load."""
    price_usd_per_hour: Price | None = None
    """Of a device; null: nobody says."""


class LoaderProfile(Frozen):
    """What named software spends on values between storage and the GPUs."""

    name: str
    description: str
    decode_few: BytesPerSecond
    """Decoded bytes (4 a dense value, 8 an id) that one core makes of Parquet a second, of few
    columns."""
    decode_many: BytesPerSecond
    """The same of `many_columns` and more."""
    many_columns: Annotated[int, Field(gt=0), _MANY]
    """Columns of a file from which on they are many."""
    bucketize_time: Picoseconds
    """Instructions of one core for one dense value that becomes the number of its bucket."""
    bucketize_border_time: Picoseconds
    """The same for each border of the buckets: software that looks at all of them."""
    bucketize_step_time: Picoseconds
    """The same for each step of a binary search: the logarithm (base 2) of the borders."""
    hash_time: Picoseconds
    """The same for one id that is hashed into the rows of its table."""
    log_time: Picoseconds
    """The same for the logarithm of one dense value."""
    idle_power: Watts
    active_power: Watts
    """Of a core, its share of the package."""
    price_usd_per_hour: Price | None = None
    """Of a core; null: nobody says."""
    in_storage: InStorage | None = None
    """The accelerator whose speed is known in cores that run this software; null: none is."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Where each number comes from, by (dotted) key."""


class LoadKeys(Frozen):
    """Cores, or accelerators in storage, that make mini-batches beside training."""

    format: Format = "parquet"
    """What storage holds: records of fixed width, 4 bytes a value (`raw`), or encoded columns."""
    profile: str | dict[str, Any] = "torcharrow"
    """The software, and what it spends on a value: a name of `scratchpipe list loaders`, or its
    keys."""
    cores: Positive | None = None
    """Cores that run it, each on a mini-batch of its own; they are not those of the host."""
    source_bandwidth: BytesPerSecond | None = None
    """Bytes per second that storage delivers to all cores together."""
    host_bandwidth: BytesPerSecond | None = None
    """Bytes per second of the way from workers to the host, which tensors come over; null: of no
    account."""
    bucketized: Annotated[int, Field(ge=0), _MANY] = 0
    """Features whose ids are not stored but made of dense values: one lookup a sample each."""
    borders: Annotated[int, Field(ge=2), AtMost(10**9, "no feature has so many")] | None = None
    """Borders of the buckets of each of them."""
    compression: Annotated[float, Field(ge=1, le=1000)] | None = None
    """Bytes of raw records over those of the same values in Parquet; null: 1."""
    accelerator: Literal["none", "in_storage"] = "none"
    """`in_storage`: drives that decode and transform what they hold, in place of cores."""
    devices: Positive | None = None
    """Accelerators in storage."""

    @model_validator(mode="after")
    def _work_for_every_key(self) -> Self:
        """Keys that need each other are there; keys that nothing would use are not."""
        if self.accelerator == "none":
            self._require("cores", "a load profile needs cores that run it, as in `cores: 16`")
            remedy = "say what storage delivers, as in `source_bandwidth: 1.25 GB/s` (10 GbE)"
            self._require("source_bandwidth", remedy)
            self._refuse("devices", "set accelerator: in_storage, or leave it out")
        else:
            if self.format != "parquet":
                message = f"is {self.format}: accelerator in_storage decodes parquet alone"
                raise MisfitError("format", message)
            self._require("devices", "say how many drives there are, as in `devices: 1`")
            self._refuse("cores", "accelerator in_storage has none: leave it out")
            own = "accelerator in_storage reads its own flash (read_bandwidth of its profile)"
            self._refuse("source_bandwidth", f"{own}: leave it out")
        if self.format == "raw":
            self._refuse("compression", "raw records are not compressed: leave it out")
        if self.bucketized:
            self._require("borders", "say how many each bucketized feature has: `borders: 1024`")
        else:
            self._refuse("borders", "no feature is bucketized: give bucketized too")
        return self

    def _require(self, key: str, remedy: str) -> None:
        if getattr(self, key) is None:
            raise MisfitError(key, f"is missing: {remedy}")

    def _refuse(self, key: str, why: str) -> None:
        if getattr(self, key) is not None:
            raise MisfitError(key, f"has no use: {why}")


class LoadConfig(LoadKeys):
    """The load stage of a point: its keys, and its profile read."""

    profile: LoaderProfile  # type: ignore[assignment]
    """The software, and what it spends on a value."""

    @model_validator(mode="after")
    def _speed_is_known(self) -> Self:
        if self.accelerator == "in_storage" and self.profile.in_storage is None:
            raise MisfitError(
                "accelerator",
                f"is in_storage: profile {self.profile.name} does not say what a device is worth "
                "(in_storage); torcharrow does",
            )
        return self

    @property
    def device(self) -> InStorage | None:
        """The accelerator that does the work; None: cores do."""
        return self.profile.in_storage if self.accelerator == "in_storage" else None

    @property
    def workers(self) -> int:
        """Cores, or accelerators."""
        return (self.cores if self.device is None else self.devices) or 0

    @property
    def usd_per_hour(self) -> float | None:
        """Price of all workers; None where nobody says what one costs."""
        price = (self.device or self.profile).price_usd_per_hour
        return None if price is None else price * self.workers

"""Made-up kinds of parts, and a catalogue of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import Bytes, BytesPerSecond, Frozen, Picoseconds


class Shape(Frozen):
    width: int
    height: int = 1


class Store(Part):
    presets: ClassVar[Mapping[str, str]] = {"shape": "stores/shapes"}
    links: ClassVar[bool | None] = False
    kind: Literal["store"]
    size: Bytes
    shape: Shape


class Limits(Frozen):
    read: BytesPerSecond
    write: BytesPerSecond


class Engine(Part):
    links: ClassVar[bool | None] = False
    kind: Literal["engine"]
    speed: int
    limits: Limits | None = None
    store: Store


class Wire(Part):
    links: ClassVar[bool | None] = True
    kind: Literal["wire"]
    latency: Picoseconds = 0


KINDS = {"store": Store, "engine": Engine, "wire": Wire}

FILES = {
    "stores/shapes/wide": "width: 8\nsource: the wide shape\n",
    "stores/shapes/tall": "base: wide\nheight: 8\nsource: the tall shape\n",
    "stores/small": (
        "kind: store\nname: small store\nsize: 1 MB\nshape: wide\nsources: {size: small sheet}\n"
    ),
    "stores/large": (
        "kind: store\nname: large store\nsize: 9 MB\nshape: tall\nsources: {size: large sheet}\n"
    ),
    "engines/v8": (
        "kind: engine\nname: V8\nspeed: 8\nlimits: {read: 8 B/s, write: 4 B/s}\n"
        "store: {part: small, size: 2 MB, sources: {size: V8 sheet}}\n"
        "sources: {speed: V8 sheet, limits.read: measured, limits.write: measured, limits: V8}\n"
    ),
    "engines/v12": "base: v8\nname: V12\nspeed: 12\nsources: {speed: V12 sheet}\n",
    "wires/thin": "kind: wire\nname: thin wire\nlatency: 1 us\n",
    "wires/thick": "kind: wire\nname: thick wire\nlatency: 2 us\n",
}

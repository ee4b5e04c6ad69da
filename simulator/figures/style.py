"""How things look: one colour, hatch and marker a system, stage and kind of resource, everywhere.

Colours are Okabe and Ito's, which people with any colour vision tell apart; hatches and markers
tell them apart in grey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulator._drawing import drawing
from simulator.results.resources import title_of
from simulator.text import on_one_line

__all__ = [
    "LOCALITIES",
    "OPERATORS",
    "Entry",
    "Look",
    "distinct_looks",
    "look",
    "resource_entries",
    "styled",
    "title",
]

LOCALITIES = ("random", "low", "medium", "high")
"""The classes of the study, in the order of figures."""

OPERATORS = ("paper", "stock", "tuned")
"""The shipped operator profiles, in the order of figures."""

_SHEET = Path(__file__).with_name("scratchpipe.mplstyle")


@dataclass(frozen=True, slots=True)
class Look:
    """Face colour, hatch of areas, marker and dash of lines."""

    color: str
    hatch: str = ""
    marker: str | tuple[int, Literal[1], int] = "o"
    """A name of the library's, or a star: how many points it has, 1, and degrees."""
    dash: str = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a legend."""

    title: str
    look: Look


_GREY, _ORANGE, _SKY, _GREEN = "#999999", "#E69F00", "#56B4E9", "#009E73"
_YELLOW, _BLUE, _RED, _PINK, _LIGHT = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#E3E3E3"

_LOOKS: dict[str, Look] = {
    # systems
    "hybrid": Look(_GREY, "", "o", "-"),
    "static_cache": Look(_ORANGE, "///", "s", "--"),
    "straw_man": Look(_SKY, "...", "^", "-."),
    "scratchpipe": Look(_BLUE, "", "D", "-"),
    "gpu_only": Look(_GREEN, "xxx", "v", ":"),
    "cpu_only": Look("#777711", "-o", "v", "-"),
    # rivals: other colours (Paul Tol's muted ones), so that none is taken for one of the study
    "cached_embedding": Look("#AA4499", "+++", "P", "--"),
    "fbgemm_uvm": Look("#DDCC77", "---", "X", ":"),
    "fbgemm_cached": Look("#44AA99", "ooo", "<", "-."),
    "torchrec_prefetch": Look("#332288", "|||", ">", "-"),
    "torchrec_semi_sync": Look("#CC6677", "\\\\\\", "p", "--"),
    "cdlrm": Look("#882255", "***", "*", ":"),
    "hugectr_etc": Look("#117733", "OO", "h", "-."),
    "fae": Look("#999933", "//", "d", "--"),
    "hotline": Look("#6699CC", "xx", "H", ":"),
    "tensor_casting": Look("#661100", "..", "8", "-."),
    "bagpipe": Look("#EE7733", "\\\\", "d", "-"),
    "el_rec_pipeline": Look("#88CCEE", "xx", "8", "--"),
    "recshard": Look("#BBCC33", "--", "X", "-."),
    "hugectr_hybrid": Look("#225522", "..", "H", "-"),
    "dp_sgd_b": Look("#EE8866", "|", "P", ":"),
    "dp_sgd_r": Look("#EEDD88", "o", "P", "-."),
    "dp_sgd_f": Look("#FFAABB", "x", "p", ":"),
    "eana": Look("#77AADD", "|-", "<", "--"),
    "lazydp": Look("#AAAA00", "||", ">", "--"),
    "het": Look("#0077BB", "++", "*", "--"),
    "herald": Look("#33BBEE", "--", "h", ":"),
    "flexshard": Look("#222255", "\\\\", "D", "--"),
    "tensordimm": Look("#004488", "--", "s", ":"),
    "recnmp": Look("#BB5566", "//", "^", "--"),
    "fafnir": Look("#DDAA33", "/|", "v", "-."),
    "recxl": Look("#009988", "..", "o", "-."),
    "trim": Look("#555555", "+.", "X", "-"),
    "training_cxl": Look("#AA3377", "x.", "8", ":"),
    "ndrec": Look("#6F4C9B", "-O", "8", "-"),
    "recssd": Look("#B8221E", "+o", "H", "-."),
    "rm_ssd": Look("#4E96BC", "*.", "H", "--"),
    "screc": Look("#C4A35A", "+x", "p", "-."),
    "recross": Look("#B07AA1", "*-", (3, 1, 0), ":"),
    "clay": Look("#8C6D31", "x.", (6, 1, 0), "-"),
    "space": Look("#7B3294", "o.", (4, 1, 0), "--"),
    "fbgemm_ssd": Look("#44AA77", "oo", "<", ":"),
    "rects": Look("#AA7744", "++", "s", "-."),
    # stages of cached training
    "preprocess": Look(_GREY, "+++"),
    "checkpoint": Look(_PINK, "xx"),
    "load": Look(_LIGHT),
    "plan": Look(_PINK, "..."),
    "collect": Look(_ORANGE, "///"),
    "exchange": Look(_SKY, "\\\\\\"),
    "insert": Look(_YELLOW, "---"),
    "train": Look(_BLUE),
    # operators of the hybrid system and stages of the static cache
    "split": Look(_LIGHT, "|||"),
    "gather_reduce": Look(_ORANGE, "///"),
    "forward": Look(_ORANGE, "///"),
    "pooled_to_gpu": Look(_SKY, "\\\\\\"),
    "combine": Look(_SKY, "\\\\\\"),
    "mlp": Look(_GREEN, "xxx"),
    "gradients_to_cpu": Look(_LIGHT),
    "gradients": Look(_LIGHT),
    "expand": Look(_YELLOW, "---"),
    "sort": Look(_PINK, "..."),
    "accumulate": Look(_RED),
    "backward": Look(_LIGHT, "\\\\\\"),
    "transfers": Look(_SKY, "..."),
    "scatter": Look(_BLUE, "ooo"),
    # locality classes
    "random": Look(_RED, "", "o", "-"),
    "low": Look(_ORANGE, "///", "s", "--"),
    "medium": Look(_SKY, "...", "^", "-."),
    "high": Look(_BLUE, "", "D", "-"),
}

_KIND_LOOKS: dict[str, Look] = {
    "dram": Look(_ORANGE, "///", "s", "--"),
    "hbm": Look(_BLUE, "", "D", "-"),
    "cpu": Look(_RED, "", "P", ":"),
    "path": Look(_RED, "///", "d", "--"),
    "gpu": Look(_GREEN, "xxx", "o", "-"),
    "l2": Look(_GREEN, "...", "<", "--"),
    "host": Look(_GREY, "ooo", ">", ":"),
    "link": Look(_SKY, "\\\\\\", "^", "-."),
    "gpu_link": Look(_YELLOW, "---", "X", ":"),
    "network": Look(_PINK, "...", "v", "-."),
    "drive": Look(_GREY, "|||", "*", "--"),
    "pool": Look(_LIGHT, "+++", "p", ":"),
    "other": Look(_LIGHT, "", "h", "-"),
}
"""Kinds of resources."""

_SPARE = tuple(
    Look(color, hatch, marker, dash)
    for color, hatch, marker, dash in (
        (_BLUE, "", "o", "-"),
        (_ORANGE, "///", "s", "--"),
        (_GREEN, "xxx", "^", "-."),
        (_PINK, "...", "D", ":"),
        (_SKY, "\\\\\\", "v", "-"),
        (_RED, "+++", "P", "--"),
        (_YELLOW, "---", "X", "-."),
        (_GREY, "|||", "*", ":"),
    )
)

_TITLES = {
    "hybrid": "Hybrid CPU-GPU",
    "static_cache": "Static cache",
    "straw_man": "Straw-man",
    "scratchpipe": "ScratchPipe",
    "gpu_only": "GPU only",
    "cpu_only": "CPU only",
    "cached_embedding": "CachedEmbedding",
    "fbgemm_uvm": "FBGEMM UVM",
    "fbgemm_cached": "FBGEMM cached",
    "torchrec_prefetch": "TorchRec prefetch",
    "torchrec_semi_sync": "TorchRec semi-sync",
    "cdlrm": "cDLRM",
    "hugectr_etc": "HugeCTR ETC",
    "fae": "FAE",
    "hotline": "Hotline",
    "tensor_casting": "Tensor Casting",
    "bagpipe": "Bagpipe",
    "el_rec_pipeline": "EL-Rec pipeline",
    "recshard": "RecShard",
    "hugectr_hybrid": "HugeCTR hybrid",
    "dp_sgd_b": "DP-SGD(B)",
    "dp_sgd_r": "DP-SGD(R)",
    "dp_sgd_f": "DP-SGD(F)",
    "eana": "EANA",
    "lazydp": "LazyDP",
    "het": "HET",
    "herald": "Herald",
    "flexshard": "FlexShard",
    "tensordimm": "TensorDIMM",
    "recnmp": "RecNMP",
    "fafnir": "FAFNIR",
    "recxl": "ReCXL",
    "trim": "TRiM",
    "training_cxl": "TrainingCXL",
    "ndrec": "NDRec",
    "recssd": "RecSSD",
    "rm_ssd": "RM-SSD",
    "screc": "SCRec",
    "recross": "ReCross",
    "space": "SPACE",
    "clay": "CLAY",
    "fbgemm_ssd": "FBGEMM SSD",
    "rects": "RecTS",
    "gather_reduce": "Gather-reduce",
    "pooled_to_gpu": "Pooled to GPU",
    "gradients_to_cpu": "Gradients to CPU",
    "mlp": "MLPs",
    "ids": "Ids to GPU",
    "all_to_all": "All-to-all",
    "all_to_all_back": "All-to-all back",
    "sort_update": "Sort, update",
    "lru": "LRU",
    "lfu": "LFU",
    "fifo": "FIFO",
    "clock": "Clock",
    "belady": "Belady",
}


def look(name: str, position: int = 0) -> Look:
    """The look of a system, stage or locality; of anything else by its `position`."""
    return _LOOKS.get(name) or _SPARE[position % len(_SPARE)]


def distinct_looks(names: Iterable[str], kin: Mapping[str, str] | None = None) -> dict[str, Look]:
    """The look of each of the series of one chart: no two have the same colour and hatch.

    `kin`: names whose colour others would have, with a hatch of their own. A look that an earlier
    name has gives way to a spare one, then to a spare colour with the hatch
    of another.
    """
    chosen: dict[str, Look] = {}
    taken: set[tuple[str, str]] = set()
    for position, name in enumerate(dict.fromkeys(names)):
        wanted = look((kin or {}).get(name, name), position)
        mixed = (Look(a.color, b.hatch, b.marker, b.dash) for b in _SPARE for a in _SPARE)
        others = _SPARE if name in (kin or {}) else ()
        near = (Look(wanted.color, x.hatch, x.marker, x.dash) for x in others)
        free = (x for x in (wanted, *near, *_SPARE, *mixed) if (x.color, x.hatch) not in taken)
        chosen[name] = next(free, wanted)
        taken.add((chosen[name].color, chosen[name].hatch))
    return chosen


def title(name: str) -> str:
    """A name for people: `static_cache` is Static cache; unknown words stay as they are.

    But for a space before an underscore: legends leave out what begins with one.
    """
    if name in _TITLES:
        return _TITLES[name]
    if name in _LOOKS:
        return name.replace("_", " ").capitalize()
    return on_one_line(f" {name}" if name.startswith("_") else name)


def resource_entries(kinds: Mapping[str, str]) -> dict[str, Entry]:
    """Title and look of resources, whose kinds are given by name.

    A kind has one colour; a second resource of it has another hatch, marker and dash.
    """
    entries = {}
    numbers: Counter[str] = Counter()
    for resource, kind in kinds.items():
        style = _KIND_LOOKS[kind]
        if numbers[kind]:
            other = _SPARE[numbers[kind] % len(_SPARE)]
            style = Look(style.color, other.hatch, other.marker, other.dash)
        numbers[kind] += 1
        entries[resource] = Entry(title_of(resource), style)
    return entries


def styled() -> AbstractContextManager[None]:
    """Draw without a display, in the one style sheet."""
    return drawing(_SHEET)

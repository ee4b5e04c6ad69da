"""What a system is, for people: told by its class and by a program that it makes.

Nothing here is written by hand: stages and operations are those of a mini-batch of the default
model on a small machine, parameters those of the model that the class declares.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from simulator.config.catalogue import load_named
from simulator.config.experiment import SystemEntry
from simulator.config.parameters import Parameter, parameters_of
from simulator.engine.check import programs_of
from simulator.errors import ScratchPipeError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import Exchange, Operation, Stage
from simulator.hardware.topology import build_topology
from simulator.results.extension import EXTENSION
from simulator.systems import Job, System, create, group_of, system_class
from simulator.systems.inference import ForwardOnly

__all__ = ["Explanation", "explain_system"]

MODEL = "default"
ROWS_PER_TABLE = 100_000
"""Of the model whose program is shown: it fits any GPU."""
_WIDTH = 96
_GROUPS = {
    "study": "the ScratchPipe study",
    "baseline": "a baseline of the study",
    "rival": "a rival",
    "other": "of another package",
}
_ALWAYS = frozenset({"name", "label", "platform", "operators"})


@dataclass(frozen=True)
class Explanation:
    """A system and an example of it (None: it cannot be built on the small machine, `reason`)."""

    name: str
    kind: type[System]
    example: System | None
    stages: tuple[Stage, ...] = ()
    reason: str = ""

    def lines(self) -> Iterator[str]:
        """The whole of it, line by line."""
        yield from _wrapped(f"{self.name}: {(self.kind.__doc__ or '').strip().splitlines()[0]}")
        yield f"  {_GROUPS[group_of(self.name)]}"
        if self.kind.source:
            yield from _wrapped(f"source: {self.kind.source}", "  ")
        if self.kind.training_is_ours:
            ours = "how it trains is our extension: its source is about inference alone"
            yield from _wrapped(f"{EXTENSION} {ours}", "  ")
        module = inspect.getmodule(self.kind)
        about = inspect.cleandoc(module.__doc__ or "") if module else ""
        if about:
            yield ""
            yield from textwrap.indent(about, "  ").splitlines()
        for title, body in (
            ("Stages", self._stages()),
            ("Replay", self._replay()),
            ("Consistency", self._consistency()),
            ("Parameters", self._parameters()),
            ("Unknown", self._unknown()),
        ):
            yield ""
            yield title
            yield from body

    def _stages(self) -> Iterator[str]:
        if self.example is None:
            yield from _wrapped(f"not shown on {self.kind.shown_on}: {self.reason}", "  ")
            return
        schedule = self.example.schedule
        kind = type(schedule).__name__.lower()
        yield f"  {kind}, {_counted(schedule.depth)} in flight"
        for spec, stage in zip(schedule.stages, self.stages, strict=True):
            yield f"  {spec.name} ({spec.role})"
            for words, alike in _lanes(stage):
                yield from _wrapped(f"{words} {alike}".rstrip() or "nothing", "    ")
        for wait in schedule.after:
            other = _neighbour(wait.ahead)
            yield from _wrapped(f"{wait.stage} waits for {wait.other} of {other}", "  ")

    def _replay(self) -> Iterator[str]:
        if self.example is None:
            return
        replay = self.example.replay
        first = (type(replay).__doc__ or "").strip().split("\n\n")[0]
        yield from _wrapped(f"{type(replay).__name__}: {' '.join(first.split())}", "  ")

    def _consistency(self) -> Iterator[str]:
        if self.kind.no_training:
            yield from _wrapped(f"answers queries alone: {self.kind.no_training}", "  ")
            return
        claim = self.kind.consistency
        text = "not said" if claim is None else f"{claim.result}: {claim.rule}"
        yield from _wrapped(text, "  ")
        if claim is not None and claim.sums:
            yield from _wrapped(f"floating-point sums in another order: {claim.sums}", "  ")
        yield f"  scratchpipe hazards --system {self.name}"

    def _parameters(self) -> Iterator[str]:
        for parameter in parameters_of(self.kind.parameters):
            yield from _wrapped(_head(parameter), "  ")
            yield from _wrapped(parameter.meaning, "    ")
            yield from _wrapped(f"default {parameter.given or 'of unknown origin'}", "    ")
        uses = self.kind.uses
        shared = sorted(set(SystemEntry.model_fields) - _ALWAYS if uses is None else uses)
        if shared:
            yield from _wrapped(f"shared keys: {', '.join(shared)}", "  ")
        elif not self.kind.parameters.model_fields:
            yield "  none"

    def _unknown(self) -> Iterator[str]:
        for sentence in self.kind.unknown or ("nothing is said",):
            yield from _wrapped(sentence, "  ")


def explain_system(name: str) -> Explanation:
    """The system called `name`; `UsageError` where there is none."""
    kind = system_class(name)
    config = load_machine(kind.shown_on)
    model = load_named("models", MODEL).changed(rows_per_table=ROWS_PER_TABLE)
    machine = build_topology(config, model.common_row_bytes)
    job = Job(model, load_named("operators", config.operators))
    try:
        system = create(name, job, machine)
        if kind.no_training:
            system = ForwardOnly(system, model, machine)
        stages = tuple(map(_merged, zip(*programs_of(system, model.batch_size), strict=True)))
    except ScratchPipeError as error:
        return Explanation(name, kind, None, reason=str(error))
    return Explanation(name, kind, system, stages)


def _merged(stages: tuple[Stage, ...]) -> Stage:
    """The lanes of a stage of all kinds of mini-batches, each once."""
    return Stage(stages[0].name, tuple(dict.fromkeys(lane for s in stages for lane in s.lanes)))


def _head(parameter: Parameter) -> str:
    default = {None: "null", "": '""'}.get(parameter.default, parameter.default)
    return f"{parameter.name}: {default} ({parameter.allowed})"


def _lanes(stage: Stage) -> Iterator[tuple[str, str]]:
    """Its lanes in words; those that differ in the numbers of devices alone once."""
    lanes: dict[str, list[str]] = {}
    for lane in stage.lanes:
        words = ", ".join(dict.fromkeys(map(_said, lane)))
        lanes.setdefault(re.sub(r"\d+", "", words), []).append(words)
    for words, *others in lanes.values():
        alike = f"(and {len(others)} more like it)" if others else ""
        yield words, alike


def _said(word: Operation) -> str:
    """An operation in a few words."""
    kind, at = type(word).__name__, word.at
    into = f" -> {word.into}" if hasattr(word, "into") and isinstance(word.into, str) else ""
    if isinstance(word, Exchange):
        at = (
            " ".join(word.group) if len(word.group) < 4 else f"{word.group[0]} ... {word.group[-1]}"
        )
    stores = [getattr(word, field).memory for field in ("reads", "writes") if hasattr(word, field)]
    where = f", rows of {' and '.join(stores)}" if stores else ""
    return f"{word.name} [{kind} at {at}{into}{where}]"


def _neighbour(ahead: int) -> str:
    if not ahead:
        return "its mini-batch"
    return f"the mini-batch {abs(ahead)} {'later' if ahead > 0 else 'earlier'}"


def _counted(count: int) -> str:
    return f"{count} mini-batch" if count == 1 else f"{count} mini-batches"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )

"""What can go wrong, as one tree; each class carries the exit code of the command line.

    ScratchPipeError            1
    ├── UsageError              2   a command line that cannot be obeyed
    ├── ConfigError             2   one or more `Problem`s in a configuration
    │   └── CapacityError       2   a cache that cannot hold its window, tables that do not fit
    ├── TraceError              2   a trace that cannot be read or holds bad ids
    ├── InvariantError          1   the simulator contradicts itself: a bug, never the user's fault
    ├── MeasurementError        1   some measurements of a machine failed; the others are kept
    ├── PolicyError             1   a replacement policy that breaks its contract
    ├── PluginError             1   code of another package that raised an error
    ├── OutputError             1   a result that could not be written
    ├── PointsFailedError       1   some points of a sweep failed; the others are done
    ├── InfeasibleError         3   no point holds what was asked for
    ├── ToleranceError          3   a comparison out of tolerance
    └── UndecidedError          3   measurements that do not decide a number of a fit

Every exception rebuilds from its `args` (SimPy re-raises with `type(e)(*e.args)`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CapacityError",
    "ConfigError",
    "InfeasibleError",
    "InvariantError",
    "MeasurementError",
    "OutputError",
    "PluginError",
    "PointsFailedError",
    "PolicyError",
    "Problem",
    "ScratchPipeError",
    "ToleranceError",
    "TraceError",
    "UndecidedError",
    "UsageError",
]


class ScratchPipeError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class UsageError(ScratchPipeError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: where it stands, what was seen, what would be right.

    `where` is `file:line:column` (or `--set KEY`), `key` the dotted path of the value.
    """

    where: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = (
            f"{self.where}: {self.key}: {self.message}"
            if self.key
            else (f"{self.where}: {self.message}")
        )
        return f"{text}\n    {self.hint}" if self.hint else text


class ConfigError(ScratchPipeError):
    """A configuration with one or more problems, all reported at once.

    `args` are the problems (`Problem`) or plain sentences.
    """

    exit_code = 2

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.args if isinstance(p, Problem))

    def __str__(self) -> str:
        return "\n".join(str(arg) for arg in self.args)


class CapacityError(ConfigError):
    """A cache that cannot hold what its window needs, or tables that do not fit a device."""


class TraceError(ScratchPipeError):
    """A trace that cannot be read, or that holds ids that its tables do not have."""

    exit_code = 2


class InvariantError(ScratchPipeError):
    """A check that holds in every correct simulation failed: a bug in the simulator."""


class MeasurementError(ScratchPipeError):
    """Some measurements of a machine failed; the files of the others were kept."""


class PolicyError(ScratchPipeError):
    """A replacement policy named victims that its contract does not allow."""


class PluginError(ScratchPipeError):
    """Code of another package (a system, a replay, a part) raised an error."""


class OutputError(ScratchPipeError):
    """A result could not be written (permission, full disk, a file where a folder must be)."""


class PointsFailedError(ScratchPipeError):
    """Some points of an experiment failed; the results of the others were kept."""


class InfeasibleError(ScratchPipeError):
    """No point of a space that was looked at holds what was asked for."""

    exit_code = 3


class ToleranceError(ScratchPipeError):
    """A comparison lies outside its stated tolerance."""

    exit_code = 3


class UndecidedError(ScratchPipeError):
    """Measurements do not decide one or more numbers that were to be fitted to them."""

    exit_code = 3

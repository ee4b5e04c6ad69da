"""Compiled kernels on disk, under the hash of all text that they were compiled from.

numba's own cache knows the file of a kernel only; what it inlines, calls or takes as constants
from other modules may change beneath it. Here kernels lie in the folder of their module
(`simulator._kept_files`).

The cache is never the reason why a run fails: a file that is missing, damaged or of another machine
is a kernel to be compiled, and a file that cannot be written is not written.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import warnings
from operator import attrgetter
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from simulator._kept_files import folders_of, kept_content, takes_files, write_kept

__all__ = ["KernelCache"]


_TIED = attrgetter("library.has_dynamic_globals", "lifted")
"""What of a compiled kernel is of this process alone, where it has any."""


class KernelCache(NullCache):
    """The cache of one kernel, in the place of numba's own (`Dispatcher._cache`)."""

    def __init__(self, function: FunctionType, options: str) -> None:
        """For `function` compiled with `options`. Raises `OSError` where its text is in no file."""
        file = Path(function.__code__.co_filename)
        self._name = f"{function.__qualname__}-{function.__code__.co_firstlineno}"
        self._options = options
        self._folders = folders_of(file)
        self._without_s = 0.0

    @property
    def cache_path(self) -> str:
        """The folder that is tried first."""
        return str(self._folders[0])

    @property
    def is_kept(self) -> bool:
        """Whether some folder has the kernel, for whatever arguments and processor."""
        return any(any(f.glob(f"{self._name}-*.kernel")) for f in self._folders if f.is_dir())

    @property
    def can_keep(self) -> bool:
        """Whether some folder takes kernels."""
        return any(map(takes_files, self._folders))

    @property
    def done_without_s(self) -> float:
        """Seconds that runs have spent on the kernel's work without it (`add_without`)."""
        kept = 0.0
        for folder in self._folders:
            with contextlib.suppress(OSError, ValueError):
                kept = max(kept, float(kept_content(folder / f"{self._name}.without")))
        return max(kept, self._without_s)

    def add_without(self, seconds: float) -> None:
        """Count `seconds` of work that was done without the kernel, for this and later runs.

        Runs side by side may lose each other's seconds.
        """
        self._without_s = total = self.done_without_s + seconds
        for folder in self._folders:
            with contextlib.suppress(OSError):
                write_kept(folder / f"{self._name}.without", f"{total:.3f}".encode())
                return

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The kernel compiled for `signature`, or `None`."""
        target.refresh()
        name = self._file_name(signature, target)
        for folder in self._folders:
            # Whatever a damaged file raises, the kernel can be compiled.
            with contextlib.suppress(Exception):
                parts = pickle.loads(kept_content(folder / name))
                return cast(Any, CompileResult)._rebuild(target, *parts)
        return None

    def save_overload(self, signature: Any, kernel: Any) -> None:
        """Keep `kernel` in the first folder that takes it."""
        if any(_TIED(kernel)):
            warnings.warn(f"{self._name} cannot be kept on disk", RuntimeWarning, stacklevel=2)
            return
        name = self._file_name(signature, kernel.target_context)
        try:
            payload = cast(Any, dumps)(kernel._reduce())
        except RuntimeError:  # an interrupt came as its machine code was told
            return
        for folder in self._folders:
            with contextlib.suppress(OSError):
                write_kept(folder / name, payload)
                return

    def _file_name(self, signature: Any, target: Any) -> str:
        """Named by all that makes other machine code of the same text."""
        config: Any = numba.config
        facts = (
            str(signature),
            target.codegen().magic_tuple(),  # kind of processor
            self._options,
            (config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT),
        )
        return f"{self._name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.kernel"

"""Answers of pure functions, kept on disk: for what takes long to work out, or a library that takes
long to load.

Kept as kernels are: an answer holds for the text of its function's module and all that this one
imports from its package, and a file that is missing or damaged is an answer to be worked out again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from simulator._kept_files import folders_of, kept_content, write_kept

__all__ = ["kept"]

MOST = 4096
"""Files of a module beyond which no answer is kept: a long sweep asks for ever others."""

P = ParamSpec("P")
T = TypeVar("T")


def kept(*libraries: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """For functions whose answers follow from their arguments and the versions of `libraries`.

    Arguments: numbers, texts, tuples of them, and Pydantic's models, whose `repr` has all that the
    answer follows from. Answers: what JSON gives back as it was; `MOST` of a module are kept.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def answer(*args: P.args, **kwargs: P.kwargs) -> T:
            facts = repr((args, sorted(kwargs.items()), [version(name) for name in libraries]))
            name = f"{function.__qualname__}-{hashlib.sha256(facts.encode()).hexdigest()[:32]}"
            files = [folder / f"{name}.answer" for folder in folders_of(_file_of(function))]
            for file in files:
                with contextlib.suppress(OSError, ValueError):
                    return cast(T, json.loads(kept_content(file)))
            found = function(*args, **kwargs)
            payload = json.dumps(found, allow_nan=False).encode()
            for file in files:
                with contextlib.suppress(OSError):
                    if _has_room(file.parent):
                        write_kept(file, payload)
                    break
            return found

        return answer

    return decorate


def _has_room(folder: Path) -> bool:
    """Whether `folder` keeps another answer. Raises `OSError`."""
    return not folder.is_dir() or len(os.listdir(folder)) < MOST


def _file_of(function: Callable[..., object]) -> Path:
    return Path(function.__code__.co_filename)

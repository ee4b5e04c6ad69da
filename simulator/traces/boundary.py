"""Where the libraries that parse trace files end: what they raise becomes a `TraceError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from simulator.errors import TraceError

__all__ = ["reading"]

_LONGEST = 200


@contextlib.contextmanager
def reading(where: str | Path, what: str) -> Iterator[None]:
    """Calls of a library that parses `what` (".npy array", ...) at `where`.

    Raises `TraceError` for whatever the library raises. Keep the project's own code out of it.
    """
    try:
        yield
    except TraceError:
        raise
    except Exception as error:
        # On damaged bytes parsers raise what comes first (TokenError, RuntimeError, struct.error,
        # RecursionError, ...): no list of theirs is complete, and every one means the same.
        if isinstance(error, OSError) and error.errno is not None:
            raise TraceError(f"{where}: cannot be read: {error.strerror or error}") from None
        raise TraceError(
            f"{where}: not a whole {what} ({_reason(error)}): copy or write it again"
        ) from None


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST] if lines else type(error).__name__

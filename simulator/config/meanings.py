"""What the keys of configuration models are for: the docstrings that stand below them.

Read from the text of a model when somebody asks (an error message, a schema, a page of the
documentation): most runs never do, and pydantic would read them all whenever a model is defined.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

__all__ = ["meaning_of"]


def meaning_of(model: type, key: str) -> str | None:
    """The docstring of `key` in the class that defines it: `model` or the nearest of its bases.

    None where there is none, or no text of that class.
    """
    for owner in model.__mro__:
        keys = _meanings(owner)
        if key in keys:
            return keys[key]
    return None


@cache
def _meanings(model: type) -> dict[str, str | None]:
    """Each key that the text of a class annotates, with its docstring."""
    try:
        text = inspect.getsource(model)
    except (OSError, TypeError):
        return {}
    (defined,) = ast.parse(textwrap.dedent(text)).body
    assert isinstance(defined, ast.ClassDef)
    meanings: dict[str, str | None] = {}
    for statement, after in pairwise([*defined.body, ast.Pass()]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            meanings[statement.target.id] = _docstring(after)
    return meanings


def _docstring(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        text = statement.value.value
        return inspect.cleandoc(text) if isinstance(text, str) else None
    return None

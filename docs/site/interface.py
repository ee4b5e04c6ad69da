"""Pages of the public interface: every name of a door, its signature, docstring and source."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOORS = ("simulator", "simulator.caches", "simulator.hardware", "simulator.systems")
DOORS += ("simulator.traces", "simulator.errors")


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of a page a door."""
    for door in DOORS:
        module = importlib.import_module(door)
        text = f"# `{door}`\n\n{_prose(module)}\n"
        for name in module.__all__:
            text += f"\n## {name}\n\n{_entry(getattr(module, name))}\n"
        yield f"reference/{door.replace('.', '_')}", text


def _entry(thing: Any) -> str:
    """What a page says of one name."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return f"`{thing!r:.200}`"
    lines = [f"```python\n{_signature(thing)}\n```", _place(thing), _prose(thing)]
    if inspect.isclass(thing):
        lines += [f"- `{name}`. {about}".strip() for name, about in _attributes(thing)]
        for name, method in vars(thing).items():
            method = method.__func__ if isinstance(method, classmethod | staticmethod) else method
            if name.startswith("_") or not (inspect.isfunction(method) or _is_property(method)):
                continue
            shown = name if _is_property(method) else f"{name}{_parameters(method)}"
            about = " ".join(_prose(method).split())
            lines.append(f"- `{shown}`. {about}".strip())
    return "\n\n".join(line for line in lines if line)


def _is_property(thing: object) -> bool:
    return isinstance(thing, property) or type(thing).__name__ == "cached_property"


def _signature(thing: Any) -> str:
    word = "class" if inspect.isclass(thing) else "def"
    return f"{word} {thing.__name__}{_parameters(thing)}"


def _parameters(thing: Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    return text.replace("'", "") if len(text) < 400 else "(...)"


def _place(thing: Any) -> str:
    try:
        file = Path(inspect.getsourcefile(thing) or "").resolve()
        line = inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return ""
    return f"Source: `{file.relative_to(ROOT)}`, line {line}" if ROOT in file.parents else ""


def _prose(thing: Any) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "")


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    """Fields of a class and the text that stands below each."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError, ValueError):
        return
    body = getattr(tree, "body", [])
    for field, after in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        about = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            about = " ".join(str(after.value.value).split())
        kind_of = ast.unparse(field.annotation)
        if not field.target.id.startswith("_"):
            yield f"{field.target.id}: {kind_of}", about

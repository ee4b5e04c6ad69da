"""Every key that a file may give is read somewhere: an option that is parsed and then ignored lies.

Approximated: reads are told apart by the name of the attribute, not by the type of what has it; a
key that shares its name with an attribute of another class may pass unread.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

import simulator
import simulator.config
import simulator.hardware.devices

_BY_PRECISION = "read by the name that `mlp_precision` gives"
UNREAD = {
    ("Experiment", "config_version"): "its type refuses files of other releases",
    **{
        (model, precision): _BY_PRECISION
        for model in ("Precisions", "Products")
        for precision in ("fp32", "tf32", "fp16", "bf16")
    },
}
"""Keys that no attribute access reads, each with its reason."""


def _models() -> Iterator[type[BaseModel]]:
    for package in (simulator.config, simulator.hardware.devices):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for model in vars(module).values():
                here = getattr(model, "__module__", "") == info.name
                if here and inspect.isclass(model) and issubclass(model, BaseModel):
                    yield model


def _own_keys(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for key in model.model_fields:
        if key in inspect.get_annotations(model):
            yield model.__name__, key


class _Reads(ast.NodeVisitor):
    """Names of the attributes that are read, other than calls of methods and pydantic's checks: a
    value that is only checked has no effect."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        checks = ("model_validator", "field_validator")
        if not any(word in ast.unparse(line) for line in node.decorator_list for word in checks):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        callee = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        for part in (callee, *node.args, *node.keywords):
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.names.add(node.attr)
        self.generic_visit(node)


def _read_in(sources: Iterable[str]) -> set[str]:
    reads = _Reads()
    for source in sources:
        reads.visit(ast.parse(source))
    return reads.names


def test_every_key_is_read_or_has_a_reason_not_to_be() -> None:
    files = Path(simulator.__file__).parent.rglob("*.py")
    read = _read_in(file.read_text(encoding="utf-8") for file in files)
    keys = [key for model in _models() for key in _own_keys(model)]
    assert len(keys) > 150
    assert {key for key in keys if key[1] not in read} == UNREAD.keys()


def test_calls_writes_and_checks_are_no_reads() -> None:
    source = """
class Part:
    @model_validator(mode="after")
    def _fits(self): return self.checked
    def use(self):
        self.written = self.read
        return self.inner.called(self.given)
"""
    assert _read_in([source]) == {"read", "inner", "given"}

"""What keys are for is read from the docstrings below them, wherever a model stands."""

from __future__ import annotations

from pydantic import ConfigDict, create_model

from simulator.config.meanings import meaning_of
from simulator.config.types import Frozen


class Drive(Frozen):
    """A drive."""

    reads: int
    """Reads a second,
    at random."""
    writes: int = 1
    """Writes a second."""
    name: str = ""


class Slow(Drive):
    """A slower one."""

    writes: int = 0
    pages: int = 4
    """Bytes of a page."""


class Eager(Drive):
    """The same keys, their docstrings read by pydantic."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    reads: int
    """Reads a second,
    at random."""


def test_a_docstring_says_what_a_key_is_for() -> None:
    assert meaning_of(Drive, "reads") == "Reads a second,\nat random."
    assert meaning_of(Drive, "name") is None
    assert meaning_of(Drive, "speed") is None


def test_the_nearest_class_that_defines_a_key_describes_it() -> None:
    assert meaning_of(Slow, "reads") == "Reads a second,\nat random."
    assert meaning_of(Slow, "writes") is None
    assert meaning_of(Slow, "pages") == "Bytes of a page."


def test_a_model_without_text_has_keys_without_meaning() -> None:
    made = create_model("Made", __base__=Drive, added=(int, 3))
    assert meaning_of(made, "added") is None
    assert meaning_of(made, "writes") == "Writes a second."


def test_schemas_describe_keys_as_pydantic_would() -> None:
    schemas = [model.model_json_schema()["properties"]["reads"] for model in (Drive, Eager)]
    assert schemas[0] == schemas[1]
    assert Eager.model_fields["reads"].description == meaning_of(Drive, "reads")

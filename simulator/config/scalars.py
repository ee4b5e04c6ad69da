"""What a scalar of YAML stands for: text, a number, true, false or null; else why it does not.

Dates stay text. Tags, environment variables and includes of other tools are named, not read.
"""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import Node, ScalarNode

__all__ = ["HALF_A_CHARACTER", "UnreadError", "half_of_a_character", "is_merge", "number_text"]
__all__ += ["scalar", "unread_tag"]

_STANDARD = "tag:yaml.org,2002:"
_NUMBERS = (f"{_STANDARD}int", f"{_STANDARD}float")
_MOST_DIGITS = 400
"""Longer numbers are none that anybody means; 1e308 has 309 digits."""
HALF_A_CHARACTER = (
    "holds half of a character (\\uD800 to \\uDFFF)",
    'write the character itself, or `"\\U0001F600"`',
)
"""Message and hint."""
_VARIABLE = re.compile(r"\$\{[^}]*\}|\$[A-Z_][A-Z0-9_]*|\$\([^)]*\)")
_OTHER_TOOLS = {
    "include": "files are not included: name the file where a name may stand, or as `base: FILE`",
    "import": "files are not included: name the file where a name may stand, or as `base: FILE`",
    "env": "environment variables are not read: give the value with `--set PATH=VALUE`",
    "var": "variables are not read: give the value with `--set PATH=VALUE`",
}
_CONSTRUCTOR = YAML(typ="safe", pure=True).constructor


class UnreadError(ValueError):
    """A value that is not read, with what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint


def number_text(node: Node) -> str:
    """What stands in the file where `node` is a number; empty where it is none."""
    return node.value if node.tag in _NUMBERS and isinstance(node.value, str) else ""


def scalar(node: ScalarNode) -> Any:
    """The value of a scalar. Raises `UnreadError`."""
    text, tag = str(node.value), str(node.tag)
    if tag == f"{_STANDARD}timestamp":
        return text
    if not tag.startswith(_STANDARD):
        raise unread_tag(node)
    if tag in _NUMBERS and len(text) > _MOST_DIGITS:
        raise UnreadError(f"is a number of {len(text):,} characters: too long for any key")
    if not _quoted(node) and (match := _VARIABLE.search(text)):
        hint = "give the value with `--set PATH=VALUE`; in quotes it is text as it stands"
        raise UnreadError(f"environment variables are not read: {match[0]}", hint)
    try:
        value = _CONSTRUCTOR.construct_object(node, deep=True)
    except Exception as error:  # of a tag that its text does not suit: whatever the library raises
        kind = tag.removeprefix(_STANDARD)
        raise UnreadError(f"{_short(text)} is no value of the tag !!{kind}") from error
    if isinstance(value, str) and half_of_a_character(value):
        raise UnreadError(*HALF_A_CHARACTER)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise UnreadError(f"{_short(text)} must be text or a number")
    return value


def half_of_a_character(text: str) -> bool:
    """Whether `text` holds a surrogate, which no file can be written with."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def unread_tag(node: Node) -> UnreadError:
    """Why the tag of `node` is not allowed."""
    name = str(node.tag).strip("!").lower()
    hint = next((hint for tool, hint in _OTHER_TOOLS.items() if name.startswith(tool)), "")
    return UnreadError(f"the tag {node.tag} is not allowed: write plain YAML", hint)


def is_merge(key: ScalarNode) -> bool:
    """Whether a key lays other mappings under the one that it stands in."""
    return bool(key.value == "<<") and not _quoted(key)


def _quoted(node: Any) -> bool:
    """Whether a scalar is quoted, or a block of lines."""
    return node.style is not None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

"""Checks of values in JSON, where a text is no number: in a query all is text."""

from __future__ import annotations

from pydantic_core import PydanticCustomError


def check_number(value: object) -> object:
    """Refuse a text, true and false in place of a number."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("number", "Input should be a number")
    return value


def check_flag(value: object) -> object:
    """Refuse all but true and false."""
    if not isinstance(value, bool):
        raise PydanticCustomError("bool_type", "Input should be true or false")
    return value

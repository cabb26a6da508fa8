"""What is wrong with the parameters or the body of a request, in the words of this project.

pydantic tells it in its own, which name its types. A text says what was expected and, where it is
short and no key, what was received.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geosim.trainer.text import printable

LONGEST_RECEIVED = 40
"""Characters of a received value that are repeated."""

EXPECTED = {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    "int_parsing_size": "a smaller number",
    **dict.fromkeys(("float_parsing", "float_type", "finite_number", "number"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    "string_type": "text",
    "string_too_short": "{min_length} characters or more",
    "string_too_long": "{max_length} characters or fewer",
    **dict.fromkeys(("uuid_parsing", "uuid_type"), "the id of an indexed image"),
    "list_type": "a list",
    "too_short": "{min_length} or more",
    "too_long": "{max_length} or fewer, received {actual_length}",
    **dict.fromkeys(("model_attributes_type", "model_type", "dict_type"), "a JSON object"),
}
"""What was expected, by pydantic's type of an error, with the fields of its context."""

EXPECTED_OF = {
    "embedding": "an embedding of 171 characters, as a search returns it",
    "sha256": "64 hexadecimal digits, 0-9 and a-f",
}
"""What was expected, by the name of a parameter of which a pattern says too little."""

OTHER_KIND = {"uuid_type", "model_attributes_type", "model_type", "dict_type"}
"""Errors of an example that is an id, and may be an upload, or the other way round."""


def what_is_wrong(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return one line for pydantic's errors, as FastAPI gives them."""
    kept = [one for one in errors if not _is_of_other_kind(one, errors)]
    return "; ".join(dict.fromkeys(map(_text, kept)))


def _is_of_other_kind(one: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether an error is about what its example need not be, and another one is told."""
    example = one["loc"][:3]
    if len(one["loc"]) < 4 or one["type"] not in OTHER_KIND:
        return False
    others = [other for other in errors if other is not one and other["loc"][:3] == example]
    both = one["type"] != "uuid_type" and any(other["type"] == "uuid_type" for other in others)
    return both or any(other["type"] not in OTHER_KIND for other in others)


def _text(error: Mapping[str, Any]) -> str:
    name, kind = _name(error["loc"]), error["type"]
    if kind == "json_invalid":
        return "the body is no JSON; /docs describes what it has"
    if kind == "missing":
        return f"{name} is missing; /docs describes it"
    if kind == "extra_forbidden":
        return f"{name} is unknown here; leave it out, or see /docs"
    if kind == "crop":
        return f"{name}: {error['ctx']['reason']}"
    field = str(error["loc"][-1])
    context = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in error.get("ctx", {}).items()
    }
    expected = EXPECTED_OF.get(field) or EXPECTED.get(kind, "what /docs describes")
    if error.get("input") == "" and context.get("min_length") == 1:
        expected = "a value, received nothing; or leave it out"
    return f"{name}: expected {expected.format(**context)}{_received(error, field)}"


def _name(place: Sequence[Any]) -> str:
    """Return the name of a parameter, such as ``positive example 1`` of a list of them."""
    names = [str(one) for one in place[1:]]
    if not names:
        return "the body"
    if len(names) > 1 and names[0] in ("positive", "negative"):
        example = f"{names[0]} example {int(names[1]) + 1}"
        return f"{example}, {names[-1]}" if len(names) > 3 else example
    return ".".join(names)


def _received(error: Mapping[str, Any], field: str) -> str:
    value = error.get("input")
    if field == "key" or value == "" or not isinstance(value, str | int | float):
        return ""
    text = f'"{printable(value)}"' if isinstance(value, str) else str(value)
    return f", received {text}" if len(text) <= LONGEST_RECEIVED else ""

"""Values in responses of the JSON API, with their bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Cosine = Annotated[float, Field(json_schema_extra={"minimum": -1, "maximum": 1})]
Share = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Number = Annotated[int, Field(json_schema_extra={"minimum": 0})]
Positive = Annotated[int, Field(json_schema_extra={"minimum": 1})]
"""Numbers and their bounds, which are documented and not checked: answers hold them."""


class Place(BaseModel, from_attributes=True):
    """A place on the earth, in degrees."""

    lat: float = Field(json_schema_extra={"minimum": -90, "maximum": 90})
    lon: float = Field(json_schema_extra={"minimum": -180, "maximum": 180})


Value = str | int | float | Place
"""A value of a fact: text, yes or no; a date in ISO 8601; a number; a place."""

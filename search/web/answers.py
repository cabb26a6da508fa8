"""Responses of the JSON API, from which its documentation is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, field_validator

from geosim.ingest.plan import IMAGE_ROUTE
from geosim.ingest.schema import ModelRef
from geosim.search.types import LISTED_IMAGES
from geosim.search.web.models import EmbeddingText, UploadedImage


class Place(BaseModel, from_attributes=True):
    """A place on the earth, in degrees."""

    lat: float
    lon: float


Value = str | int | float | Place
"""A value of a fact: text, yes or no; a date in ISO 8601; a number; a place."""


class Failure(BaseModel):
    """An error and its reason."""

    error: str
    place: int | None = Field(
        None, description="Index of the character of an expression where it fails, from 0."
    )


class StoredImage(BaseModel, from_attributes=True):
    """An indexed image."""

    id: UUID
    path: str
    label: Annotated[str | None, AfterValidator(lambda label: label or None)] = Field(
        serialization_alias="class", description="null without a class."
    )
    picture: Annotated[str, AfterValidator(lambda id_: f"{IMAGE_ROUTE}{id_}")] = Field(
        validation_alias="id", description="Path of its picture; add ?side= for another size."
    )
    facts: dict[str, Value] = Field({}, description="Its facts by name.")


class PointAnswer(StoredImage):
    """An indexed image, and what is known of its picture."""

    dataset: str
    sha256: str = Field(description="Hex digest of its file.")
    width: int = Field(description="Pixels of its picture, after EXIF orientation.")
    height: int


class CropAnswer(BaseModel, from_attributes=True):
    """A part of a picture, and the size of the picture, in pixels."""

    x: int
    y: int
    width: int
    height: int
    picture_width: int
    picture_height: int


class SpecimenImage(StoredImage):
    """An image of a specimen."""

    score: float = Field(description="Best cosine with an image of the query, -1 to 1.")
    shown: dict[str, Value | None] = Field({}, description="As of a hit.")
    box: CropAnswer | None = Field(None, description="As of a hit.")


class SpecimenAnswer(BaseModel, from_attributes=True):
    """The indexed images that show one specimen."""

    value: Value = Field(description="Of the field of together_by.")
    images: int = Field(description="Their number, of those that the search may return.")
    best: list[SpecimenImage] = Field(
        description=f"Those most like the query, best first, at most {LISTED_IMAGES}."
    )


class HitAnswer(StoredImage):
    """An indexed image that is similar to the query."""

    rank: int = Field(description="From 1.")
    score: float = Field(description="Cosine similarity, -1 to 1, to six decimals.")
    identical: bool = Field(description="Whether its file is identical to the query's.")
    shown: dict[str, Value | None] = Field(
        {}, description="Values of the fields of show, by name; null without one."
    )
    box: CropAnswer | None = Field(
        None, description="The tile that is similar; null in a collection of whole images."
    )
    specimen: SpecimenAnswer | None = Field(
        None, description="With together_by: what was found, of which the score is then."
    )


class VoteAnswer(BaseModel, from_attributes=True):
    """One class among the nearest images."""

    label: str = Field(serialization_alias="class")
    votes: int
    share: float = Field(description="Share of the votes weighted by score, 0 to 1.")


class ExplanationAnswer(BaseModel, from_attributes=True):
    """What the ten nearest images of all classes say about the query, whatever the filters are.

    With together_by, those of the query's own specimen do not count.
    """

    votes: list[VoteAnswer]
    without_class: int = Field(
        validation_alias="unlabelled",
        description="Images among the ten that have no class to vote.",
    )
    predicted: str = Field(description="The class with the highest share; empty without votes.")
    confidence: float | None = Field(
        description="0 to 1: about this share of such predictions is right; null where there are "
        "too few images or classes to tell."
    )
    unlike: bool = Field(
        validation_alias="is_novel",
        description="Whether the best score is below the usual one and no hit is identical.",
    )
    best: float = Field(validation_alias="best_score", description="The best score.")
    usual: float | None = Field(
        validation_alias="threshold",
        description="The best score that 99 % of the indexed images reach; null while it is "
        "measured, and unless the query is a new picture.",
    )


class Answer(BaseModel):
    """The result of a search."""

    hits: list[HitAnswer] = Field(description="Best first.")
    explanation: ExplanationAnswer
    query: StoredImage | None = Field(
        None, description="The query, if it is an indexed image or a part of one."
    )
    crop: CropAnswer | None = Field(
        None, description="The part of the picture; null for the whole, and for several images."
    )
    embedding: EmbeddingText | None = Field(
        None,
        description="The embedding of the query, or of its part, for a link to this search; null "
        "for several images.",
    )
    sha256: str | None = Field(
        None,
        description="Hex digest of the query's file, of a part as PNG; null for several images.",
    )
    model: str = Field("", description="The model that made the embedding.")
    positive: list[StoredImage | UploadedImage] = Field(
        [], description="The positive examples of a search by several images."
    )
    negative: list[StoredImage | UploadedImage] = Field([], description="Its negative examples.")
    note: str | None = Field(
        None,
        description="What the search could not do for this query, that no image matches where, or "
        "with together_by what was searched by.",
    )
    approximate: bool = Field(
        False,
        description="Whether an index of a large collection chose the hits, which may miss one; "
        "exact=true compares all images.",
    )


class Count(BaseModel):
    """The number of indexed images with one value of a field."""

    name: str
    count: int


class Fact(BaseModel, from_attributes=True):
    """A fact that images have."""

    name: str = Field(description="As an expression names it.")
    kind: Literal["text", "number", "date", "geo"] = Field(description="Yes and no are text.")


class CollectionAnswer(BaseModel):
    """The collection and the limits of uploads."""

    name: str
    points: int = Field(description="Number of indexed images.")
    classes: list[Count]
    without_class: int = Field(description="Number of indexed images without a class.")
    datasets: list[Count]
    facts: list[Fact] = Field(description="By name.")
    model: ModelRef
    engine: str
    version: str = Field(description="Version of geosim.")
    upload_bytes: int = Field(description="Maximum bytes of an upload.")
    upload_pixels: int = Field(description="Maximum pixels of an upload.")
    examples: int = Field(description="Maximum number of positive examples, and of negative ones.")


class FacetAnswer(BaseModel, from_attributes=True):
    """The values of one field."""

    name: str = Field(description="As an expression names it.")
    kind: Literal["text", "yes/no", "number", "date", "geo"]
    images: int = Field(description="Number of images that have a value.")
    values: list[Count] = Field(description="The most frequent texts, of text and yes/no.")
    more: bool = Field(description="Whether there are other texts.")
    least: Value | None = Field(description="The least number or date.")
    greatest: Value | None = Field(description="The greatest.")

    @field_validator("values", mode="before")
    @classmethod
    def _counts(cls, pairs: Sequence[tuple[str, int]]) -> list[Count]:
        return [Count(name=name, count=count) for name, count in pairs]


class FacetsAnswer(BaseModel):
    """The values of the class, the data set and the facts."""

    facets: list[FacetAnswer]


class MapAnswer(BaseModel):
    """All indexed images as points; every list except classes has one item per image."""

    classes: list[str | None] = Field(description="Null, the last one, for images without a class.")
    labels: list[int] = Field(description="Index into classes.")
    ids: list[str]
    paths: list[str]
    x: list[float] = Field(description="0 to 1, left to right.")
    y: list[float] = Field(description="0 to 1, top to bottom.")
    tag: str = Field(description="Differs after a change of the collection.")


class MatchesAnswer(BaseModel):
    """Which points of the map match an expression."""

    tag: str = Field(description="That of the map.")
    matches: int = Field(description="Number of points that match.")
    mask: str = Field(
        description="A bit per point, in the order of the map, as base64; the lowest bit of a "
        "byte is the first."
    )

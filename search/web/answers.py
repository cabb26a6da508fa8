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
from geosim.search.web.values import Cosine, Number, Positive, Share, Value


class Failure(BaseModel):
    """An error and its reason."""

    error: str
    place: Number | None = Field(
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
    width: Number = Field(description="Pixels of its picture, after EXIF orientation.")
    height: Number


class CropAnswer(BaseModel, from_attributes=True):
    """A part of a picture, and the size of the picture, in pixels."""

    x: Number
    y: Number
    width: Positive
    height: Positive
    picture_width: Positive
    picture_height: Positive


class SpecimenImage(StoredImage):
    """An image of a specimen."""

    score: Cosine = Field(description="Best cosine with an image of the query, -1 to 1.")
    shown: dict[str, Value | None] = Field({}, description="As of a hit.")
    box: CropAnswer | None = Field(None, description="As of a hit.")


class SpecimenAnswer(BaseModel, from_attributes=True):
    """The indexed images that show one specimen."""

    value: Value = Field(description="Of the field of together_by.")
    images: Positive = Field(description="Their number, of those that the search may return.")
    best: list[SpecimenImage] = Field(
        description=f"Those most like the query, best first, at most {LISTED_IMAGES}."
    )


class HitAnswer(StoredImage):
    """An indexed image that is similar to the query."""

    rank: Positive
    score: Cosine = Field(description="Cosine similarity, -1 to 1, to six decimals.")
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
    mark: Literal["right", "wrong"] | None = Field(
        None, description="What somebody judged this hit of this query to be."
    )


class VoteAnswer(BaseModel, from_attributes=True):
    """One class among the nearest images."""

    label: str = Field(serialization_alias="class")
    votes: Positive
    share: Share = Field(description="Share of the votes weighted by score.")


class ExplanationAnswer(BaseModel, from_attributes=True):
    """What the ten nearest images of all classes say about the query, whatever the filters are.

    With together_by, those of the query's own specimen do not count.
    """

    votes: list[VoteAnswer]
    without_class: Number = Field(
        validation_alias="unlabelled",
        description="Images among the ten that have no class to vote.",
    )
    predicted: str = Field(
        description="The class with the highest share; empty without votes, where unlike is true, "
        "and where there is a doubt."
    )
    confidence: Share | None = Field(
        description="About this share of such predictions is right; null without one, and where "
        "the model was trained on too few images to tell.",
    )
    unlike: bool = Field(
        validation_alias="is_novel",
        description="Whether the best score is below the usual one and no hit is identical.",
    )
    best: Cosine = Field(validation_alias="best_score", description="The best score.")
    usual: Cosine | None = Field(
        validation_alias="threshold",
        description="The best score that 99 % of the indexed images reach; null while it is "
        "measured, and unless the query is a new picture.",
    )
    doubt: Annotated[str | None, AfterValidator(lambda doubt: doubt or None)] = Field(
        description="Why no class is predicted for a new picture, such as too few images."
    )


class Answer(BaseModel):
    """The result of a search."""

    hits: list[HitAnswer] = Field(description="Best first.")
    more: bool = Field(description="Whether there are others; ask with offset.")
    explanation: ExplanationAnswer
    digest: str = Field(description="Identifies the query, for marks.")
    wrong: Number = Field(
        description="Number of images that are marked as wrong hits of this query."
    )
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


class ListedImage(StoredImage):
    """An image that is listed without a query."""

    shown: dict[str, Value | None] = Field({}, description="As of a hit.")


class ListAnswer(BaseModel):
    """Images of the collection, sorted by path."""

    images: list[ListedImage]
    total: Number = Field(description="Number of images that match.")
    note: str | None = Field(None, description="That no image matches.")


class MarksAnswer(BaseModel):
    """How many hits of a query are marked."""

    right: Number
    wrong: Number


class Count(BaseModel):
    """The number of indexed images with one value of a field."""

    name: str
    count: Positive


class Fact(BaseModel, from_attributes=True):
    """A fact that images have."""

    name: str = Field(description="As an expression names it.")
    kind: Literal["text", "number", "date", "geo"] = Field(description="Yes and no are text.")


class CollectionAnswer(BaseModel):
    """The collection and the limits of uploads."""

    name: str
    points: Number = Field(description="Number of indexed images.")
    classes: list[Count]
    without_class: Number = Field(description="Number of indexed images without a class.")
    datasets: list[Count]
    facts: list[Fact] = Field(description="By name.")
    model: ModelRef
    engine: str
    version: str = Field(description="Version of geosim.")
    upload_bytes: Positive = Field(description="Maximum bytes of an upload.")
    upload_pixels: Positive = Field(description="Maximum pixels of an upload.")
    examples: Positive = Field(
        description="Maximum number of positive examples, and of negative ones."
    )
    key: bool = Field(description="Whether visitors need a key, and can log out.")


class FacetAnswer(BaseModel, from_attributes=True):
    """The values of one field."""

    name: str = Field(description="As an expression names it.")
    kind: Literal["text", "yes/no", "number", "date", "geo"]
    images: Number = Field(description="Number of images that have a value.")
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


class MapProgress(BaseModel):
    """How far the drawing of the map is."""

    doing: str = Field(description="Such as reading, comparing, drawing the map, placing.")
    done: Number
    total: Number = Field(description="0 while it is not known.")


class MapPoint(BaseModel):
    """An indexed image and its place in the map."""

    row: Number = Field(description="Number of its point, from 0.")
    image: StoredImage


class MapPoints(BaseModel):
    """Points of the map."""

    tag: str = Field(description="That of the map.")
    points: list[MapPoint] = Field(description="Without those that were deleted.")


class MatchesAnswer(BaseModel):
    """Which points of the map match an expression."""

    tag: str = Field(description="That of the map.")
    matches: Number = Field(description="Number of points that match.")
    mask: str = Field(
        description="A bit per point, in the order of the map, as base64; the lowest bit of a "
        "byte is the first."
    )

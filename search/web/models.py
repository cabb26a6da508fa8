"""Requests and responses of the JSON API, from which its documentation is made."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat, field_validator
from pydantic_core import PydanticCustomError

from geosim.ingest.plan import IMAGE_ROUTE
from geosim.ingest.schema import ModelRef
from geosim.search.crop import PATTERN, Crop, parse_crop
from geosim.search.types import SearchOptions
from geosim.trainer.errors import QueryError

MAX_HITS = 1000
"""Hits of one search."""

MAX_EXAMPLES = 100
"""Positive examples of a search by several images; negative ones as well."""

Id = Annotated[UUID, Field(description="Id of an indexed image.")]

EmbeddingText = Annotated[
    str,
    Field(
        min_length=171,
        max_length=171,
        pattern="^[A-Za-z0-9_-]{170}[AEIMQUYcgkosw048]$",  # the last one holds 4 bits of data
        description="An embedding, as a search returns it: 32 little-endian float32, finite and "
        "not all zero, as base64url without padding.",
    ),
]


def _check_crop(text: str) -> str:
    try:
        parse_crop(text)
    except QueryError as error:
        raise PydanticCustomError("crop", "{reason}", {"reason": str(error)}) from error
    return text


CropText = Annotated[
    str, AfterValidator(_check_crop), Field(json_schema_extra={"pattern": PATTERN})
]


class SearchParameters(BaseModel, extra="forbid"):
    """Which hits to return."""

    k: int | None = Field(
        None,
        ge=1,
        le=MAX_HITS,
        description="Maximum number of hits: 10 by default, or 1,000 with a min_score.",
    )
    label: str | None = Field(
        None, alias="class", min_length=1, description="Only hits of this class of the collection."
    )
    min_score: FiniteFloat | None = Field(
        None, ge=-1, le=1, description="Only hits with this score or a higher one."
    )
    one_per: Literal["class", "dataset"] | None = Field(
        None,
        description="Only the best hit of each class or data set; images without a class are in "
        "no class.",
    )

    def options(self) -> SearchOptions:
        """Return the parameters as the searcher takes them."""
        k = MAX_HITS if self.k is None and self.min_score is not None else self.k
        return SearchOptions(k, self.label, self.min_score, self.one_per)


class PictureParameters(SearchParameters):
    """Which hits to return, and by which part of the picture."""

    crop: CropText | None = Field(
        None,
        description="Search by a part of the picture: X,Y,W,H in pixels, after EXIF orientation, "
        "or in per cent, as 10%,20%,50%,50%; of at least 8 x 8 pixels.",
    )

    def part(self) -> Crop | None:
        """Return the part as the searcher takes it."""
        return None if self.crop is None else parse_crop(self.crop)


class UploadedImage(BaseModel, extra="forbid"):
    """A picture that was uploaded before, by its embedding; the file itself is not kept."""

    embedding: EmbeddingText
    sha256: str = Field(
        "",
        pattern="^([0-9a-f]{64})?$",
        description="Hex digest of the file, with which identical images are marked.",
    )
    model: str = Field(
        "",
        max_length=64,
        description="The model that the search returned with it; another model is refused.",
    )


class ByEmbedding(UploadedImage, SearchParameters):
    """A search by a picture that was uploaded before."""


class Examples(SearchParameters):
    """A search by several images."""

    positive: list[Id | UploadedImage] = Field(
        min_length=1, max_length=MAX_EXAMPLES, description="Images that hits are similar to."
    )
    negative: list[Id | UploadedImage] = Field(
        [], max_length=MAX_EXAMPLES, description="Images that hits are unlike."
    )

    @field_validator("k", "min_score", mode="before")
    @classmethod
    def _is_number(cls, value: object) -> object:
        """Refuse what is a number in a query, where all is text, but not in JSON."""
        if isinstance(value, str | bool):
            raise PydanticCustomError("number", "Input should be a number")
        return value


class Failure(BaseModel):
    """An error and its reason."""

    error: str


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


class VoteAnswer(BaseModel, from_attributes=True):
    """One class among the nearest images."""

    label: str = Field(serialization_alias="class")
    votes: int
    share: float = Field(description="Share of the votes weighted by score, 0 to 1.")


class ExplanationAnswer(BaseModel, from_attributes=True):
    """What the ten nearest images of all classes say about the query, whatever the filters are."""

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


class CropAnswer(BaseModel, from_attributes=True):
    """A part of a picture, and the size of the picture, in pixels."""

    x: int
    y: int
    width: int
    height: int
    picture_width: int
    picture_height: int


class HitAnswer(StoredImage):
    """An indexed image that is similar to the query."""

    rank: int = Field(description="From 1.")
    score: float = Field(description="Cosine similarity, -1 to 1, to six decimals.")
    identical: bool = Field(description="Whether its file is identical to the query's.")
    box: CropAnswer | None = Field(
        None, description="The tile that is similar; null in a collection of whole images."
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


class Count(BaseModel):
    """The number of indexed images with one value of a field."""

    name: str
    count: int


class CollectionAnswer(BaseModel):
    """The collection and the limits of uploads."""

    name: str
    points: int = Field(description="Number of indexed images.")
    classes: list[Count]
    without_class: int = Field(description="Number of indexed images without a class.")
    datasets: list[Count]
    model: ModelRef
    engine: str
    version: str = Field(description="Version of geosim.")
    upload_bytes: int = Field(description="Maximum bytes of an upload.")
    upload_pixels: int = Field(description="Maximum pixels of an upload.")
    examples: int = Field(description="Maximum number of positive examples, and of negative ones.")


class MapAnswer(BaseModel):
    """All indexed images as points; every list except classes has one item per image."""

    classes: list[str | None] = Field(description="Null, the last one, for images without a class.")
    labels: list[int] = Field(description="Index into classes.")
    ids: list[str]
    paths: list[str]
    x: list[float] = Field(description="0 to 1, left to right.")
    y: list[float] = Field(description="0 to 1, top to bottom.")

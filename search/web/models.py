"""The JSON of the web page's API, in and out; its documentation is made from this.

Owns names, bounds and descriptions of fields. Does nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from geosim.ingest.schema import Payload
from geosim.search.explain import Explanation
from geosim.search.types import Hit, SearchOptions

MOST_HITS = 1000
"""Hits of one answer."""

MOST_EXAMPLES = 100
"""Examples of a search by several, each way."""

Id = Annotated[UUID, Field(description="Id of an indexed image.")]


class SearchParameters(BaseModel):
    """Which hits to return."""

    model_config = ConfigDict(extra="forbid")

    k: int | None = Field(
        default=None,
        ge=1,
        le=MOST_HITS,
        description="At most so many hits: 10 unless given, or 1,000 where there is a min_score.",
    )
    label: str | None = Field(default=None, alias="class", description="Only hits of this class.")
    min_score: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        allow_inf_nan=False,
        description="Only hits with this cosine or a higher one.",
    )
    one_per: Literal["class", "dataset"] | None = Field(
        default=None, description="Only the best hit of each class or data set."
    )

    def options(self) -> SearchOptions:
        """Return it as a search takes it."""
        k = MOST_HITS if self.k is None and self.min_score is not None else self.k
        return SearchOptions(k, self.label, self.min_score, self.one_per)


class UploadedImage(BaseModel):
    """A picture that was uploaded before, and is not kept: its embedding stands for it."""

    model_config = ConfigDict(extra="forbid")

    embedding: str = Field(
        max_length=171, description="The embedding as an answer gave it: 171 characters."
    )
    sha256: str = Field(
        default="",
        pattern="^([0-9a-f]{64})?$",
        description="Hex digest of the picture's bytes, so that identical images are marked.",
    )
    model: str = Field(
        default="",
        max_length=64,
        description="The model that made it, as the answer gave it: another one's is refused.",
    )


class ByEmbedding(UploadedImage, SearchParameters):
    """A search by a picture that was uploaded before."""


class Examples(SearchParameters):
    """A search by several images: like these, not like those."""

    positive: list[Id | UploadedImage] = Field(
        min_length=1, max_length=MOST_EXAMPLES, description="Like these, indexed or uploaded."
    )
    negative: list[Id | UploadedImage] = Field(
        default=[], max_length=MOST_EXAMPLES, description="Not like these."
    )


class Key(BaseModel):
    """What opens a page that has a key."""

    key: str


class Failure(BaseModel):
    """Why there is no answer."""

    error: str


class StoredImage(BaseModel):
    """An indexed image."""

    id: str
    path: str
    label: str = Field(serialization_alias="class")
    picture: str = Field(description="Where its picture is; add ?side= for another size.")

    @classmethod
    def of(cls, payload: Payload) -> StoredImage:
        """Tell of a stored image."""
        return cls(
            id=payload.id, path=payload.path, label=payload.label, picture=address(payload.id)
        )


class HitAnswer(StoredImage):
    """An indexed image that looks like the query."""

    rank: int = Field(description="From 1.")
    score: float = Field(description="Cosine, -1 to 1, at six decimals.")
    identical: bool = Field(description="Whether the file has the query's very bytes.")


class VoteAnswer(BaseModel):
    """One class among the nearest images."""

    label: str = Field(serialization_alias="class")
    votes: int
    share: float = Field(description="0 to 1, votes weighed by score.")


class ExplanationAnswer(BaseModel):
    """What the ten nearest images of all classes say of the query, whatever was asked for."""

    votes: list[VoteAnswer]
    predicted: str = Field(description="The class with most votes.")
    confidence: float = Field(description="Its share, 0 to 1.")
    unlike: bool = Field(description="The query is less like any image than nearly all here are.")
    best: float = Field(description="The best score.")
    usual: float | None = Field(
        description="The best score that nearly all images here reach; null while it is measured."
    )

    @classmethod
    def of(cls, told: Explanation) -> ExplanationAnswer:
        """Tell of an explanation."""
        return cls(
            votes=[VoteAnswer(label=v.label, votes=v.votes, share=v.share) for v in told.votes],
            predicted=told.predicted,
            confidence=told.confidence,
            unlike=told.is_novel,
            best=told.best_score,
            usual=told.threshold,
        )


class Answer(BaseModel):
    """The answer to a search."""

    hits: list[HitAnswer] = Field(description="Best first.")
    explanation: ExplanationAnswer
    query: StoredImage | None = Field(
        default=None, description="The query, where it is an indexed image."
    )
    embedding: str | None = Field(
        default=None,
        description="The query's 32 little-endian float32 as base64url without padding, for a "
        "link to this search; null where the query is several images.",
    )
    sha256: str | None = Field(
        default=None, description="Hex digest of the uploaded picture's bytes."
    )
    model: str = Field(default="", description="The model that made the embedding.")
    positive: list[StoredImage | UploadedImage] = Field(
        default=[], description="The examples of a search by several, as they were named."
    )
    negative: list[StoredImage | UploadedImage] = Field(
        default=[], description="Its counter-examples."
    )


class Count(BaseModel):
    """The number of indexed images with one value."""

    name: str
    count: int


class ModelAnswer(BaseModel):
    """The model that made the collection."""

    backbone: str
    fingerprint: str


class CollectionAnswer(BaseModel):
    """What there is to search in."""

    name: str
    points: int = Field(description="Indexed images.")
    classes: list[Count]
    datasets: list[Count]
    model: ModelAnswer
    engine: str
    version: str = Field(description="Of geosim.")
    upload_bytes: int = Field(description="Most bytes of an uploaded picture.")
    upload_pixels: int = Field(description="Most pixels of an uploaded picture.")
    examples: int = Field(description="Most examples of a search by several, each way.")


class MapAnswer(BaseModel):
    """All indexed images as points; all lists but classes are in the same order."""

    classes: list[str]
    labels: list[int] = Field(description="Places in classes.")
    ids: list[str]
    paths: list[str]
    x: list[float] = Field(description="0 to 1, left to right.")
    y: list[float] = Field(description="0 to 1, top to bottom.")


def address(id_: str) -> str:
    """Return where the picture of an indexed image is served."""
    return f"/api/images/{id_}"


def hit_answer(hit: Hit) -> HitAnswer:
    """Tell of a hit."""
    return HitAnswer(
        id=hit.id,
        path=hit.path,
        label=hit.label,
        picture=address(hit.id),
        rank=hit.rank,
        score=hit.score,
        identical=hit.identical,
    )

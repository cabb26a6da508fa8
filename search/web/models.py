"""Requests of the JSON API, from which its documentation is made."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat, field_validator
from pydantic_core import PydanticCustomError

from geosim.ingest.conditions import Condition
from geosim.search.crop import PATTERN, Crop, parse_crop
from geosim.search.fields import field_names
from geosim.search.syntax import MAX_LENGTH
from geosim.search.types import SearchOptions
from geosim.search.web.area import AREA_PATTERN, MOST_IN_AREA
from geosim.search.web.strict import check_flag, check_number
from geosim.trainer.errors import QueryError

MAX_HITS = 1000
"""Hits of one search."""

MAX_OFFSET = 10_000
"""Hits that are skipped at most: a page of hits takes as long as all before it."""

MAX_TAKEN = 5000
"""Hits that are taken away at once."""

MAX_NAME = 300
"""Characters of the name of a query, which is told to people alone."""

MAX_SHOW = 1000
"""Characters of the names of the fields that are shown."""

MAX_FACETS, MAX_VALUES = 100, 200
"""Fields whose values are counted, and values of each."""

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


Expression = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]

WHERE = (
    'Only images for which this holds, such as depth >= 2900 and hole = "A-7": comparisons of '
    "facts, class, dataset, path, sha256, width and height by = != < <= > >=, in (..), has(..), "
    "near(LATITUDE, LONGITUDE, 20 km), and, or, not, parentheses."
)

FieldName = Annotated[str, Field(min_length=1, max_length=200)]


ShownFields = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=MAX_SHOW,
        description="Names of facts and of class, dataset, path, sha256, width and height, with "
        "commas between and quoted as in CSV, for shown of each hit.",
    ),
]


AreaText = Annotated[
    str | None,
    Field(
        pattern=AREA_PATTERN,
        description="Only images in a part of the map, of at most "
        f"{MOST_IN_AREA:,}: the map's drawing, then x and y of the corners, 0 to 65,535.",
    ),
]


class SearchParameters(BaseModel, extra="forbid"):
    """Which hits to return."""

    k: int | None = Field(
        None,
        ge=1,
        le=MAX_HITS,
        description="Maximum number of hits: 10 by default, or 1,000 with a min_score.",
    )
    offset: int = Field(
        0,
        ge=0,
        le=MAX_OFFSET,
        description="Skip so many hits; more of the answer tells whether others follow.",
    )
    label: str | None = Field(
        None, alias="class", min_length=1, description="Only hits of this class of the collection."
    )
    min_score: FiniteFloat | None = Field(
        None, ge=-1, le=1, description="Only hits with this score or a higher one."
    )
    where: Expression | None = Field(None, description=WHERE)
    one_per: FieldName | None = Field(
        None,
        description="Only the best hit of each class, dataset or value of a fact; images without "
        "one are left out.",
    )
    not_same: FieldName | None = Field(
        None,
        description="No hits with the query's own value of this fact, or its class; note of the "
        "answer tells if none is known.",
    )
    together_by: FieldName | None = Field(
        None,
        description="Search by all images with the query's own value of this fact, such as its "
        "specimen, and rank specimens in place of images, each by the mean over the query's images "
        "of the best cosine with one of its images. Images without a value are left out. Not "
        "together with one_per, not_same, crop and negative.",
    )
    show: ShownFields = None
    without_wrong: bool = Field(
        False, description="No images that are marked as wrong hits of this query."
    )
    area: AreaText = None
    exact: bool = Field(
        False, description="Compare all images, also where a large collection has an index."
    )

    def options(self, among: Condition | None = None) -> SearchOptions:
        """Return the parameters as the searcher takes them, ``among`` for the area."""
        k = MAX_HITS if self.k is None and self.min_score is not None else self.k
        show = () if self.show is None else field_names(self.show)
        return SearchOptions(
            k,
            self.label,
            self.min_score,
            self.one_per,
            self.where,
            self.not_same,
            show,
            self.exact,
            among,
        )


class PictureParameters(SearchParameters):
    """Which hits to return, and by which part of the picture."""

    crop: CropText | None = Field(
        None,
        description="Search by a part of the picture: X,Y,W,H in pixels, after EXIF orientation, "
        "or in per cent, as 10%,20%,50%,50%; of at least 8 x 8 pixels.",
    )

    def part(self) -> Crop | None:
        """Return the part as the searcher takes it.

        Raises:
            QueryError: specimens are to be ranked, which are searched by as a whole.
        """
        if self.crop is not None and self.together_by is not None:
            raise QueryError("specimens are searched by as a whole; leave out crop or together_by")
        return None if self.crop is None else parse_crop(self.crop)


class Region(BaseModel, extra="forbid"):
    """A part of a picture, and how large it is wanted."""

    box: str = Field(
        pattern="^([0-9]{1,7},){2}[1-9][0-9]{0,6},[1-9][0-9]{0,6}$",
        description="X,Y,W,H: its left and upper edge, width and height in pixels of the picture, "
        "after EXIF orientation.",
    )
    side: int = Field(
        1024, ge=64, le=2048, description="Maximum of the longer side of what is returned."
    )

    def edges(self) -> tuple[int, int, int, int]:
        """Return left and upper edge, width and height."""
        x, y, width, height = map(int, self.box.split(","))
        return x, y, width, height


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

    _numbers = field_validator("k", "offset", "min_score", mode="before")(check_number)
    _flags = field_validator("exact", "without_wrong", mode="before")(check_flag)


class ListParameters(BaseModel, extra="forbid"):
    """Which images to list."""

    label: str | None = Field(
        None, alias="class", min_length=1, description="Only images of this class."
    )
    where: Expression | None = Field(None, description=WHERE)
    area: AreaText = None
    k: int = Field(60, ge=1, le=MAX_HITS, description="Maximum number of images.")
    offset: int = Field(0, ge=0, le=10**9, description="Skip so many images.")
    show: ShownFields = None


class TakenHit(BaseModel, extra="forbid"):
    """A hit to take away."""

    id: Id
    score: FiniteFloat | None = Field(None, ge=-1, le=1, description="As the search returned it.")

    _score = field_validator("score", mode="before")(check_number)


class TakeAway(BaseModel, extra="forbid"):
    """Hits to take away, in this order, and what they are hits of."""

    format: Literal["csv", "json", "png", "pdf", "zip"] = Field(
        description="A table, JSON, a contact sheet, or an archive of the pictures."
    )
    hits: list[TakenHit] = Field(min_length=1, max_length=MAX_TAKEN)
    query: Id | None = Field(None, description="The query, if it is an indexed image.")
    uploaded: UploadedImage | None = Field(
        None, description="The query, if it was uploaded: tables tell its predicted class."
    )
    name: str = Field("", max_length=MAX_NAME, description="What the query is called.")
    sha256: str = Field(
        "", pattern="^([0-9a-f]{64})?$", description="Of the query, to tell identical files."
    )
    show: ShownFields = None


class GivenMark(BaseModel, extra="forbid"):
    """A judgement of one hit."""

    query: str = Field(pattern="^[0-9a-f]{64}$", description="The digest of the answer.")
    id: Id
    mark: Literal["right", "wrong"] | None = Field(description="null takes a mark back.")
    name: str = Field("", max_length=MAX_NAME, description="What the query is called.")


class FacetParameters(BaseModel, extra="forbid"):
    """Of which images values are counted, and how many values."""

    where: Expression | None = Field(None, description=WHERE)
    values: int = Field(
        20, ge=1, le=MAX_VALUES, description="Values of a text, the most frequent ones."
    )

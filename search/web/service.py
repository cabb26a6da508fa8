"""From a query to the answer of the API, synchronously; the paths are in `search/web/api.py`.

Owns what each kind of search asks of the searcher.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from importlib.metadata import version
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from fastapi import HTTPException, Query

from geosim.ingest.conditions import Condition
from geosim.ingest.schema import CollectionInfo, Point
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently
from geosim.search.explain import Explanation
from geosim.search.facets import facts_of
from geosim.search.fields import Fields
from geosim.search.marks import Marks, Verdict, query_digest, wrong_of
from geosim.search.queries import ResolvedQuery
from geosim.search.searcher import Searcher
from geosim.search.types import DEFAULT_K, Result, SearchOptions
from geosim.search.web.answers import (
    Answer,
    CollectionAnswer,
    Count,
    Fact,
)
from geosim.search.web.embeddings import encode_embedding, query_of
from geosim.search.web.judgement import Judgement
from geosim.search.web.models import (
    MAX_EXAMPLES,
    MAX_HITS,
    ByEmbedding,
    Examples,
    PictureParameters,
    SearchParameters,
    UploadedImage,
)
from geosim.search.web.pictures import MAX_UPLOAD_PIXELS, UPLOAD_BYTES, check_pixels
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.errors import NoMatchError, QueryError, StoreError
from geosim.trainer.text import printable
from geosim.trainer.working import Working

MODEL_DIGITS = 12
"""Digits of a model's fingerprint in answers and links."""

Search = Callable[[SearchOptions], Result]
_log = logging.getLogger("uvicorn.error")
P = ParamSpec("P")
T = TypeVar("T")


def _reading(
    method: Callable[Concatenate[SearchService, P], T],
) -> Callable[Concatenate[SearchService, P], T]:
    """Let a method read one state of the collection, which others may change or replace."""

    @wraps(method)
    def read(self: SearchService, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return consistently(self._store, lambda _: method(self, *args, **kwargs))

    return read


class SearchService:
    """Searches in one collection, or in what replaced it. Thread-safe; every method blocks."""

    def __init__(
        self,
        store: VectorStore,
        working: Working,
        inside: Callable[[str], Condition],
        *,
        needs_key: bool,
    ) -> None:
        """Open for searching and load the model; raises what `Searcher` does, and `ModelError`.

        ``inside`` returns the condition of an area of the map.
        """
        self._store, self._working = store, working
        self._inside, self._needs_key = inside, needs_key
        self.marks = Marks(working, store.name)
        self._searcher = Searcher(store, working)
        self._searcher.warm_up()
        self._judgement = Judgement(store, working)

    def measure_usual_score(self) -> None:
        """Start to measure the usual best score, for the first picture that needs it."""
        self._judgement.start()

    @_reading
    def by_picture(self, data: bytes, parameters: PictureParameters) -> Answer:
        """Search by the bytes of an uploaded file, or by a part of the picture.

        Raises:
            HTTPException: too many pixels.
            ModelMismatchError: the working folder has not the model of the collection.
            QueryError: the bytes are not a picture, or the part is not in it.
        """
        check_pixels(data)
        return self._by_query(self._searcher.resolve(data, parameters.part()), parameters)

    @_reading
    def search_again(self, parameters: Annotated[ByEmbedding, Query()]) -> Answer:
        """Search by the embedding of a picture that was uploaded before."""
        return self._by_query(self._queries([parameters])[0], parameters)

    @_reading
    def similar(
        self, id_: UUID, parameters: PictureParameters, data: Encoded | None = None
    ) -> Answer:
        """Search by an indexed image, or by a part of it; ``data`` is its file then.

        Raises:
            HTTPException: the image is unknown.
            ModelMismatchError: a part is to be embedded, and the working folder has not the model
                of the collection.
            QueryError: the part is not in the picture.
        """
        (query,) = self._queries([id_])
        if data is not None:
            query.data = data
            query = self._searcher.resolve(query, parameters.part())
        return self._by_query(query, parameters)

    @_reading
    def recommend(self, examples: Examples) -> Answer:
        """Search by several images: similar to the positive ones, unlike the negative ones.

        Each is the id of an indexed image, or the embedding of a picture that was uploaded before.
        Neither they nor copies of them are among the hits.
        """
        if examples.negative and examples.together_by is not None:
            raise QueryError("specimens are ranked by likeness; leave out negative or together_by")
        images = [*examples.positive, *examples.negative]
        queries, split = self._queries(images), len(examples.positive)
        search = partial(self._searcher.recommend, queries[:split], queries[split:])
        shown = [query.indexed or one for query, one in zip(queries, images, strict=True)]
        fields = {
            "positive": shown[:split],
            "negative": shown[split:],
            "digest": query_digest(queries[:split], queries[split:]),
        }
        return self._answer(search, queries, examples, fields)

    @_reading
    def explain(self, image: UploadedImage) -> Explanation | None:
        """Return what the ten nearest say of a picture that was uploaded before."""
        (query,) = self._queries([image])
        nearest = self._searcher.search_resolved(query, SearchOptions()).hits
        return self._judgement.explain(nearest, is_new=True)

    @_reading
    def points(self, ids: Iterable[UUID]) -> dict[UUID, Point]:
        """Return indexed images by id.

        Raises:
            HTTPException: one of them is unknown.
        """
        ids = dict.fromkeys(ids)
        points = self._store.fetch([str(id_) for id_ in ids]) if ids else []
        found = {UUID(point.payload.id): point for point in points}
        for id_ in ids:
            if id_ not in found:
                raise HTTPException(404, f"no indexed image has the id {id_}")
        return found

    @_reading
    def collection(self) -> CollectionAnswer:
        """Describe the collection and the limits of uploads."""
        info = self._info()
        return CollectionAnswer(
            name=self._store.name,
            points=info.points,
            classes=self._counts("class"),
            without_class=self._store.unlabelled(),
            datasets=self._counts("dataset"),
            facts=[Fact.model_validate(one) for one in facts_of(Fields(self._store))],
            model=info.model,
            engine=self._store.engine(),
            version=version("geosim"),
            upload_bytes=UPLOAD_BYTES,
            upload_pixels=MAX_UPLOAD_PIXELS,
            examples=MAX_EXAMPLES,
            key=self._needs_key,
        )

    def _stored_model(self) -> str:
        return consistently(self._store, lambda model: model.fingerprint[:MODEL_DIGITS])

    def _info(self) -> CollectionInfo:
        info = self._store.info()
        if info is None:
            raise StoreError("the collection was deleted")
        return info

    def _counts(self, field: str) -> list[Count]:
        return [Count(name=name, count=n) for name, n in self._store.values(field).items()]

    def _queries(self, images: Sequence[UUID | UploadedImage]) -> list[ResolvedQuery]:
        """Return images as queries with vectors.

        Raises:
            HTTPException: an id is unknown, or another model made an embedding.
        """
        points = self.points(one for one in images if isinstance(one, UUID))
        uploads = [one for one in images if isinstance(one, UploadedImage)]
        model = self._stored_model() if uploads else ""
        for one in uploads:
            if one.model not in ("", model):
                raise HTTPException(
                    409,
                    f"the picture was embedded by the model {one.model[:12]}, and the collection "
                    f"is of {model[:12]} now; search with the picture itself again, as no other "
                    "model's embedding can be compared",
                )
        return [query_of(points[one] if isinstance(one, UUID) else one) for one in images]

    def _by_query(self, query: ResolvedQuery, parameters: SearchParameters) -> Answer:
        """Answer a query that has its vector; only a new picture can be unlike the collection."""
        search = partial(self._searcher.search_resolved, query)
        fields = {
            "query": query.indexed,
            "crop": query.crop,
            "embedding": None if query.vector is None else encode_embedding(query.vector),
            "sha256": query.sha256 or None,
            "digest": query_digest([query]),
            "model": self._stored_model(),
        }
        return self._answer(search, [query], parameters, fields, is_new=query.indexed is None)

    def _answer(
        self,
        search: Search,
        queries: Sequence[ResolvedQuery],
        parameters: SearchParameters,
        fields: Mapping[str, Any],
        *,
        is_new: bool = False,
    ) -> Answer:
        """Search, and explain by the ten nearest of all classes, whatever the filters are.

        Only of a new picture a class is predicted, if nothing speaks against it.
        """
        marks, by = self._marks_of(fields["digest"]), parameters.together_by
        area, start = parameters.area, parameters.offset
        options = parameters.options(None if area is None else self._inside(area))
        end = start + (options.limit or MAX_HITS)
        if parameters.without_wrong:
            options = replace(options, without=wrong_of(marks))
        asked = replace(options, k=end + 1)  # one more tells whether there are more
        try:
            if by is None:
                found = search(asked)
            else:
                (found,) = self._searcher.search_specimens(queries, by, asked, together=True)
        except NoMatchError as error:
            found = Result("", note=str(error))
        whole = not options.narrows and options.min_score is None and by is None
        enough = whole and end >= DEFAULT_K
        nearest = found.hits if enough else search(SearchOptions(not_same=by)).hits
        # Hits, explanations and payloads are read by their attributes.
        answer = Answer.model_validate(
            {
                "hits": found.hits[start:end],
                "more": len(found.hits) > end,
                "explanation": self._judgement.explain(nearest, is_new=is_new),
                "note": found.note,
                "approximate": found.approximate,
                "wrong": len(wrong_of(marks)),
                **fields,
            }
        )
        for hit in answer.hits:
            hit.mark = marks.get(hit.path)
        return answer

    def _marks_of(self, digest: str) -> dict[str, Verdict]:
        """Return the marks of a query's hits; none where they cannot be read, which is logged."""
        try:
            return self.marks.of(digest)
        except StoreError as error:
            _log.error("%s", printable(str(error)))
            return {}

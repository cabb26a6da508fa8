"""Which indexed images look like this one: the k nearest by cosine, for files and stored paths.

Owns how a query is resolved to a vector and how answers are ordered. An image never lists itself;
equal scores are ordered by path; an image with the very same bytes comes first and is marked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.schema import (
    SCORE_DIGITS,
    Match,
    ModelRef,
    Nearest,
    Payload,
    Point,
    Where,
    point_id,
    require_same_model,
)
from ingest.store import VectorStore
from trainer.dataset import Hashed, Rejected
from trainer.errors import ImageError, ModelError, QueryError, StoreError
from trainer.features import FeatureExtractor
from trainer.images import ENDINGS
from trainer.model import Model, load_model
from trainer.sources import Files, Record
from trainer.working import Working

QUERY_BATCH = 256
"""Queries resolved, embedded and asked together."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer.

    Attributes:
        rank: from 1.
        score: cosine to the query, -1 to 1, rounded to `SCORE_DIGITS`.
        path: stored path.
        label: class.
        id: point id.
        identical: the file has the very same bytes as the query.
    """

    rank: int
    score: float
    path: str
    label: str
    id: str
    identical: bool


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one query.

    Attributes:
        query: the path as it was given.
        hits: best first; empty where there is an error.
        indexed: the stored image that the query is, if it is one.
        error: why this query has no answer.
    """

    query: str
    hits: tuple[Hit, ...] = ()
    indexed: Payload | None = None
    error: str | None = None


@dataclass(slots=True)
class _Query:
    """A query on its way to a vector."""

    text: str
    sha256: str = ""
    candidates: list[str] = field(default_factory=list)
    indexed: Payload | None = None
    vector: NDArray[np.float32] | None = None
    error: str | None = None


class Searcher:
    """Answers queries from one collection.

    The model is only needed, and the backbone only loaded, for images whose content is neither in
    the collection nor in the feature cache.
    """

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Open for searching.

        Raises:
            StoreError: there is no collection, or it is empty.
            ModelMismatchError: the model in ``working`` is not the collection's.
        """
        info = store.info()
        if info is None or info.points == 0:
            raise StoreError(
                f"collection {store.name!r} at {store.location} "
                f"{'does not exist' if info is None else 'is empty'}; fill it with "
                "`geosim ingest DATA`"
            )
        self._store = store
        self._working = working
        self._model: Model | None = None
        self._extractor: FeatureExtractor | None = None
        try:
            self._model = load_model(working.model)
        except ModelError as error:
            self._no_model = error
        else:
            model = ModelRef(self._model.fingerprint, self._model.spec.name)
            require_same_model(info, model, name=store.name)

    def search(
        self, paths: Iterable[str], k: int = 10, *, label: str | None = None
    ) -> Iterator[Result]:
        """Yield one result per path, in order.

        Args:
            paths: image files, or stored paths of indexed images.
            k: hits per query; fewer where the collection has fewer.
            label: only hits of this class.

        Raises:
            QueryError: ``k`` is not positive, or no indexed image has this class.
            ModelError: an image must be embedded and there is no model.
        """
        if k < 1:
            raise QueryError(f"k must be at least 1, received {k}")
        if label is not None and label not in (labels := self._store.labels()):
            raise QueryError(
                f"no indexed image has the class {label!r}; expected one of {', '.join(labels)}"
            )
        remaining = iter(paths)
        while texts := list(islice(remaining, QUERY_BATCH)):
            queries = [self._identify(text) for text in texts]
            self._resolve(queries)
            self._embed([one for one in queries if one.vector is None and one.error is None])
            yield from self._answer(queries, k, label)

    def _identify(self, text: str) -> _Query:
        """Read the file, if there is one, and list the stored paths it may have."""
        path = Path(text)
        try:
            text.encode("utf-8")
            if path.is_dir():
                return _Query(text, error="is a folder; name the images in it")
            if not path.exists():
                return _Query(text, candidates=[path.as_posix()])
            data = Files().read(Record(text, "", text))
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "replace").decode()
            return _Query(shown, error="the file name is not valid UTF-8; rename it")
        except (ImageError, OSError, ValueError) as error:
            return _Query(text, error=str(getattr(error, "strerror", None) or error))
        parts = Path(os.path.abspath(text)).parts  # noqa: PTH100 - resolves "..", not links
        suffixes = ["/".join(parts[start:]) for start in range(1, len(parts) - 2)]
        return _Query(text, hashlib.sha256(data).hexdigest(), suffixes)

    def _resolve(self, queries: Sequence[_Query]) -> None:
        """Take vectors that are stored: under the query's own path, or under a copy's."""
        ids = {point_id(path) for query in queries for path in query.candidates}
        points = {one.payload.path: one for one in self._store.fetch(sorted(ids))}
        for query in queries:
            if query.error is not None:
                continue
            own = self._own(query, points)
            if own is not None:
                query.indexed, query.vector = own.payload, own.vector
                query.sha256 = own.payload.sha256
            elif not query.sha256:
                query.error = (
                    "neither a file nor an indexed image; a stored path looks like "
                    f"{self._example()}"
                )
            elif twins := self._twins(query, None):
                query.vector = twins[0].vector

    @staticmethod
    def _own(query: _Query, points: dict[str, Point]) -> Point | None:
        """Return the indexed image that the query is: same path and, for a file, same bytes."""
        for path in query.candidates:
            point = points.get(path)
            if point is not None and query.sha256 in ("", point.payload.sha256):
                return point
        return None

    def _twins(self, query: _Query, label: str | None) -> list[Point]:
        """Return the other indexed images with the query's bytes, sorted by path."""
        own = frozenset((query.indexed.id,)) if query.indexed else frozenset()
        where = Where(label=label, sha256=query.sha256, exclude=own)
        points = [one for batch in self._store.scan(where, vectors=True) for one in batch]
        return sorted(points, key=lambda point: point.payload.path)

    def _example(self) -> str:
        for batch in self._store.scan(vectors=False):
            return batch[0].payload.path
        return "dataset/class/image.jpg"

    def _embed(self, queries: Sequence[_Query]) -> None:
        """Embed what is left, all at once."""
        if not queries:
            return
        if self._model is None:
            raise self._no_model
        if self._extractor is None:
            self._extractor = self._model.extractor(self._working.features)
        by_text = {query.text: query for query in queries}

        def reject(one: Rejected) -> None:
            by_text[one.path].error = one.reason

        items = [Hashed(Record(text, "", text), query.sha256) for text, query in by_text.items()]
        for batch in self._extractor.extract(Files(), items, reject=reject):
            vectors = self._model.head(np.stack([one.features.vector for one in batch]))
            for one, vector in zip(batch, vectors, strict=True):
                query = by_text[one.item.record.path]
                query.vector = vector
                if not vector.any():
                    query.error = "the model embeds it to a zero vector: nothing to compare"
        for query in queries:  # the same file named twice
            query.vector, query.error = by_text[query.text].vector, by_text[query.text].error

    def _answer(self, queries: Sequence[_Query], k: int, label: str | None) -> Iterator[Result]:
        asked = [
            Nearest(
                query.vector,
                Where(
                    label=label,
                    exclude=frozenset((query.indexed.id,)) if query.indexed else frozenset(),
                ),
            )
            for query in queries
            if query.vector is not None and query.error is None
        ]
        answers = iter(self._store.query(asked, k))
        for query in queries:
            if query.error is not None:
                yield Result(query.text, error=query.error)
                continue
            matches = {match.payload.path: match for match in next(answers)}
            for twin in self._twins(query, label):
                matches.setdefault(twin.payload.path, Match(twin.payload, 1.0))
            yield Result(query.text, self._hits(query, matches.values(), k), query.indexed)

    @staticmethod
    def _hits(query: _Query, matches: Iterable[Match], k: int) -> tuple[Hit, ...]:
        """Rank: identical bytes first, then by score, then by path."""
        rows = sorted(
            (
                match.payload.sha256 != query.sha256,
                -_rounded(match.score),
                match.payload.path,
                match,
            )
            for match in matches
        )
        return tuple(
            Hit(
                rank=rank,
                score=_rounded(match.score),
                path=match.payload.path,
                label=match.payload.label,
                id=match.payload.id,
                identical=match.payload.sha256 == query.sha256,
            )
            for rank, (*_, match) in enumerate(rows[:k], start=1)
        )


def expand(paths: Iterable[str]) -> Iterator[str]:
    """Yield ``paths``, each folder replaced by the image files below it, sorted."""
    for text in paths:
        path = Path(text)
        if not os.path.isdir(text):  # noqa: PTH112 - unlike Path's, never raises
            yield text
            continue
        inside = sorted(
            str(file)
            for file in path.rglob("*")
            if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
        )
        if not inside:
            raise QueryError(f"{text} is a folder without images in it; name an image")
        yield from inside


def _rounded(score: float) -> float:
    return round(min(1.0, max(-1.0, score)), SCORE_DIGITS)

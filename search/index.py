"""The Python API: one object to search an index with.

Owns nothing new: it opens the store, and searches, explains and walks the neighbours by the
modules that the command line uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from geosim.ingest.store.factory import open_store
from geosim.ingest.store.protocol import VectorStore
from geosim.search.resolver import QueryLike
from geosim.search.searcher import Searcher
from geosim.search.types import Hit, Result, SearchOptions
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working

Neighbour = tuple[str, float]
"""Stored path and cosine."""


def open_index(
    working: str | os.PathLike[str] = "working",
    *,
    qdrant: str | None = None,
    collection: str = "geosim",
    api_key: str | None = None,
) -> Index:
    """Open an index that `geosim ingest` has filled.

    Args:
        working: the working folder.
        qdrant: URL of a Qdrant server, or a folder of the embedded engine; by default the one in
            the working folder.
        collection: its name.
        api_key: the server's key.

    Raises:
        StoreError: there is no such collection, it is empty, or another process holds it.
        ModelMismatchError: the model in the working folder is not the collection's.
    """
    folder = Working(Path(working))
    store = open_store(qdrant, collection, working=folder.root, api_key=api_key)
    try:
        return Index(store, folder)
    except BaseException:
        store.close()
        raise


@dataclass(frozen=True, slots=True)
class Neighbours:
    """An indexed image and its nearest others, best first."""

    path: str
    neighbours: tuple[Neighbour, ...]


class Index(AbstractContextManager["Index"]):
    """An open index; close it, or use it in a ``with`` block."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Search an open store; `open_index` opens one."""
        self._store = store
        self._searcher = Searcher(store, working)

    def search(
        self,
        example: QueryLike,
        k: int | None = None,
        *,
        label: str | None = None,
        min_score: float | None = None,
        one_per: str | None = None,
    ) -> tuple[Hit, ...]:
        """Return what looks like one picture, best first.

        Args:
            example: path of an image file or of an indexed image, the bytes of an image file, a
                Pillow image, ``(h, w, 3)`` or ``(h, w) uint8`` pixels, or an embedding
                ``(32,) float32``.
            k: hits; 10 unless given, or all where there is a ``min_score``.
            label: only hits of this class.
            min_score: only hits with this cosine or a higher one, -1 to 1.
            one_per: ``class`` or ``dataset``: only the best hit of each.

        Raises:
            QueryError: the example has no embedding, or the request is out of range.
            ModelError: it must be embedded and there is no model.
        """
        (result,) = self._searcher.search([example], SearchOptions(k, label, min_score, one_per))
        if result.error is not None:
            raise QueryError(f"{result.query}: {result.error}")
        return result.hits

    def search_many(
        self,
        examples: Iterable[QueryLike],
        k: int | None = None,
        *,
        label: str | None = None,
        min_score: float | None = None,
        one_per: str | None = None,
    ) -> Iterator[Result]:
        """Yield a result per example, in order, embedded and asked in batches.

        Takes what `search` takes; an example without an answer has its reason in
        `Result.error` and does not cost the others theirs.
        """
        return self._searcher.search(examples, SearchOptions(k, label, min_score, one_per))

    def recommend(
        self,
        positive: Sequence[QueryLike],
        negative: Sequence[QueryLike] = (),
        k: int | None = None,
        *,
        label: str | None = None,
        min_score: float | None = None,
        one_per: str | None = None,
    ) -> tuple[Hit, ...]:
        """Return what looks like all of ``positive`` and not like ``negative``, best first.

        Takes and raises what `search` does; see `Searcher.together`.
        """
        options = SearchOptions(k, label, min_score, one_per)
        return self._searcher.together(positive, negative, options).hits

    def neighbours(self, k: int = 10) -> Iterator[Neighbours]:
        """Yield every indexed image with its ``k`` nearest others, sorted by path; exact.

        Raises:
            QueryError: ``k`` is not positive.
        """
        from geosim.search.graph.collection import read_collection
        from geosim.search.graph.neighbours import neighbour_graph

        if k < 1:
            raise QueryError(f"k must be at least 1, received {k}")
        collection = read_collection(self._store)
        paths = collection.paths
        for block in neighbour_graph(collection.vectors, k):
            scores = block.scores.tolist()
            for offset, rows in enumerate(block.rows.tolist()):
                near = zip(map(paths.__getitem__, rows), scores[offset], strict=True)
                yield Neighbours(paths[block.start + offset], tuple(near))

    @property
    def classes(self) -> dict[str, int]:
        """The number of indexed images per class, sorted by class."""
        return self._store.values("class")

    def __len__(self) -> int:
        """Return the number of indexed images."""
        return self._store.count()

    def close(self) -> None:
        """Let go of the store; safe to call twice."""
        self._store.close()

    def __exit__(self, *_: object) -> None:
        """Close at the end of a ``with`` block."""
        self.close()

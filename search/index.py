"""The Python API: `open_index` and the `Index` that it opens."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from geosim.ingest.store.base import WAIT_SECONDS, VectorStore
from geosim.ingest.store.factory import open_store
from geosim.search.crop import Crop, CropLike, parse_crop
from geosim.search.queries import QueryLike
from geosim.search.searcher import Searcher
from geosim.search.types import DEFAULT_K, Hit, Result, SearchOptions
from geosim.trainer.errors import QueryError
from geosim.trainer.working import Working


def open_index(
    working: str | os.PathLike[str] = "working",
    *,
    qdrant: str | None = None,
    collection: str = "geosim",
    api_key: str | None = None,
    wait: float = WAIT_SECONDS,
) -> Index:
    """Open an index that `geosim ingest` filled.

    Args:
        working: the working folder.
        qdrant: URL of a Qdrant server, or folder of the embedded engine; by default the folder
            ``qdrant`` in the working folder.
        collection: name of the collection.
        api_key: of the server.
        wait: seconds to wait for another process that holds an embedded collection.

    Raises:
        StoreError: there is no such collection, it is empty, or another process still holds it.
        ModelMismatchError: the working folder has models, but not the collection's.
    """
    folder = Working(Path(working))
    store = open_store(qdrant, collection, working=folder.root, api_key=api_key, wait=wait)
    try:
        return Index(store, folder)
    except BaseException:
        store.close()
        raise


@dataclass(frozen=True, slots=True)
class Neighbours:
    """An indexed image's stored path, and stored path and cosine of its neighbours, best first."""

    path: str
    neighbours: tuple[tuple[str, float], ...]


class Index(AbstractContextManager["Index"]):
    """An open index. Close it, or use it in a ``with`` block."""

    def __init__(self, store: VectorStore, working: Working) -> None:
        """Search an open store; `open_index` opens one and calls this."""
        self._store = store
        self._searcher = Searcher(store, working)

    def search(
        self,
        query: QueryLike,
        k: int | None = None,
        *,
        label: str | None = None,
        min_score: float | None = None,
        one_per: str | None = None,
        where: str | None = None,
        not_same: str | None = None,
        crop: CropLike | None = None,
        exact: bool = False,
    ) -> tuple[Hit, ...]:
        """Return the images that are like a query, best first.

        Args:
            query: an image or an embedding, see `QueryLike`.
            k: maximum number of hits; 10 if not given, or all if there is a ``min_score``.
            label: only hits of this class.
            min_score: only hits with this cosine or a higher one, -1 to 1.
            one_per: ``class``, ``dataset`` or a fact: only the best hit of each; images without
                one are left out.
            where: only hits for which this expression holds, such as ``depth >= 2900 and hole =
                "A-7"``; `geosim.search.where` describes it.
            not_same: ``class`` or a fact such as ``hole``: no hits with the query's own value. If
                none of it is known, no hit is left out, and `Result.note` of `search_many` tells.
            crop: search by a part of the picture, ``X,Y,W,H`` in pixels, after EXIF orientation, or
                in per cent: ``"100,50,400,300"``, ``(100, 50, 400, 300)``, ``"10%,20%,50%,50%"``.
                An indexed image is among the hits of a part of it. All of it is no part.
            exact: compare all images. Without it, hits of a server's collection of more than a
                million images are those of its index, which may miss one, as
                `Result.approximate` of `search_many` tells.

        Raises:
            QueryError: the query has no embedding, an argument is out of range or names no fact, no
                indexed image matches, or the part does not lie inside of the picture or is too
                small.
            ExpressionError: ``where`` cannot be read; a `QueryError` that tells the place.
            ModelError: it must be embedded and there is no model.
        """
        options = SearchOptions(k, label, min_score, one_per, where, not_same, exact=exact)
        (result,) = self._searcher.search([query], options, _part(crop))
        if result.error is not None:
            raise QueryError(f"{result.query}: {result.error}")
        return result.hits

    def search_many(
        self,
        queries: Iterable[QueryLike],
        k: int | None = None,
        *,
        label: str | None = None,
        min_score: float | None = None,
        one_per: str | None = None,
        where: str | None = None,
        not_same: str | None = None,
        crop: CropLike | None = None,
        exact: bool = False,
    ) -> Iterator[Result]:
        """Return a result per query, in order; queries are embedded and searched in batches.

        Takes the arguments of `search`, which are checked at the call. `Result.error` says why a
        query has no answer.
        """
        options = SearchOptions(k, label, min_score, one_per, where, not_same, exact=exact)
        return self._searcher.search(queries, options, _part(crop))

    def recommend(
        self,
        positive: Sequence[QueryLike],
        negative: Sequence[QueryLike] = (),
        k: int | None = None,
        *,
        label: str | None = None,
        min_score: float | None = None,
        one_per: str | None = None,
        where: str | None = None,
        not_same: str | None = None,
        crop: CropLike | None = None,
        exact: bool = False,
    ) -> tuple[Hit, ...]:
        """Return the images that are like ``positive`` and unlike ``negative``; see `search`.

        ``crop`` is a part of each of the positive examples.
        """
        options = SearchOptions(k, label, min_score, one_per, where, not_same, exact=exact)
        return self._searcher.recommend(positive, negative, options, _part(crop)).hits

    def neighbours(self, k: int = DEFAULT_K) -> Iterator[Neighbours]:
        """Return the ``k`` exact nearest neighbours of every indexed image, sorted by path.

        The collection is read at the call, the neighbours are computed while they are iterated.

        Raises:
            QueryError: ``k`` is less than 1.
            StoreError: the collection cannot be read.
        """
        from geosim.search.graph.collection import read_collection
        from geosim.search.graph.neighbours import neighbour_graph

        if k < 1:
            raise QueryError(f"k must be at least 1, received {k}")
        collection = read_collection(self._store)
        paths = collection.paths
        return (
            Neighbours(paths[row], tuple(zip([paths[n] for n in near], scores, strict=True)))
            for block in neighbour_graph(collection.vectors, k)
            for row, near, scores in zip(
                count(block.start), block.rows.tolist(), block.scores.tolist(), strict=False
            )
        )

    @property
    def classes(self) -> dict[str, int]:
        """The number of indexed images per class, sorted by class; of those that have one."""
        return self._store.values("class")

    def __len__(self) -> int:
        """Return the number of indexed images, or of tiles in a collection of them."""
        return self._store.count()

    def close(self) -> None:
        """Close the store. May be called twice."""
        self._store.close()

    def __exit__(self, *_: object) -> None:
        """Close at the end of a ``with`` block."""
        self.close()


def _part(crop: CropLike | None) -> Crop | None:
    return None if crop is None else parse_crop(crop)

"""Lists indexed images without a query, of a class, an expression or an area; counts facets."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated

import numpy as np
from fastapi import Query
from numpy.typing import NDArray

from geosim.ingest.conditions import Condition
from geosim.ingest.schema import CollectionInfo, Filter
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently
from geosim.search.facets import read_facets
from geosim.search.fields import field_names
from geosim.search.graph.layout import ids_of, texts_of
from geosim.search.scope import open_scope
from geosim.search.types import SearchOptions
from geosim.search.web.answers import FacetAnswer, FacetsAnswer, ListAnswer, ListedImage
from geosim.search.web.models import MAX_FACETS, FacetParameters, ListParameters
from geosim.trainer.errors import NoMatchError

KEPT_LISTS = 8
"""Lists that stay in memory, 16 bytes for each image: a page is then read without the others."""

_Key = tuple[str | None, str | None, str | None]


class Browser:
    """The lists of one collection. Thread-safe."""

    def __init__(self, store: VectorStore, inside: Callable[[str], Condition]) -> None:
        """``inside`` returns the condition of an area of the map."""
        self._store, self._inside = store, inside
        self._lock = threading.Lock()
        self._state: CollectionInfo | None = None
        self._lists: OrderedDict[_Key, NDArray[np.bytes_]] = OrderedDict()

    def page(self, parameters: ListParameters) -> ListAnswer:
        """Return a part of a list; a large picture that is stored in tiles is one image.

        Raises:
            ExpressionError: the expression of ``where`` cannot be read.
            QueryError: there is no such class, or ``show`` names no field.
        """
        return consistently(self._store, lambda _: self._page(parameters))

    def facets(self, parameters: Annotated[FacetParameters, Query()]) -> FacetsAnswer:
        """Count the values of the class, the data set and the facts, of the images that match.

        Numbers and dates have a least and a greatest value.
        """
        where, values = parameters.where, parameters.values
        found = consistently(
            self._store, lambda _: read_facets(self._store, where, values, MAX_FACETS)
        )
        return FacetsAnswer(facets=[FacetAnswer.model_validate(one) for one in found])

    def _page(self, parameters: ListParameters) -> ListAnswer:
        show = () if parameters.show is None else field_names(parameters.show)
        label, where, area = parameters.label, parameters.where, parameters.area
        among = None if area is None else self._inside(area)
        options = SearchOptions(label=label, where=where, show=show, among=among)
        try:
            scope = open_scope(self._store, options)
        except NoMatchError as error:
            return ListAnswer(images=[], total=0, note=str(error))
        ids = self._ids((label, where, area), scope.where)
        start = parameters.offset
        wanted = texts_of(ids[start : start + parameters.k])
        images = []
        for point in self._store.fetch(wanted, vectors=False):
            image = ListedImage.model_validate(point.payload)
            image.shown = {field.name: field.of(point.payload) for field in scope.shown}
            images.append(image)
        return ListAnswer(images=images, total=len(ids), note=None)

    def _ids(self, key: _Key, where: Filter) -> NDArray[np.bytes_]:
        """Return the ids of the images that match, sorted by path; read after every change."""
        state = self._store.info()
        with self._lock:
            if state != self._state:
                self._lists.clear()
                self._state = state
            if key in self._lists:
                self._lists.move_to_end(key)
                return self._lists[key]
        first: dict[str, str] = {}
        for batch in self._store.scan(where, vectors=False):
            for point in batch:
                path, id_ = point.payload.path, point.payload.id
                first[path] = min(id_, first.get(path, id_))
        ids = ids_of(first[path] for path in sorted(first))
        with self._lock:
            if state == self._state:
                self._lists[key] = ids
                while len(self._lists) > KEPT_LISTS:
                    self._lists.popitem(last=False)
        return ids

"""What a query is among the indexed images: itself, and the copies of its picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from geosim.ingest.schema import Filter, Payload, Point, ScoredPoint
from geosim.search.copies import MANY, Copies
from geosim.search.queries import ResolvedQuery


def known_of(query: ResolvedQuery, copies: Copies) -> list[Payload]:
    """Return the indexed images whose facts are the query's: itself, or those with its bytes."""
    if query.indexed is not None:
        return [query.indexed]
    known = [point.payload for point in copies.of(query.sha256)]
    return known if query.twin is None else [query.twin, *known]


def without(where: Filter, query: ResolvedQuery, identical: list[Point]) -> Filter:
    """Return a filter that also leaves out the query, and its copies if they are many."""
    hashes = frozenset((query.sha256,)) if len(identical) > MANY else frozenset[str]()
    return replace(
        where, exclude=query.own_ids, exclude_sha256=hashes, exclude_paths=query.own_paths
    )


def scored(identical: Iterable[Point], vector: NDArray[np.float32] | None) -> Iterator[ScoredPoint]:
    """Yield the copies of a query's picture with their scores, each once: by its best tile."""
    for _, group in groupby(identical, key=lambda point: point.payload.path):
        points = list(group)
        scores = [1.0] * len(points)
        if vector is not None and points[0].payload.box is not None:
            stored = np.stack([point.vector for point in points if point.vector is not None])
            scores = (stored @ (vector / np.linalg.norm(vector))).tolist()
        best = max(range(len(points)), key=scores.__getitem__)
        yield ScoredPoint(points[best].payload, scores[best])

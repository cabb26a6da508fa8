"""Pictures by their nearest tiles, by the groups of a Qdrant server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from geosim.ingest.schema import ScoredPoint, VectorQuery
from geosim.ingest.store.filters import translate
from geosim.ingest.store.server_terms import TERMS


def nearest_pictures(
    ask: Callable[..., Any], query: VectorQuery, limit: int, parameters: Any
) -> list[ScoredPoint]:
    """Return the nearest tile of each of up to ``limit`` nearest pictures.

    ``ask`` sends `QdrantClient.query_points_groups` of the collection, with the ``parameters`` of a
    search. A server's groups are a best
    effort: it returns fewer than there are where one picture has many of the nearest tiles. They
    are the nearest pictures nevertheless, so the others are asked for.
    """
    found: list[ScoredPoint] = []
    where = query.where
    while len(found) < limit:
        groups = ask(
            group_by="path",
            query=query.vector.tolist(),
            query_filter=translate(where, TERMS),
            limit=limit - len(found),
            group_size=1,
            score_threshold=query.score_threshold,
            with_payload=True,
            search_params=parameters,
        ).groups
        fresh = [ScoredPoint.from_stored(one.payload, one.score) for g in groups for one in g.hits]
        if not fresh:
            break
        found += fresh
        paths = frozenset(one.payload.path for one in fresh)
        where = replace(where, exclude_paths=where.exclude_paths | paths)
    return found

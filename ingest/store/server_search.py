"""Searches on a server: exact, or by its index where there are many points."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from qdrant_client import models

from geosim.ingest.schema import ScoredPoint, VectorQuery
from geosim.ingest.store.filters import translate
from geosim.ingest.store.server_collection import ServerCollection
from geosim.ingest.store.server_terms import EXACT, INDEXED, TERMS

EXACT_POINTS = 1_000_000
"""Points up to which every search is exact. At this number one took 55 ms of a core; the index took
2.5 ms and missed 4 % of the hits of a class (``tests/benches/RESULTS.md``)."""

RECOUNT_SECONDS = 60.0
"""Time after which the number of points is asked again that `EXACT_POINTS` is compared with."""


class ServerSearch:
    """Searches in one collection."""

    def __init__(self, whole: ServerCollection) -> None:
        self._send, self._name = whole.send, whole.name
        self._is_large, self._recount = False, -math.inf

    def approximates(self) -> bool:
        """Return whether the index answers queries that need not be exact."""
        now = time.monotonic()
        if now >= self._recount:
            stored = self._send(lambda client: client.get_collection(self._name))
            self._is_large = (stored.points_count or 0) > EXACT_POINTS
            self._recount = now + RECOUNT_SECONDS
        return self._is_large

    def nearest(self, queries: Sequence[VectorQuery], limit: int) -> list[list[ScoredPoint]]:
        """Return up to ``limit`` nearest points of each query, ties in any order."""
        requests = [
            models.QueryRequest(
                query=query.vector.tolist(),
                filter=translate(query.where, TERMS),
                limit=limit,
                score_threshold=query.score_threshold,
                with_payload=True,
                params=self._parameters(query),
            )
            for query in queries
        ]
        answers = self._send(lambda client: client.query_batch_points(self._name, requests))
        return [
            [ScoredPoint.from_stored(one.payload, one.score) for one in a.points] for a in answers
        ]

    def nearest_pictures(self, query: VectorQuery, limit: int) -> list[ScoredPoint]:
        """Return the nearest tile of each of up to ``limit`` nearest pictures.

        A server's groups are a best effort: it returns fewer than there are where one picture has
        many of the nearest tiles. They are the nearest pictures nevertheless, so the others are
        asked for.
        """
        found: list[ScoredPoint] = []
        where = query.where
        while len(found) < limit:
            groups = self._groups(replace(query, where=where), limit - len(found))
            hits = [
                ScoredPoint.from_stored(one.payload, one.score) for g in groups for one in g.hits
            ]
            if not hits:
                break
            found += hits
            paths = frozenset(one.payload.path for one in hits)
            where = replace(where, exclude_paths=where.exclude_paths | paths)
        return found

    def _groups(self, query: VectorQuery, limit: int) -> list[models.PointGroup]:
        answer = self._send(
            lambda client: client.query_points_groups(
                self._name,
                group_by="path",
                query=query.vector.tolist(),
                query_filter=translate(query.where, TERMS),
                limit=limit,
                group_size=1,
                score_threshold=query.score_threshold,
                with_payload=True,
                search_params=self._parameters(query),
            )
        )
        return answer.groups

    def _parameters(self, query: VectorQuery) -> models.SearchParams:
        return EXACT if query.exact or not self.approximates() else INDEXED

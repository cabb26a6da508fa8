"""Hits to take away: as CSV or JSON like the command's, a contact sheet, or their pictures."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from math import nan

import anyio
from anyio.to_thread import run_sync
from fastapi import HTTPException, Response
from PIL import Image
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from geosim.ingest.schema import Payload, ScoredPoint
from geosim.ingest.store.base import VectorStore
from geosim.search.consistent import consistently
from geosim.search.fields import Fields, field_names
from geosim.search.render.drawing import SheetRow
from geosim.search.render.sheet import write_sheet
from geosim.search.render.table import csv_facts, render
from geosim.search.types import Hit, Result, ranked_hits
from geosim.search.web.archive import archive
from geosim.search.web.models import TakeAway
from geosim.search.web.pictures import Thumbnails
from geosim.search.web.service import SearchService
from geosim.trainer.errors import ImageError

MAX_DRAWN = 300
"""Hits on a contact sheet: ten pages, or a picture of 20 million pixels."""

SIDE = 256
"""Pixels of the longer side at which pictures are drawn."""

AT_ONCE = 2
"""Archives that are sent at once; others wait. Contact sheets are drawn one at a time."""

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "pdf": "application/pdf",
    "zip": "application/zip",
}

Found = Sequence[tuple[Hit, Payload]]


class TakeAways:
    """Makes files of hits of one collection."""

    def __init__(self, store: VectorStore, service: SearchService, thumbnails: Thumbnails) -> None:
        self._store, self._service, self._thumbnails = store, service, thumbnails
        self._packing = anyio.CapacityLimiter(AT_ONCE)
        self._drawing = anyio.CapacityLimiter(1)

    async def take_away(self, wanted: TakeAway) -> Response:
        """Return hits as a file: a table as of `geosim search`, a contact sheet, or an archive.

        The archive has the files as they are, with their metadata. A picture that is not on this
        machine, or was changed since it was indexed, is named in the hits.csv inside of it.
        """
        form = wanted.format
        if form in ("png", "pdf") and len(wanted.hits) > MAX_DRAWN:
            text = f"a contact sheet has at most {MAX_DRAWN} hits, received {len(wanted.hits):,}"
            raise HTTPException(422, text)
        result, found = await run_sync(self._read, wanted)
        headers = {"Content-Disposition": f'attachment; filename="geosim-hits.{form}"'}
        answer = partial(StreamingResponse, media_type=MEDIA_TYPES[form], headers=headers)
        if form == "zip":
            return answer(self._archive(found))
        if form in ("png", "pdf"):
            draw = partial(self._sheet, result, found, form.upper())
            return answer(iter([await run_sync(draw, limiter=self._drawing)]))
        show = _names(wanted.show)
        facts = await run_sync(csv_facts, self._store, show)
        explanation = None
        if wanted.uploaded is not None:
            explanation = await run_sync(self._service.explain, wanted.uploaded)
        return answer(render([(result, explanation)], form, show, facts))

    def _read(self, wanted: TakeAway) -> tuple[Result, Found]:
        return consistently(self._store, lambda _: self._found(wanted))

    def _found(self, wanted: TakeAway) -> tuple[Result, Found]:
        """Return the hits as the result of a search, and each with its payload.

        Raises:
            HTTPException: an image is unknown.
            QueryError: ``show`` names no field.
        """
        fields, names = Fields(self._store), _names(wanted.show)
        shown = [fields.find(one) for one in dict.fromkeys(names)]
        query = [] if wanted.query is None else [wanted.query]
        points = self._service.points([*query, *(one.id for one in wanted.hits)])
        found = []
        for rank, one in enumerate(wanted.hits, 1):
            payload = points[one.id].payload
            (hit,) = ranked_hits([ScoredPoint(payload, 0.0)], wanted.sha256, None, shown)
            score = nan if one.score is None else one.score
            found.append((replace(hit, rank=rank, score=score), payload))
        indexed = points[query[0]].payload if query else None
        name = wanted.name or (indexed.path if indexed else "")
        return Result(name, tuple(hit for hit, _ in found), indexed), found

    async def _archive(self, found: Found) -> AsyncIterator[bytes]:
        async with self._packing:
            async for block in iterate_in_threadpool(archive(found, self._thumbnails.read)):
                yield block

    def _sheet(self, result: Result, found: Found, kind: str) -> bytes:
        query, buffer = result.indexed, io.BytesIO()
        picture = None if query is None else self._picture(query)
        hits = [(hit, self._picture(payload)) for hit, payload in found]
        label = None if query is None else query.label
        write_sheet([SheetRow(result.query, label, picture, hits)], buffer, kind)
        return buffer.getvalue()

    def _picture(self, payload: Payload) -> Image.Image | None:
        try:
            return Image.open(io.BytesIO(self._thumbnails.get(payload, SIDE)))
        except (ImageError, HTTPException):
            return None


def _names(show: str | None) -> tuple[str, ...]:
    return () if show is None else field_names(show)

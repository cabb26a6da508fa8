"""The routes for what comes after an answer: to take hits away, to mark them, to list images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response
from starlette.responses import StreamingResponse

from geosim.ingest.conditions import Condition
from geosim.ingest.store.base import VectorStore
from geosim.search.marks import RIGHT, WRONG, Mark
from geosim.search.web.answers import ListAnswer, MarksAnswer
from geosim.search.web.browse import Browser
from geosim.search.web.models import GivenMark, ListParameters
from geosim.search.web.pictures import Thumbnails
from geosim.search.web.service import SearchService
from geosim.search.web.takeaway import MEDIA_TYPES, TakeAways
from geosim.trainer.errors import StoreError
from geosim.trainer.text import printable

_log = logging.getLogger("uvicorn.error")

TAKE_PATH = "/api/take-away"

TAKE_BODY = (2**20, 10.0)
"""Bytes and seconds of a request for `MAX_TAKEN` hits of some 70 bytes each."""


class HitRoutes:
    """These routes of one collection; methods that are not ``async`` run in worker threads."""

    def __init__(
        self,
        store: VectorStore,
        service: SearchService,
        thumbnails: Thumbnails,
        inside: Callable[[str], Condition],
    ) -> None:
        """``inside`` returns the condition of an area of the map."""
        self._service = service
        self._browser = Browser(store, inside)
        self._take_aways = TakeAways(store, service, thumbnails)

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to those below ``/api``."""
        binary = {"schema": {"type": "string", "format": "binary"}}
        kinds: dict[str, Any] = {kind.partition(";")[0]: binary for kind in MEDIA_TYPES.values()}
        kinds["application/json"] = {"schema": {"type": "array", "items": {"type": "object"}}}
        files: dict[int | str, Any] = {200: {"content": kinds, "description": "The file."}}
        table: dict[int | str, Any] = {200: {"content": {"text/csv": {}}, "description": "A CSV."}}
        router.get("/facets")(self._browser.facets)
        router.get("/images")(self.images)
        router.post("/take-away", response_class=Response, responses=files)(
            self._take_aways.take_away
        )
        router.post("/marks")(self.mark)
        router.get("/marks", response_class=Response, responses=table)(self.marks)

    def images(self, parameters: Annotated[ListParameters, Query()]) -> ListAnswer:
        """List the images of a class, an expression or an area of the map, by path, in pages."""
        return self._browser.page(parameters)

    def mark(self, given: GivenMark) -> MarksAnswer:
        """Mark a hit as right or wrong for a query; it is kept beside the collection."""
        hit = self._service.points([given.id])[given.id].payload
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        mark = Mark(given.query, given.name, hit.path, hit.label, given.mark, now)
        with _told():
            counts = Counter(self._service.marks.set(mark).values())
        return MarksAnswer(right=counts[RIGHT], wrong=counts[WRONG])

    def marks(self) -> Response:
        """Return all marks as CSV."""
        headers = {"Content-Disposition": 'attachment; filename="geosim-marks.csv"'}
        with _told():
            lines = self._service.marks.csv()
        return StreamingResponse(lines, media_type=MEDIA_TYPES["csv"], headers=headers)


@contextmanager
def _told() -> Iterator[None]:
    """Tell why marks cannot be read or written without the paths of this machine."""
    try:
        yield
    except StoreError as error:
        _log.error("%s", printable(str(error)))
        text = "marks cannot be read or written at the moment; the server's log says why"
        raise HTTPException(503, text) from None

"""The revision of a collection on a server, and counts that are kept with it in its metadata.

To count millions of points takes seconds, so who wrote keeps the counts. They are of one revision.
They are not taken where another number of points is stored now, as a key may write points that may
not change the metadata.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from geosim.ingest.store.server_collection import REVISION_KEY, ServerCollection
from geosim.trainer.errors import StoreDeniedError, StoreError

COUNTS_KEY = "geosim-counts"
"""Key of the counts in a collection's metadata: JSON as text, in ASCII."""

COUNTED = ("class", "dataset")
"""Fields whose values are counted."""

MOST_VALUES = 2000
"""Values of a field beyond which no counts are kept: every reader of the metadata gets them."""


class Revision:
    """The revision of one collection; begin and end the writing of one store."""

    def __init__(self, whole: ServerCollection) -> None:
        self._whole = whole
        self._began = ""

    def begin(self) -> None:
        """Set another revision: the collection changes."""
        self._began = self._set({})

    def end(self, count: Callable[[], dict[str, Any]], *, patient: bool) -> None:
        """Set another revision, and keep what ``count`` returns: ``points``, and each of `COUNTED`.

        What was read meanwhile is not the state that stays. Nothing is kept if another process
        began to write meanwhile. For ``patient`` see `Connection.send`.
        """
        found: dict[str, Any] | None = None
        with suppress(StoreError):  # a lost server
            found = count()
            alone = self._whole.metadata().get(REVISION_KEY) == self._began
            if not alone or any(len(found[field]) > MOST_VALUES for field in COUNTED):
                found = None
        self._set({} if found is None else found, patient=patient)

    def counts(self) -> dict[str, Any]:
        """Return the counts of the collection as it is; none where they are not known."""
        stored = self._whole.stored()
        if stored is not None:
            metadata = stored.config.metadata or {}
            with suppress(ValueError, TypeError, KeyError):
                found: dict[str, Any] = json.loads(metadata[COUNTS_KEY])
                if (found["of"], found["points"]) == (metadata[REVISION_KEY], stored.points_count):
                    return found
        return {}

    def _set(self, counts: dict[str, Any], *, patient: bool = True) -> str:
        """Set another revision; a key may write points all the same that may not do this."""
        revision = uuid.uuid4().hex
        kept = {COUNTS_KEY: json.dumps({"of": revision, **counts})} if counts else {}
        with suppress(StoreDeniedError):
            self._whole.change({REVISION_KEY: revision, **kept}, patient=patient)
        return revision

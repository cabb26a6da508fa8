"""Snapshots that killed backups left on a server, found by notes in the collection's metadata.

A note is there while a backup runs. The name of its snapshot is not known before the server has
written it; until then it is the one that was begun right after the note. Times are the server's.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx

from geosim.ingest.machine import running_system
from geosim.ingest.store.server_collection import ServerCollection
from geosim.trainer.errors import StoreDeniedError
from geosim.trainer.locks import is_alive

NOTE_KEY = "geosim-snapshot:"
"""Start of the keys of notes in a collection's metadata; a token follows. The value is JSON."""

BEGUN_S = 5.0
"""Seconds within which the snapshot of a note is begun."""

LONGEST_S = 24 * 3600.0
"""Seconds after which a backup of another machine counts as killed."""

BEGUN = re.compile(r"-(\d{4}(?:-\d\d){5})\.snapshot")
"""End of the name of a snapshot: when it was begun, in UTC."""


class Note:
    """The note of one backup, which takes its snapshot of a collection by a client of HTTP."""

    def __init__(self, whole: ServerCollection, http: httpx.Client) -> None:
        """Remove what killed backups left, and write the note."""
        self._whole, self._http = whole, http
        self._place = f"/collections/{quote(whole.name, safe='')}/snapshots"
        self._key = f"{NOTE_KEY}{uuid.uuid4().hex}"
        there, now = self._list()
        for key, note in self._notes():
            if _has_ended(note, now):
                for name in _names(note, there):
                    self.delete(name)
                self._write(key, None)
        owner = {"pid": os.getpid(), "system": running_system(), "since": now}
        self._fields = {**owner, "before": there}
        self._write(self._key, self._fields)

    def name(self, snapshot: str) -> None:
        """Note the name of the snapshot."""
        self._write(self._key, {**self._fields, "before": [], "name": snapshot})

    def remove(self) -> None:
        """Remove the note."""
        self._write(self._key, None)

    def delete(self, snapshot: str) -> None:
        """Delete a snapshot, if it is there and the server answers."""
        with suppress(httpx.HTTPError):
            self._http.delete(f"{self._place}/{quote(snapshot, safe='')}")

    def _list(self) -> tuple[list[str], float]:
        """Return the names of the snapshots on the server, and the time there in seconds."""
        answer = self._http.get(self._place)
        names = [one["name"] for one in answer.json()["result"]] if answer.is_success else []
        date = answer.headers.get("date")
        now = datetime.now(timezone.utc) if date is None else parsedate_to_datetime(date)
        return names, now.timestamp()

    def _notes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, text in self._whole.metadata().items():
            if key.startswith(NOTE_KEY) and text is not None:
                with suppress(ValueError, TypeError):
                    yield key, dict(json.loads(text))

    def _write(self, key: str, note: Mapping[str, Any] | None) -> None:
        with suppress(StoreDeniedError):
            self._whole.change({key: None if note is None else json.dumps(note)})


def _has_ended(note: Mapping[str, Any], now: float) -> bool:
    """Return whether the backup of a note was killed, as far as this process can know."""
    with suppress(KeyError, TypeError, ValueError):
        here = note["system"] != "" and note["system"] == running_system()
        return not is_alive(note["pid"]) if here else now - note["since"] > LONGEST_S
    return False


def _names(note: Mapping[str, Any], there: list[str]) -> list[str]:
    """Return the snapshot of a note; nothing where it is not there, or may be another's."""
    if "name" in note:
        return [str(note["name"])]
    found = []
    for name in there:
        begun = BEGUN.search(name)
        if begun is not None and name not in note["before"]:
            time = datetime.strptime(begun[1] + "+0000", "%Y-%m-%d-%H-%M-%S%z")
            if 0 <= time.timestamp() - int(note["since"]) <= BEGUN_S:
                found.append(name)
    return found if len(found) == 1 else []

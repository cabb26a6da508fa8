"""Marks of hits as right or wrong answers to a query, kept beside a collection, not in it.

They are in ``<working>/marks/<collection>.json``, also those of a collection on a server. A mark
belongs to a query, which `query_digest` identifies, and to the stored path of a hit, so it outlives
a new ingest. Any number of processes may write: each reads the file and replaces it under a lock.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from geosim.ingest.marks_file import marks_file, marks_locked
from geosim.search.queries import ResolvedQuery
from geosim.search.spreadsheet import csv_lines
from geosim.trainer.errors import QueryError, StoreError
from geosim.trainer.files import replacing
from geosim.trainer.working import Working

Verdict = Literal["right", "wrong"]
RIGHT: Verdict = "right"
WRONG: Verdict = "wrong"

MAX_MARKS = 50_000
"""Marks of a collection: 12 MB, which are written anew with each."""

COLUMNS = ("query", "query_name", "path", "class", "mark", "marked")
"""Columns of the CSV; ``query`` is the digest, ``marked`` the moment in UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of one hit.

    Attributes:
        query: digest of the query.
        name: what the query was called, for people; may be empty.
        path: stored path of the hit.
        label: its class; empty without one.
        verdict: `RIGHT` or `WRONG`; None takes a mark back.
        marked: when, ISO 8601 in UTC.
    """

    query: str
    name: str
    path: str
    label: str
    verdict: Verdict | None
    marked: str


class Marks:
    """The marks of one collection. Thread-safe."""

    def __init__(self, working: Working, collection: str) -> None:
        self._path = marks_file(working, collection)
        self._lock = threading.Lock()
        self._known: tuple[object, dict[str, dict[str, Mark]]] = None, {}

    def of(self, query: str) -> dict[str, Verdict]:
        """Return the marks of a query's hits: stored path -> `RIGHT` or `WRONG`.

        Raises:
            StoreError: the file is damaged.
        """
        with self._lock:
            return _verdicts(self._read().get(query, {}))

    def set(self, mark: Mark) -> dict[str, Verdict]:
        """Add, change or take back a mark; return those of its query, as `of` does.

        Raises:
            QueryError: there are `MAX_MARKS`.
            StoreError: the file is damaged or cannot be written; it is left as it is.
        """
        try:
            with self._lock, marks_locked(self._path):
                marks = self._read()
                own = dict(marks.get(mark.query, {}))
                own.pop(mark.path, None)
                if mark.verdict:
                    own[mark.path] = mark
                marks = {**marks, mark.query: own}
                every = [asdict(one) for many in marks.values() for one in many.values()]
                if len(every) > MAX_MARKS:
                    raise QueryError(
                        f"there are {MAX_MARKS:,} marks, the most that are kept; save them as CSV "
                        f"and move {self._path.name} away"
                    )
                with replacing(self._path) as temporary:
                    temporary.write_bytes(orjson.dumps({"marks": every}))
        except OSError as error:
            raise StoreError(f"marks cannot be written to {self._path}: {error}") from error
        return _verdicts(own)

    def csv(self) -> Iterator[str]:
        """Yield all marks as lines of CSV, those of a query together.

        Raises:
            StoreError: the file is damaged; raised at the call.
        """
        with self._lock:
            every = [one for many in self._read().values() for one in many.values()]
        rows = ((o.query, o.name, o.path, o.label, o.verdict, o.marked) for o in every)
        return csv_lines(COLUMNS, rows)

    def _read(self) -> dict[str, dict[str, Mark]]:
        """Return the marks by query and path; those in memory if the file is the same."""
        try:
            status = self._path.stat()
            version = status.st_mtime_ns, status.st_ino, status.st_size
            if version != self._known[0]:
                marks: dict[str, dict[str, Mark]] = {}
                for fields in orjson.loads(self._path.read_bytes())["marks"]:
                    mark = _mark(fields)
                    marks.setdefault(mark.query, {})[mark.path] = mark
                self._known = version, marks
        except FileNotFoundError:
            self._known = None, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"the marks in {self._path} cannot be read: {error}; move that file away"
            ) from error
        return self._known[1]


def _mark(fields: Mapping[str, Any]) -> Mark:
    """Return a stored mark; raise ValueError or what a lookup does if it is none."""
    if fields["verdict"] not in (RIGHT, WRONG):
        raise ValueError(f"a mark is right or wrong, received {fields['verdict']!r}")
    return Mark(**{name: str(value) for name, value in fields.items()})  # type: ignore[arg-type]


def _verdicts(marks: Mapping[str, Mark]) -> dict[str, Verdict]:
    return {path: one.verdict for path, one in marks.items() if one.verdict}


def query_digest(positive: Sequence[ResolvedQuery], negative: Sequence[ResolvedQuery] = ()) -> str:
    """Return the hex SHA-256 by which the marks of a query are kept.

    It is that of the file of one picture, of a part that of the part; of several examples it does
    not depend on their order.
    """
    likes, others = sorted(map(_digest, positive)), sorted(map(_digest, negative))
    if len(likes) == 1 and not others:
        return likes[0]
    return _sha256(*(f"+{one}" for one in likes), *(f"-{one}" for one in others))


def wrong_of(marks: Mapping[str, Verdict]) -> frozenset[str]:
    """Return the stored paths that are marked as wrong, of what `Marks.of` returns."""
    return frozenset(path for path, verdict in marks.items() if verdict == WRONG)


def _digest(query: ResolvedQuery) -> str:
    if query.sha256 or query.vector is None:
        return query.sha256 or _sha256(query.text)
    return hashlib.sha256(query.vector.astype("<f4").tobytes()).hexdigest()


def _sha256(*lines: str) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

"""The cache of features on disk, by the content of the images and the version of the decoder.

A row holds the features of the first views of an image (`trainer/data/views.py`), one or more.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data.dataset import blocks
from geosim.trainer.data.views import views_digest
from geosim.trainer.decoding.account import CONVERTED, PLAIN, Decoding
from geosim.trainer.disk import FAULTS, explain, require_room
from geosim.trainer.errors import ModelError
from geosim.trainer.files import READ_ONLY

_DISK_ERRORS = ("database or disk is full", "disk I/O error")  # of SQLite
_ROOM = 2**20  # bytes, more than a transaction of one batch of images

_SQL_KEYS = 512  # keys per SELECT; old SQLite versions accept 999 variables


_decoding = cache(Decoding)  # one for all images that were decoded alike


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one image."""

    vector: NDArray[np.float32]  # (views * feature_width,), as `rounded` returns it
    width: int  # of the original image in pixels
    height: int
    decoding: Decoding = field(default_factory=Decoding)


def rounded(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return features of views, ``(..., views * width)``, as the cache keeps them.

    Those of the first view are float32. Those of the others are rounded as by `half`, whether they
    come from the cache or not.
    """
    kept = vectors.copy()
    kept[..., width:] = half(kept[..., width:])
    return kept


def half(vectors: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return numbers as float16, those beyond its range as its largest number."""
    most = np.finfo(np.float16).max
    return np.clip(vectors, -most, most).astype(np.float16)


class FeatureCache:
    """Features by content hash, in one SQLite file per backbone fingerprint.

    A row with more views than ``views`` is read in part, one with fewer counts as missing, as does
    one of another table of views if more than the first is asked for. A row is never replaced by a
    shorter one that is no newer. Rows of earlier versions hold the first view.

    Features of another version of the decoder are not returned. Those that note none are of an
    earlier version of geosim, and as good as new for a picture that is decoded the plain way.

    Each batch is one transaction in a write-ahead log: a killed process loses only the batches
    that are not stored yet. Several processes may share the file. Where the folder or the file
    cannot be written, the cache is in memory.
    """

    def __init__(
        self, folder: Path, spec: BackboneSpec, fingerprint: str, *, views: int = 1
    ) -> None:
        self.path = folder / f"{spec.name}-{fingerprint[:16]}.sqlite"
        self._width = spec.feature_width
        self._views = views
        self._table = views_digest()
        with self._translate_errors():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # SQLite fails at once where two processes turn on the log at the same time.
                with FileLock(self.path.with_suffix(".lock")), self.path.open("ab"):
                    self._open(self.path)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                self._open(":memory:")

    def _open(self, path: Path | str) -> None:
        self._database = sqlite3.connect(path, timeout=60.0)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS features (sha256 BLOB PRIMARY KEY, "
                "width INTEGER NOT NULL, height INTEGER NOT NULL, vector BLOB NOT NULL)"
            )
            columns = {row[1] for row in self._database.execute("PRAGMA table_info(features)")}
            with self._database:
                for name in ("decoder INTEGER", "scaled_from TEXT", "views TEXT"):
                    if name.split()[0] not in columns:
                        self._database.execute(f"ALTER TABLE features ADD COLUMN {name}")
                self._database.execute(
                    "CREATE INDEX IF NOT EXISTS former ON features (sha256) WHERE decoder IS NULL"
                )
        except BaseException:
            self._database.close()
            raise

    def get(self, digests: Iterable[str], *, former: bool = False) -> dict[str, Features]:
        """Return the cached features of ``digests``, hex SHA-256 of the images' bytes.

        ``former`` asks for those that note no decoder instead.
        """
        where = "decoder IS NULL" if former else f"decoder IN ({PLAIN}, {CONVERTED})"
        size = self._bytes(self._views)
        found: dict[str, Features] = {}
        with self._translate_errors():
            for keys in blocks(dict.fromkeys(digests), _SQL_KEYS):
                marks = ",".join("?" * len(keys))
                rows = self._database.execute(
                    "SELECT sha256, length(vector), views, substr(vector, 1, ?), width, height, "  # noqa: S608
                    f"decoder, scaled_from FROM features WHERE sha256 IN ({marks}) AND {where}",
                    [size, *(bytes.fromhex(key) for key in keys)],
                )
                for digest, length, table, blob, width, height, *how in rows:
                    whole = (length - self._bytes(1)) % self._bytes_of_another == 0
                    known = self._views == 1 or table == self._table
                    if len(blob) == size and whole and known:
                        vector = self._unpacked(blob)
                        found[digest.hex()] = Features(vector, width, height, _decoding(*how))
        return found

    def former(self) -> frozenset[str]:
        """Return the digests of all features that note no decoder."""
        with self._translate_errors():
            rows = self._database.execute("SELECT sha256 FROM features WHERE decoder IS NULL")
            return frozenset(row[0].hex() for row in rows)

    def put(self, features: dict[str, Features]) -> None:
        """Store features by content hash in one transaction."""
        rows = [
            (
                bytes.fromhex(digest),
                one.width,
                one.height,
                self._packed(one.vector),
                one.decoding.decoder,
                one.decoding.scaled_from,
                self._table if len(one.vector) > self._width else None,
            )
            for digest, one in features.items()
        ]
        with self._translate_errors(), self._database:
            self._database.executemany(
                "INSERT INTO features (sha256, width, height, vector, decoder, scaled_from, views) "
                "VALUES (?,?,?,?,?,?,?) ON CONFLICT (sha256) DO UPDATE SET width=excluded.width, "
                "height=excluded.height, vector=excluded.vector, decoder=excluded.decoder, "
                "scaled_from=excluded.scaled_from, views=excluded.views "
                "WHERE length(excluded.vector) >= length(vector) "
                "OR excluded.decoder IS NOT decoder "
                "OR (excluded.views IS NOT NULL AND excluded.views IS NOT views)",
                rows,
            )

    @property
    def _bytes_of_another(self) -> int:
        return self._width * 2

    def _bytes(self, views: int) -> int:
        return self._width * 4 + (views - 1) * self._bytes_of_another

    def _packed(self, vector: NDArray[np.float32]) -> bytes:
        first, others = vector[: self._width], vector[self._width :]
        return first.astype("<f4").tobytes() + others.astype("<f2").tobytes()

    def _unpacked(self, blob: bytes) -> NDArray[np.float32]:
        first = np.frombuffer(blob, "<f4", self._width)
        if self._views == 1:
            return first
        others = np.frombuffer(blob, "<f2", offset=self._bytes(1))
        return np.concatenate([first, others.astype(np.float32)])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"the feature cache {self.path} cannot be used: {self._reason(error)}"
            ) from error

    def _reason(self, error: sqlite3.Error | OSError) -> str:
        """Return what is wrong and its remedy; SQLite tells some faults of a disk alike."""
        if isinstance(error, sqlite3.DatabaseError) and str(error) in _DISK_ERRORS:
            try:
                require_room(self.path.parent, _ROOM)
                error = OSError(errno.EIO, str(error))
            except OSError as fault:
                error = fault
        if isinstance(error, OSError) and error.errno in FAULTS:
            return explain(error, self.path)
        return f"{error}; delete the file to have it made again"

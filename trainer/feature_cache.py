"""The cache of features on disk, by the content of the images and the version of the decoder."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import BackboneSpec
from geosim.trainer.data.dataset import blocks
from geosim.trainer.decoding.account import CONVERTED, PLAIN, Decoding
from geosim.trainer.disk import FAULTS, explain, require_room
from geosim.trainer.errors import ModelError
from geosim.trainer.files import READ_ONLY

_DISK_ERRORS = ("database or disk is full", "disk I/O error")  # of SQLite
_ROOM = 2**20  # bytes, more than a transaction of one batch of images

_SQL_KEYS = 512  # keys per SELECT; old SQLite versions accept 999 variables


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one image."""

    vector: NDArray[np.float32]  # (feature_width,)
    width: int  # of the original image in pixels
    height: int
    decoding: Decoding = field(default_factory=Decoding)


class FeatureCache:
    """Features by content hash, in one SQLite file per backbone fingerprint.

    Features of another version of the decoder are not returned. Those that note none are of an
    earlier version of geosim, and as good as new for a picture that is decoded the plain way.

    Each batch is one transaction in a write-ahead log: a killed process loses only the batches
    that are not stored yet. Several processes may share the file. Where the folder or the file
    cannot be written, the cache is in memory.
    """

    def __init__(self, folder: Path, spec: BackboneSpec, fingerprint: str) -> None:
        self.path = folder / f"{spec.name}-{fingerprint[:16]}.sqlite"
        self._bytes = spec.feature_width * 4
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
                for name in ("decoder INTEGER", "scaled_from TEXT"):
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
        found: dict[str, Features] = {}
        with self._translate_errors():
            for keys in blocks(dict.fromkeys(digests), _SQL_KEYS):
                marks = ",".join("?" * len(keys))
                rows = self._database.execute(
                    "SELECT sha256, width, height, vector, decoder, scaled_from FROM features "  # noqa: S608
                    f"WHERE sha256 IN ({marks}) AND {where}",
                    [bytes.fromhex(key) for key in keys],
                )
                for digest, width, height, blob, *how in rows:
                    if len(blob) == self._bytes:
                        vector = np.frombuffer(blob, dtype="<f4")
                        found[digest.hex()] = Features(vector, width, height, Decoding(*how))
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
                one.vector.astype("<f4").tobytes(),
                one.decoding.decoder,
                one.decoding.scaled_from,
            )
            for digest, one in features.items()
        ]
        with self._translate_errors(), self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO features (sha256, width, height, vector, decoder, "
                "scaled_from) VALUES (?,?,?,?,?,?)",
                rows,
            )

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

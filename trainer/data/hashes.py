"""The SHA-256 of a data set's files, kept so that a file that is unchanged is not read again.

As in git's index, a file is unchanged if its times, size and inode are. One file per data set in
``<working>/hashes``: a header, then 48 bytes per image, sorted.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from geosim.trainer.data.sources import Record, Source
from geosim.trainer.files import replacing

SETTLED_NS = 3 * 10**9
"""Age of a file's times, in nanoseconds, from which they are trusted: a later write gives it other
times. FAT has the coarsest ones, in steps of 2 s."""

KEPT_SECONDS = 90 * 24 * 3600
"""Time after which the file of a data set that was not read again is deleted."""

SAVE_SECONDS = 30.0
"""Time between two saves, so that an interrupted run has little to repeat."""

LOCK_SECONDS = 10.0
"""Seconds to wait for other processes that save parts of the same data set."""

STAT_THREADS = 4
"""Threads that ask for the files' times: a network share answers several at once."""

_HEADER = b"geosim hashes 1\n"
_ENTRY = np.dtype([("key", "<u8"), ("check", "<u8"), ("sha256", "u1", 32)])
"""``key`` and ``check`` are a hash of a file's path, times, size and inode."""

_Entries = NDArray[np.void]


class HashCache(AbstractContextManager["HashCache"]):
    """The hashes of one data set; saved at the end of a ``with`` block.

    Several processes may use it at once: the last to save wins. It is empty where the file is
    missing or damaged, and not saved where it cannot be written. After a block without an error it
    holds the files that were looked up, and no others; if they are a ``partial`` set of the data
    set's files, it keeps all that is saved meanwhile.

    A change that leaves times, size and inode alone is not seen. On POSIX the times include that of
    the last status change, which no program can set.
    """

    def __init__(
        self, folder: Path, location: Path, *, rehash: bool = False, partial: bool = False
    ) -> None:
        """Open the cache of the data set at ``location``; ``rehash`` reads nothing from it."""
        self._path, self._partial = cache_file(folder, location, ".bin"), partial
        if rehash and not partial:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._known = np.empty(0, _ENTRY) if rehash else _read(self._path)
        self._keys = np.ascontiguousarray(self._known["key"])
        self._used = np.zeros(len(self._known), dtype=np.bool_)
        self._new: list[_Entries] = []
        self._saved = time.monotonic()
        self._pool = ThreadPoolExecutor(STAT_THREADS)

    def known(self, source: Source, files: Iterable[str]) -> NDArray[np.bool_]:
        """Tell of files, given as `Record.source`, if they were hashed before and are unchanged."""
        if not len(self._known):
            return np.zeros(sum(1 for _ in files), np.bool_)
        stamps, _ = _stamps(source, (Record("", "", file) for file in files))
        return self._find(np.frombuffer(stamps, "<u8").reshape(-1, 2))[1]

    def close(self) -> None:
        """End without saving."""
        self._pool.shutdown()

    def hashes(
        self,
        source: Source,
        records: Sequence[Record],
        compute: Callable[[Sequence[Record]], Iterable[str | None]],
        progress: Callable[[int], object],
    ) -> list[str | None]:
        """Return the hex SHA-256 of each record, from the cache or from ``compute``.

        ``compute`` takes the records that are not known to be unchanged, and yields a hash or
        None for each. ``progress`` is called with the number of the others.
        """
        keys, settled = stamps_of(source, records, self._pool)
        stamps = np.frombuffer(keys, "<u8").reshape(-1, 2)
        rows, known = self._find(stamps)
        hex_digits = self._known["sha256"][rows[known]].tobytes().hex()
        self._used[rows[known]] = True
        found: list[str | None] = [None] * len(records)
        for number, row in enumerate(np.flatnonzero(known).tolist()):
            found[row] = hex_digits[64 * number : 64 * number + 64]
        progress(int(known.sum()))
        missing = np.flatnonzero(~known).tolist()
        try:
            computed = compute([records[row] for row in missing])
            for row, digest in zip(missing, computed, strict=True):
                found[row] = digest
        finally:  # an interrupted run keeps what it has
            self._add(stamps, [row for row in missing if settled[row] and found[row]], found)
        return found

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Save; after an error without forgetting the files that were not looked up."""
        self._pool.shutdown()
        self._save(complete=kind is None)

    def _find(self, stamps: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the row of each stamp, and whether it is there."""
        if not len(self._known):
            return np.zeros(len(stamps), np.intp), np.zeros(len(stamps), np.bool_)
        rows = np.searchsorted(self._keys, stamps[:, 0]).clip(max=len(self._keys) - 1)
        found = self._known[rows]
        return rows, (found["key"] == stamps[:, 0]) & (found["check"] == stamps[:, 1])

    def _add(
        self, stamps: NDArray[np.uint64], rows: list[int], hashes: Sequence[str | None]
    ) -> None:
        if rows:
            added = np.empty(len(rows), _ENTRY)
            added["key"], added["check"] = stamps[rows].T
            digests = b"".join(bytes.fromhex(hashes[row] or "") for row in rows)
            added["sha256"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
            self._new.append(added)
        if self._new and time.monotonic() - self._saved > SAVE_SECONDS:
            self._save(complete=False)

    def _save(self, *, complete: bool) -> None:
        """Write the file, beside it first; skip what cannot be written."""
        with suppress(OSError), self._turn():
            known = _read(self._path) if self._partial else self._known
            kept = known[self._used] if complete and not self._partial else known
            if not self._new and len(kept) == len(self._known):
                os.utime(self._path)  # it was used
            else:
                entries = np.concatenate([*self._new, kept])
                _, first = np.unique(entries["key"], return_index=True)
                with replacing(self._path) as temporary, temporary.open("wb") as file:
                    data = entries[first].view(np.uint8).data
                    file.write(_HEADER + hashlib.sha256(data).digest())
                    file.write(data)
            _delete_unused(self._path.parent)
        self._saved = time.monotonic()

    def _turn(self) -> AbstractContextManager[object]:
        """Return what keeps others from saving meanwhile, where that would lose theirs."""
        if not self._partial:
            return nullcontext()
        return FileLock(self._path.with_suffix(".lock"), LOCK_SECONDS)


def cache_file(folder: Path, location: Path, ending: str) -> Path:
    """Return the file in ``folder`` of what is kept of the data set at ``location``."""
    return folder / f"{hashlib.sha256(os.fsencode(location)).hexdigest()[:24]}{ending}"


def stamps_of(
    source: Source, records: Sequence[Record], pool: ThreadPoolExecutor
) -> tuple[bytes, NDArray[np.bool_]]:
    """Return 16 bytes per record, of its path and stamp, and whether its times are settled.

    The ``pool`` has `STAT_THREADS`.
    """
    step = -(-len(records) // STAT_THREADS) or 1
    parts = [records[start : start + step] for start in range(0, len(records), step)]
    asked = list(pool.map(partial(_stamps, source), parts))
    settled = np.concatenate([np.empty(0, np.bool_), *(flags for _, flags in asked)])
    return b"".join(keys for keys, _ in asked), settled


def _stamps(source: Source, records: Iterable[Record]) -> tuple[bytes, NDArray[np.bool_]]:
    now = time.time_ns()
    keys, settled = bytearray(), bytearray()
    for record in records:
        stamp = source.stamp(record)
        text = f"{record.source}\0{stamp}".encode("utf-8", "surrogatepass")
        keys += hashlib.blake2b(text, digest_size=16).digest()
        # A modification time in the future was set; a write would put it back to now.
        settled.append(
            stamp is not None and now - stamp[1] >= SETTLED_NS and abs(now - stamp[0]) >= SETTLED_NS
        )
    return bytes(keys), np.frombuffer(settled, np.bool_)


def _read(path: Path) -> _Entries:
    """Return the entries in a file; none where it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return np.empty(0, _ENTRY)
    start = len(_HEADER) + hashlib.sha256().digest_size
    header, entries = data[:start], memoryview(data)[start:]
    if header != _HEADER + hashlib.sha256(entries).digest() or len(entries) % _ENTRY.itemsize:
        return np.empty(0, _ENTRY)
    return np.frombuffer(entries, _ENTRY)


def _delete_unused(folder: Path) -> None:
    """Delete the files of data sets that were not read for `KEPT_SECONDS`."""
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > KEPT_SECONDS:
            path.unlink(missing_ok=True)

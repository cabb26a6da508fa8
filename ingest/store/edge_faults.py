"""Room that the embedded engine needs for its writes, and its errors in a user's words."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from geosim.ingest.schema import NAME_ANOTHER, Payload
from geosim.ingest.store.edge_copy import OPEN_ROOM, bytes_of_holes
from geosim.trainer.disk import FULL, explain, keeps_holes, require_room
from geosim.trainer.errors import StoreBusyError, StoreError
from geosim.trainer.files import READ_ONLY

POINT_ROOM, PAYLOAD_ROOM = 2 * 2**10, 4
"""Further bytes that must be free per point that is written or deleted, and per byte of payload.

The log, vectors, payloads and indexes of 1,024 points together grew by 0.9 MB with payloads of 185
bytes, and by 1.7 MB with 565 bytes, over 150,000 points (Qdrant Edge 0.9.0 on ext4). Replaced
points took two thirds of that, deleted ones 80 bytes each.
"""

GROWTH_ROOM = 192 * 2**20
"""Further bytes that must be free to write on a disk where holes take room: a new shard has files
of 166 MB, and grows by files of 4 and 32 MB."""

_MACHINE = (
    *(*FULL, *READ_ONLY, errno.EIO, errno.EFBIG),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY),
)
"""Codes of errors of the machine, which say nothing about the files."""


_redirecting = threading.Lock()


def bytes_to_write(shard: Path, points: int, payloads: Sequence[Payload]) -> int:
    """Return the bytes that must be free to write or delete so many points, with these payloads."""
    content = sum(len(json.dumps(payload.to_dict())) for payload in payloads)
    needed = OPEN_ROOM + POINT_ROOM * points + PAYLOAD_ROOM * content
    if not keeps_holes(shard.parent):
        needed += GROWTH_ROOM + bytes_of_holes(shard, shard.parent)
    return needed


def busy_error(name: str, folder: Path, holder: str) -> StoreBusyError:
    """Return the error to raise where another process holds a collection."""
    return StoreBusyError(
        f"collection {name!r} in {folder} is open in {holder}; wait until that one ends, wait "
        "longer with --wait SECONDS, or share the collection through a server (--qdrant URL)"
    )


def write_error(error: OSError, name: str, folder: Path, needed: int) -> StoreError:
    """Return the error to raise where a collection's files cannot be written.

    ``needed`` is the room that a write needs in bytes.
    """
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        return StoreError(
            f"cannot write to collection {name!r} in {folder}, which needs "
            f"{needed / 1e6:,.1f} MB now: {explain(error, folder)}. What it holds is kept"
        )
    return StoreError(
        f"cannot write to {folder}, or read all of it: {explain(error, folder)}{where}; name a "
        "writable folder with --working or --qdrant"
    )


def is_fault(error: BaseException) -> bool:
    """Return whether the engine raises this for a fault: a bare ``Exception``, or a panic."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def engine_error(error: BaseException, shard: Path, metadata: Path) -> StoreError:
    """Return the error to raise for an error of the engine: of the machine, or of the files."""
    reason = " ".join(str(error).replace("Service runtime error: ", "").split())
    code = re.search(r"\(os error (\d+)\)", reason)
    fault = OSError(int(code[1]), os.strerror(int(code[1]))) if code else None
    if fault is None or fault.errno not in _MACHINE:
        try:
            require_room(shard.parent, OPEN_ROOM)
        except OSError as full:
            fault = full
    if fault is not None and fault.errno in _MACHINE:
        return StoreError(
            f"cannot use collection {shard.name!r} in {shard.parent}: "
            f"{explain(fault, shard.parent)}. What it holds is kept"
        )
    reason = reason.replace(f"{shard}{os.sep}", "")[:300]
    if re.search("newer than application version|not compatible with current", reason):
        return StoreError(
            f"collection {shard.name!r} in {shard.parent} was written by another version of the "
            f"engine ({reason}); install that version of qdrant-edge-py, or {NAME_ANOTHER}. "
            "What it holds is kept"
        )
    return StoreError(
        f"collection {shard.name!r} in {shard.parent} is damaged ({reason}); restore it from a "
        f"backup, or move {shard} and {metadata.name} away and ingest again"
    )


@contextmanager
def panic_hidden() -> Iterator[None]:
    """Hide what Rust writes to file descriptor 2 when it panics, before it raises the reason."""
    with _redirecting:
        sys.stderr.flush()
        stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(nowhere)

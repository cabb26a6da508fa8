"""Private copies of an embedded collection, in the system's folder for temporary files."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from geosim.trainer.disk import keeps_holes, require_room
from geosim.trainer.files import allocated_bytes, copy_sparse
from geosim.trainer.temporary import private_folder

OPEN_ROOM = 4 * 2**20
"""Bytes that must be free to open or change a shard.

The engine writes to memory maps of sparse files: where the disk is full, the system ends the
process. Creating a shard took 0.2 MB; opening one after a killed upsert of 1,024 points up to 2 MB.
"""


class PrivateCopy:
    """A copy of a shard and of its metadata; deleted by `close`, or after a kill by a later one.

    Attributes:
        folder: a folder of the embedded engine with this collection alone.
    """

    def __init__(self, shard: Path, metadata: Path, parent: Path) -> None:
        """Copy below ``parent``; no process may have the shard open. Raise OSError without room."""
        size = allocated_bytes(shard) + bytes_of_holes(shard, parent)
        require_room(parent, OPEN_ROOM + size)
        with ExitStack() as stack:
            self.folder = stack.enter_context(private_folder(parent))
            copy_sparse(shard, self.folder / shard.name)
            shutil.copyfile(metadata, self.folder / metadata.name)
            self._folder = stack.pop_all()

    def close(self) -> None:
        """Delete the copy; safe to call twice."""
        self._folder.close()


def bytes_of_holes(shard: Path, folder: Path) -> int:
    """Return the bytes that the shard's holes take on the disk of ``folder``."""
    if keeps_holes(folder) or not shard.exists():
        return 0
    sizes = (path.stat().st_size for path in shard.rglob("*") if path.is_file())
    return max(0, sum(sizes) - allocated_bytes(shard))

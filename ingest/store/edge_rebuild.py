"""Builds a new shard beside that of a collection, and puts it in its place.

The metadata names the shard, so that one file that is replaced switches from the one to the other.
A process killed before leaves the old collection, and one killed after it the new one; the next
that takes the lock deletes the other shard.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from geosim.ingest.store.edge_faults import bytes_to_write
from geosim.ingest.store.edge_files import EdgeFiles
from geosim.ingest.store.edge_metadata import read_metadata
from geosim.trainer.disk import FULL, explain, require_room
from geosim.trainer.errors import StoreBusyError, StoreError
from geosim.trainer.files import allocated_bytes
from geosim.trainer.temporary import private_folder


@contextmanager
def beside(files: EdgeFiles) -> Iterator[Path]:
    """Yield a folder in which a collection of the same name is to be built, and closed.

    It takes the place of the collection of ``files`` when the block ends, which others may read
    meanwhile. If the block raises, that one stays.

    Raises:
        StoreBusyError: another process holds the collection at the end.
        StoreError: the disk has no room for both, or another process changed it meanwhile.
    """
    before, _ = files.revision()
    with ExitStack() as stack:
        with files.translated():
            _require_room(files)
            folder = stack.enter_context(private_folder(files.folder))
        yield folder
        try:
            files.acquire()
        except StoreBusyError as error:
            raise StoreBusyError(
                f"the new collection {files.name!r} is complete but cannot take the place of the "
                f"old one, which stays: {error}. Close what reads it, such as an `Index` in a "
                "notebook, and run the same command again: what was embedded is kept"
            ) from error
        stack.callback(files.release)
        if files.revision()[0] != before:
            raise StoreError(
                f"another process changed collection {files.name!r} in {files.folder} while the "
                "new one was built, which was given up; run the same command again"
            )
        _put_in_place(files, EdgeFiles(folder, files.name))


def _put_in_place(files: EdgeFiles, new: EdgeFiles) -> None:
    """Switch to the shard of ``new``, and delete the old one. Needs both locks."""
    stored, old = read_metadata(new.metadata, new.shard), files.shard
    if stored is None or not stored["ready"]:
        raise StoreError(f"no collection {files.name!r} was made in {new.folder}")
    (target,) = (place for place in files.places if place != old)
    with files.translated():
        new.shard.rename(target)
        files.write_metadata(stored | {"shard": target.name})
        shutil.rmtree(old, ignore_errors=True)  # what is left is deleted later


def _require_room(files: EdgeFiles) -> None:
    needed = bytes_to_write(files.shard, 0, ()) + allocated_bytes(files.shard)
    try:
        require_room(files.folder, needed)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StoreError(
            f"the new collection {files.name!r} is built beside the old one in {files.folder}, "
            f"which needs {needed / 1e6:,.1f} MB now: {explain(error, files.folder)}. What it "
            "holds is kept"
        ) from error

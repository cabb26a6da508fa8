"""The file of a backup, a ZIP archive.

backup.json    what the backup is of (`Manifest`)
model/         the files of the model, unless it was left out
collection/    a folder of the embedded engine with the collection alone; or
snapshot       a snapshot of a Qdrant server
marks.json     the marks of its hits, if there are any
"""

from __future__ import annotations

import errno
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from geosim.ingest.checks import check_name
from geosim.ingest.schema import ModelRef
from geosim.trainer.disk import require_room
from geosim.trainer.errors import StoreError
from geosim.trainer.files import replacing, write_sparse
from geosim.trainer.progress import progress_bar

MANIFEST, MODEL, COLLECTION, SNAPSHOT = "backup.json", "model", "collection", "snapshot"
MARKS = "marks.json"

FORMAT = 1
"""Version of the file's layout."""

_MANIFEST_BYTES = 1 << 24  # it has about a hundred for each file

_DAMAGED = (
    *(BadZipFile, zlib.error, struct.error, EOFError, RuntimeError),
    *(ValueError, KeyError, TypeError, StoreError),
)
"""What reading a damaged archive, or one of another program, raises."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of.

    Attributes:
        collection: its name.
        model: that made it.
        points: in it; of a snapshot, a moment before.
        engine: that it was in, with version.
        with_model: whether the files of the model are in the backup.
        snapshot_sha256: of the server's snapshot, as hex; empty without one.
    """

    collection: str
    model: ModelRef
    points: int
    engine: str
    with_model: bool
    snapshot_sha256: str = ""


def write_backup(file: Path, manifest: Manifest, content: Mapping[str, Path]) -> None:
    """Write a backup; it has its name once it is complete.

    ``content`` are the files to put into it by their names there, and folders, whose names end with
    a slash.
    """
    stored = {"geosim-backup": FORMAT, **asdict(manifest), "content": [*content]}
    size = sum(path.stat().st_size for path in content.values())
    with (
        replacing(file) as temporary,
        ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive,
        progress_bar("writing", size, unit="B", unit_scale=True) as bar,
    ):
        archive.writestr(MANIFEST, json.dumps(stored, indent=2))
        for name, path in content.items():
            archive.write(path, name)
            bar.update(path.stat().st_size)


class BackupFile:
    """A backup that is open for reading.

    Raises:
        StoreError: it is damaged, of a later version, or of another program.
        OSError: it cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with self._translated():
            self._archive = ZipFile(file)
        try:
            with self._translated():
                stored = self._read_manifest()
                version = int(stored["geosim-backup"])
            if version > FORMAT:
                raise StoreError(f"{file} was written by a later version of geosim; update geosim")
            with self._translated():
                self.manifest = _manifest(stored)
                names = [MANIFEST, *stored["content"]]
                if sorted(self._archive.namelist()) != sorted(names):
                    raise BadZipFile("files were added or removed")
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> BackupFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._archive.close()

    def has(self, part: str) -> bool:
        """Return whether a part is in the backup."""
        return any(_is_in(one, part) for one in self._archive.infolist())

    def extract(self, part: str, folder: Path) -> None:
        """Write `MODEL`, `COLLECTION`, `SNAPSHOT` or `MARKS` into a folder, under this name.

        Raises:
            StoreError: the backup is damaged, or has a name that leads out of the folder.
            OSError: the disk has no room.
        """
        found = [one for one in self._archive.infolist() if _is_in(one, part)]
        if not found:
            raise self.damaged(f"no {part} in it")
        size = sum(one.file_size for one in found)
        require_room(folder, size)
        with progress_bar("reading", size, unit="B", unit_scale=True) as bar:
            for one in found:
                with self._translated():
                    self._extract(one, folder)
                bar.update(one.file_size)

    def damaged(self, reason: object) -> StoreError:
        """Return the error to raise where the content is not what the backup should have."""
        return StoreError(
            f"{self.file} is damaged, or is no backup of geosim "
            f"({' '.join(str(reason).split())[:200]}); name a file that `geosim backup` wrote"
        )

    def _read_manifest(self) -> dict[str, Any]:
        if any(
            one.compress_type not in (ZIP_DEFLATED, ZIP_STORED) for one in self._archive.infolist()
        ):
            raise BadZipFile("another compression")
        with self._archive.open(MANIFEST) as file:
            return dict(json.loads(file.read(_MANIFEST_BYTES)))

    def _extract(self, one: ZipInfo, folder: Path) -> None:
        relative = PurePath(one.filename)
        if relative.anchor or ".." in relative.parts:
            raise BadZipFile(f"{one.filename!r} leads out of the folder")
        if one.is_dir():
            (folder / relative).mkdir(parents=True, exist_ok=True)
            return
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        with self._archive.open(one) as content:
            write_sparse(content, folder / relative)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise self.damaged(error) from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # a place before the start of the file
                raise
            raise self.damaged(error) from error


def _manifest(stored: Mapping[str, Any]) -> Manifest:
    """Return the manifest as it is stored; raise `_DAMAGED` if it is none."""
    return Manifest(
        check_name(stored["collection"]),
        ModelRef(str(stored["model"]["fingerprint"]), str(stored["model"]["backbone"])),
        int(stored["points"]),
        str(stored["engine"]),
        bool(stored["with_model"]),
        str(stored["snapshot_sha256"]),
    )


def _is_in(one: ZipInfo, part: str) -> bool:
    return one.filename == part or one.filename.startswith(f"{part}/")

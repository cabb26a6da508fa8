"""Fetches the public data set of geological pictures and unpacks it.

Owns where the archive and its folder lie and what an archive may hold. Does not read pictures:
that is the data set reader's.
"""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from geosim.trainer.errors import DownloadError
from geosim.trainer.fetch import fetch
from geosim.trainer.progress import progress_bar

DATASET_URL = "http://aws-proserve-data-science.s3.amazonaws.com/geological_similarity.zip"
DATASET_DIGEST = "sha256:9053090735e7d713384b6131aa56b855028f55f2e850ca287f6c1cb1650a6815"
NAME = "geological_similarity"

# The real archive unpacks to 35 MB in 29,998 files; nearly a hundred times as much is not it.
MAX_UNPACKED_BYTES = 3_000_000_000

_OFFLINE = "without a network, try `geosim demo`, or `geosim run FOLDER` with your own pictures"


def download_dataset(
    folder: Path,
    *,
    url: str = DATASET_URL,
    digest: str | None = DATASET_DIGEST,
    timeout: float = 20.0,
) -> Path:
    """Makes ``<folder>/geological_similarity/``, one folder of pictures per class.

    What is there already is not fetched again: a complete folder is returned at once, and an
    archive ``<folder>/geological_similarity.zip`` is unpacked without a network.

    Args:
        folder: Where the archive and the unpacked folder go; made if missing.
        url: The archive's address.
        digest: The archive's, as `fetch` takes it.
        timeout: Seconds to wait for the connection and for each next piece of data.

    Returns:
        The unpacked folder.

    Raises:
        DownloadError: The archive is out of reach, damaged or unsafe, or the disk refused.
    """
    target = folder / NAME
    if target.is_dir():
        return target
    archive = folder / f"{NAME}.zip"
    if not archive.exists():
        try:
            fetch(url, archive, digest=digest, timeout=timeout)
        except DownloadError as error:
            raise DownloadError(f"{error}; {_OFFLINE}") from error
    try:
        _unpack(archive, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        archive.unlink()
        raise DownloadError(
            f"archive {archive} is damaged ({error}) and was deleted; run again to fetch it anew"
        ) from error
    except OSError as error:
        raise DownloadError(f"cannot unpack {archive}: {error.strerror or error}") from error
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Unpacks the top folder of ``archive`` that is named as ``target`` is, all or nothing.

    Reading an entry to its end checks its CRC; a damaged archive leaves nothing behind.
    """
    with (
        zipfile.ZipFile(archive) as opened,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{NAME}-") as scratch,
    ):
        entries = opened.infolist()
        _refuse_unsafe(archive, entries)
        with progress_bar("unpacking", len(entries), unit="file") as bar:
            for entry in entries:
                opened.extract(entry, scratch)
                bar.update()
        unpacked = Path(scratch, NAME)
        if not unpacked.is_dir():
            raise DownloadError(
                f"archive {archive} has no folder {NAME}/, expected the data set of {DATASET_URL};"
                " delete it and run again"
            )
        unpacked.rename(target)


def _refuse_unsafe(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raises DownloadError for an archive that would write outside its folder or fill the disk."""
    for entry in entries:
        reason = _unsafe(entry)
        if reason:
            raise DownloadError(
                f"archive {archive} is refused: entry {entry.orig_filename!r} {reason};"
                " delete it and get the archive from a source you trust"
            )
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED_BYTES:
        raise DownloadError(
            f"archive {archive} is refused: it would unpack to {total} bytes, expected at most"
            f" {MAX_UNPACKED_BYTES}; delete it and get the archive from a source you trust"
        )


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    """Returns why an entry may not be unpacked, or None."""
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.startswith("/"):
        return "is an absolute path"
    if "\\" in name or ":" in name or "\0" in name:
        return "has a backslash, a drive letter or a NUL in its name"
    if ".." in PurePosixPath(name).parts:
        return "leads out of its folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file, expected files and folders"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    return None

"""Download of the public data set of geological images, and safe unpacking of its archive."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from geosim.trainer.disk import explain
from geosim.trainer.errors import DownloadError
from geosim.trainer.fetch import fetch
from geosim.trainer.progress import progress_bar
from geosim.trainer.temporary import private_folder

DATASET_URL = "http://aws-proserve-data-science.s3.amazonaws.com/geological_similarity.zip"
DATASET_DIGEST = "sha256:9053090735e7d713384b6131aa56b855028f55f2e850ca287f6c1cb1650a6815"
NAME = "geological_similarity"

MAX_UNPACKED_BYTES = 3_000_000_000
"""Largest unpacked size that is accepted; the data set has 35 MB."""

_OFFLINE = "without a network, try `geosim demo`, or `geosim run FOLDER` with your own pictures"


def download_dataset(
    folder: Path,
    *,
    url: str = DATASET_URL,
    digest: str | None = DATASET_DIGEST,
    timeout: float = 20.0,
) -> Path:
    """Download and unpack the data set to ``<folder>/geological_similarity/``, and return that.

    An existing folder is returned at once, and an existing archive
    ``<folder>/geological_similarity.zip`` is unpacked without a network. ``digest`` and ``timeout``
    are those of `fetch`.

    Raises:
        DownloadError: the archive is unreachable, damaged or unsafe, or cannot be written.
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
        raise DownloadError(f"cannot unpack {archive}: {explain(error, target)}") from error
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the folder `NAME` of an archive to ``target``, completely or not at all."""
    with zipfile.ZipFile(archive) as opened, private_folder(target.parent) as scratch:
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
    """Raise DownloadError for an archive that would write outside its folder or fill the disk."""
    reasons = [
        f"entry {entry.orig_filename!r} {reason}" for entry in entries for reason in _unsafe(entry)
    ]
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED_BYTES:
        reasons.append(f"it would unpack to {total} bytes, expected at most {MAX_UNPACKED_BYTES}")
    if reasons:
        raise DownloadError(
            f"archive {archive} is refused: {reasons[0]}; delete it and get the archive from a"
            " source you trust"
        )


def _unsafe(entry: zipfile.ZipInfo) -> Iterator[str]:
    """Yield the reasons why an entry is unsafe."""
    name = entry.orig_filename
    if name.startswith("/"):
        yield "is an absolute path"
    if any(character in name for character in "\\:\0"):
        yield "has a backslash, a drive letter or a NUL in its name"
    if ".." in PurePosixPath(name).parts:
        yield "leads out of its folder"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield "is a link or a special file, expected files and folders"
    if entry.flag_bits & 0x1:
        yield "is encrypted"

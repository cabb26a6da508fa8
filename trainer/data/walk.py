"""The walk over a folder of pictures: which files every command sees."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from geosim.trainer.errors import DatasetError

SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        "system volume information",
        "lost+found",
        "$recycle.bin",
        "recycler",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
    }
)
"""Names, in lower case, of the folders of macOS, Windows, Linux, Synology and QNAP that hold no
pictures of a user's, besides hidden ones."""


def walk(root: Path, exclude: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path parts of every file below ``root``; follow links, each folder once.

    Raises:
        DatasetError: a folder that counts cannot be listed.
    """
    seen: set[tuple[int, int]] = set()

    def fail(error: OSError) -> None:
        raise DatasetError(
            f"cannot list {error.filename}: {error.strerror}; make it readable, or leave it out "
            "with --exclude. Nothing was changed"
        ) from error

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=fail):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        parts = Path(folder).relative_to(root).parts
        # Links come last, so that a folder is listed under its real name rather than a link's.
        subfolders[:] = sorted(
            (name for name in subfolders if counts((*parts, name), exclude)),
            key=lambda name: (os.path.islink(os.path.join(folder, name)), name),  # noqa: PTH114, PTH118
        )
        yield from ((*parts, name) for name in files if counts((*parts, name), exclude))


def counts(parts: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether a relative path is neither hidden, nor a system's, nor excluded.

    ``exclude`` are shell patterns (`fnmatch`) of names and relative POSIX paths, of files or of
    folders above them.
    """
    if any(part.startswith(".") or part.lower() in SYSTEM_FOLDERS for part in parts):
        return False
    if not exclude:
        return True
    names = [unicodedata.normalize("NFC", part) for part in parts]
    paths = ["/".join(names[: end + 1]) for end in range(len(names))]
    patterns = [unicodedata.normalize("NFC", pattern).rstrip("/") for pattern in exclude]
    return not any(fnmatch(text, one) for one in patterns for text in (*names, *paths))

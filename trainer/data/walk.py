"""The walk over a folder of pictures: which files every command sees."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatch
from functools import cache, partial
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


OUTPUT_SIGNS = (
    ("model/model.json", "model/loss.png"),
    ("model/model.json", "features"),
    ("geosim-sample",),
    ("model.json", "loss.png"),
    ("runs", "report.html"),
    ("runs", "report.json"),
)
"""What a folder that geosim wrote holds: a working folder, a model, the report of an evaluation."""


def walk(
    root: Path,
    exclude: Sequence[str] = (),
    *,
    report: Callable[[tuple[str, ...]], object] = lambda _: None,
) -> Iterator[tuple[str, ...]]:
    """Yield the path parts of every file below ``root``; follow links, each folder once.

    Folders below it that geosim wrote are passed over; ``report`` is called with their parts.

    Raises:
        DatasetError: a folder that counts cannot be listed, or is a link to nothing, as to a disk
            that is not mounted; a link without an ending may be a folder's.
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
        if parts and _is_output(partial(_holds, folder, {*subfolders, *files})):
            report(parts)
            subfolders.clear()
            continue
        # Links come last, so that a folder is listed under its real name rather than a link's.
        subfolders[:] = sorted(
            (name for name in subfolders if counts((*parts, name), exclude)),
            key=lambda name: (os.path.islink(os.path.join(folder, name)), name),  # noqa: PTH114, PTH118
        )
        for name in files:
            # The folders above count, so without patterns the name decides.
            if counts((*parts, name) if exclude else (name,), exclude):
                if "." not in name:
                    try:
                        Path(folder, name).stat()
                    except OSError as error:
                        fail(error)
                yield (*parts, name)


def output_folders(files: Collection[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the outermost folders that geosim wrote; ``files`` are the parts of all files."""
    paths = {parts[:end] for parts in files for end in range(1, len(parts) + 1)}
    signs = {sign.split("/")[-1] for signs in OUTPUT_SIGNS for sign in signs}
    folders = {path[:-above] for path in paths if path[-1] in signs for above in (1, 2)} - {()}
    found = {folder for folder in folders if _is_output(partial(_lists, paths, folder))}
    return {one for one in found if not any(one[:end] in found for end in range(1, len(one)))}


def _is_output(holds: Callable[[str], bool]) -> bool:
    """Return whether geosim wrote a folder; ``holds`` tells whether a relative path is in it."""
    return any(all(map(holds, signs)) for signs in OUTPUT_SIGNS)


def _lists(paths: Collection[tuple[str, ...]], folder: tuple[str, ...], path: str) -> bool:
    return (*folder, *path.split("/")) in paths


def _holds(folder: str, names: Collection[str], path: str) -> bool:
    first, _, rest = path.partition("/")
    return first in names and (not rest or Path(folder, path).exists())


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
    patterns = map(_pattern, exclude)
    return not any(fnmatch(text, one) for one in patterns for text in (*names, *paths))


@cache
def _pattern(text: str) -> str:
    return unicodedata.normalize("NFC", text).rstrip("/")

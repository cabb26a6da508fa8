"""Places to push models to and pull them from: a folder, or a URL by fsspec."""

from __future__ import annotations

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geosim.trainer.disk import explain
from geosim.trainer.errors import ModelError
from geosim.trainer.files import replacing

URL = re.compile(r"[A-Za-z][\w+.-]+(::|://)")
"""Start of what fsspec opens; a drive of Windows has one letter."""


class Target(ABC):
    """A place with one folder per model; names are parted by ``/``. Raises `ModelError`.

    Attributes:
        text: the place for messages, without secrets.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of the folders; none where the place does not exist yet."""

    @abstractmethod
    def read(self, name: str, path: Path) -> bool:
        """Copy a file to ``path``; return whether there is one."""

    @abstractmethod
    def write(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files by name to a folder, each seen when it is complete, the last one at last."""


def open_target(target: str) -> Target:
    """Return the place that a folder or URL names; nothing is read yet.

    Raises:
        ModelError: fsspec, or what it needs for this URL, is not installed.
    """
    if target.startswith("file://"):
        return FolderTarget(Path(target.removeprefix("file://")))
    return UrlTarget(target) if URL.match(target) else FolderTarget(Path(target))


class FolderTarget(Target):
    """A folder, such as one on a network share."""

    def __init__(self, root: Path) -> None:
        self._root, self.text = root, str(root)

    def names(self) -> list[str]:
        """Return the names of the folders."""
        with self._errors():
            if not self._root.exists():
                return []
            return [one.name for one in os.scandir(self._root) if one.is_dir()]

    def read(self, name: str, path: Path) -> bool:
        """Copy a file to ``path``; return whether there is one."""
        with self._errors():
            if there := (self._root / name).exists():
                shutil.copyfile(self._root / name, path)
            return there

    def write(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy each file beside its place, and rename the copy."""
        for name, path in files.items():
            with self._errors(), replacing(self._root / folder / name) as temporary:
                shutil.copyfile(path, temporary)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = Path(os.fsdecode(error.filename or self._root))
            raise ModelError(f"cannot use {where}: {explain(error, where)}") from error


class UrlTarget(Target):
    """A URL, such as ``s3://bucket/models``; an object store shows files when they are complete."""

    def __init__(self, url: str) -> None:
        self.text = re.sub(r"(?<=://)[^/]*@", "", url)
        try:
            import fsspec
        except ImportError as error:
            raise ModelError(
                f"{self.text} is a URL, which fsspec opens; install it with "
                "`pip install 'geosim[fsspec]'`, or name a folder"
            ) from error
        self._files: Any
        with self._errors():
            self._files, self._root = fsspec.core.url_to_fs(url)

    def names(self) -> list[str]:
        """Return the names of the folders."""
        with self._errors():
            self._files.invalidate_cache()
            try:
                listed = self._files.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
            return [str(one).rstrip("/").rpartition("/")[2] for one in listed]

    def read(self, name: str, path: Path) -> bool:
        """Copy a file to ``path``; return whether there is one."""
        with self._errors():
            try:
                self._files.get_file(f"{self._root}/{name}", str(path))
            except FileNotFoundError:
                return False
            return True

    def write(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy the files."""
        with self._errors():
            self._files.makedirs(f"{self._root}/{folder}", exist_ok=True)
            for name, path in files.items():
                self._files.put_file(str(path), f"{self._root}/{folder}/{name}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate the errors of fsspec's many libraries."""
        try:
            yield
        except ModelError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ModelError(
                f"cannot use {self.text}: {reason}; check the URL, the network and your access"
            ) from error

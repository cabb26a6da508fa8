"""Backups of a collection with its model and its marks, and their restoring.

The embedded engine's files are copied under their lock. A server of one node takes a snapshot, also
while others write. A cluster has no snapshot of one moment for all its nodes, so its points are
copied into a collection of the embedded engine, which can be restored to any engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from geosim.ingest.backup_file import (
    COLLECTION,
    MARKS,
    MODEL,
    SNAPSHOT,
    BackupFile,
    Manifest,
    write_backup,
)
from geosim.ingest.marks_file import marks_file, put_marks
from geosim.ingest.models import note_needed
from geosim.ingest.schema import CollectionInfo
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.edge import EdgeStore
from geosim.ingest.store.edge_files import EdgeFiles
from geosim.ingest.transfer import copy_collection, require_collection
from geosim.ingest.work import Work
from geosim.trainer.errors import (
    ModelError,
    ModelMismatchError,
    StoreDeniedError,
    StoreError,
)
from geosim.trainer.kept import find_card, read_card
from geosim.trainer.model import load_model
from geosim.trainer.model_files import FILE, install, model_files
from geosim.trainer.temporary import private_folder
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.ingest.store.server_snapshots import ServerSnapshots


def back_up(
    store: VectorStore, working: Working, file: Path, *, wait: float, with_model: bool = True
) -> Manifest:
    """Write a collection, its model and its marks to a new file.

    The file has its name once it is complete.

    ``wait`` is how long to wait for another process that holds an embedded collection, in seconds.

    Raises:
        ModelError: the working folder has not the model of the collection, or a damaged one.
        StoreError: there is no collection, it is damaged, busy or unreachable, or the file exists.
        OSError: the file cannot be written.
    """
    if file.exists():
        raise StoreError(
            f"{file} exists already; name another file, or a folder, where each backup gets a name "
            "of its own"
        )
    with ExitStack() as stack:
        snapshot = ""
        if isinstance(store, EdgeStore):
            store.release()
            files = EdgeFiles(Path(store.location), store.name)
            folder = stack.enter_context(closing(files.copy(wait))).folder
            info = _read_copy(folder, store)
        else:
            info = require_collection(store)
            file.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(private_folder(file.parent))
            snapshot = _save_snapshot(store, folder / SNAPSHOT)
            if not snapshot:
                with EdgeStore(folder, store.name) as copy:
                    copy_collection(store, copy)
        model = _model_of(info, store, working) if with_model else {}
        content = {f"{MODEL}/{name}": path for name, path in model.items()}
        if snapshot:
            content[SNAPSHOT] = folder / SNAPSHOT
        else:
            content |= _collection_files(folder, store.name)
        marks = marks_file(working, store.name)
        if marks.is_file():
            content[MARKS] = marks
        manifest = Manifest(
            store.name, info.model, info.points, store.engine(), with_model, snapshot
        )
        write_backup(file, manifest, content)
    return manifest


def new_file(target: str, collection: str) -> Path:
    """Return the file of a new backup: ``target``, or with a name of its own in this folder."""
    path = Path(target)
    if not (path.is_dir() or target.endswith("/")):
        return path
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return path / f"{collection}-{now}.zip"


def restore(
    backup: BackupFile, store: VectorStore, working: Working, *, replace: bool = False
) -> int:
    """Write what is in a backup to a collection and a working folder; return the points there.

    A collection that is there is left as it is, unless ``replace`` is set, and so are its marks.
    One of the embedded engine is restored as `copy_collection` does it, a model as `install` does
    it.

    Raises:
        ModelMismatchError: a collection of another model is there.
        StoreError: the backup is damaged; another collection is there; the backup is of a server,
            and ``store`` is no server of one node.
        OSError: the working folder cannot be written.
    """
    manifest = backup.manifest
    here = not manifest.with_model or _has_model(working, manifest)
    snapshots = _snapshots_for(backup, store, replace=replace) if manifest.snapshot_sha256 else None
    working.root.mkdir(parents=True, exist_ok=True)
    with private_folder(working.root) as folder:
        if not here:
            backup.extract(MODEL, folder)
            _check_model(backup, folder / MODEL)
        backup.extract(COLLECTION if snapshots is None else SNAPSHOT, folder)
        if not here:
            working.model.mkdir(parents=True, exist_ok=True)
        if manifest.with_model:
            with suppress(OSError):  # where nothing can be written, nothing is trained
                note_needed(store, manifest.model.fingerprint, working)
        if not here:
            install(folder / MODEL, working.model)
        if snapshots is not None:
            with store.lease(Work()) if snapshots.exists() else nullcontext():
                snapshots.restore(folder / SNAPSHOT, manifest.snapshot_sha256, manifest.model)
        else:
            with (
                _told_of(folder / COLLECTION, backup.file),
                EdgeStore(folder / COLLECTION, manifest.collection) as source,
            ):
                _check_collection(backup, source)
                copy_collection(source, store, replace=replace)
        if backup.has(MARKS):
            backup.extract(MARKS, folder)
            put_marks(folder / MARKS, marks_file(working, store.name), replace=replace)
    return store.count()


def _read_copy(folder: Path, store: VectorStore) -> CollectionInfo:
    """Open a private copy of a collection, which shows that it is sound."""
    with _told_of(folder, Path(store.location)), EdgeStore(folder, store.name) as copy:
        return require_collection(copy)


def _save_snapshot(store: VectorStore, file: Path) -> str:
    """Write a snapshot and return its SHA-256; return nothing where there can be none."""
    from geosim.ingest.store.server import ServerStore

    if isinstance(store, ServerStore) and (snapshots := store.snapshots()).possible():
        with suppress(StoreDeniedError):  # the key may read points
            return snapshots.save(file)
    return ""


def _collection_files(folder: Path, name: str) -> dict[str, Path]:
    """Return the files and folders of a folder with one collection by their names in a backup."""
    content = {f"{COLLECTION}/{name}.json": folder / f"{name}.json"}
    for shard in sorted(one for one in folder.iterdir() if one.is_dir()):
        for path in (shard, *sorted(shard.rglob("*"))):
            end = "/" if path.is_dir() else ""
            content[f"{COLLECTION}/{path.relative_to(folder).as_posix()}{end}"] = path
    return content


def _model_of(info: CollectionInfo, store: VectorStore, working: Working) -> dict[str, Path]:
    """Return the files of the model that made a collection by name."""
    try:
        found = read_card(working.model)["fingerprint"]
        if find_card(working.model, info.model.fingerprint) is not None:
            return model_files(working.model, info.model.fingerprint)
    except ModelError as error:
        raise ModelError(
            f"{error}. To back up the collection alone, add --without-model"
        ) from error
    raise ModelMismatchError(
        f"collection {store.name!r} was made by the model {info.model}, but {working.model} holds "
        f"{found[:12]}; name the --working that has it, or add --without-model"
    )


def _has_model(working: Working, manifest: Manifest) -> bool:
    """Return whether a working folder has the model of a backup, and it is sound."""
    with suppress(ModelError):
        return bool(model_files(working.model, manifest.model.fingerprint))
    return False


def _snapshots_for(backup: BackupFile, store: VectorStore, *, replace: bool) -> ServerSnapshots:
    """Return what restores a snapshot to a store, or raise `StoreError` if it cannot."""
    from geosim.ingest.store.server import ServerStore

    snapshots = store.snapshots() if isinstance(store, ServerStore) else None
    exists = snapshots is not None and snapshots.exists()
    if snapshots is None or not snapshots.possible():
        raise StoreError(
            f"{backup.file} holds a snapshot of a server ({backup.manifest.engine}), which "
            f"{store.location} cannot load; restore it to a server of one node with --qdrant URL, "
            "and move it with `geosim copy`"
        )
    if exists and not replace:
        raise StoreError(
            f"collection {store.name!r} exists already at {store.location}; name another "
            "--collection, or add --replace, which replaces it"
        )
    return snapshots


def _check_model(backup: BackupFile, folder: Path) -> None:
    try:
        model = load_model(folder)
        model.check()
    except ModelError as error:
        reason = str(error).partition(";")[0].replace(str(folder), MODEL)
        raise backup.damaged(reason) from error
    if not all(FILE.fullmatch(entry["file"]) for entry in model.card["files"].values()):
        raise backup.damaged("its model has files of other names")
    if model.fingerprint != backup.manifest.model.fingerprint:
        raise backup.damaged(f"its model is {model.fingerprint[:12]}")


def _check_collection(backup: BackupFile, source: VectorStore) -> None:
    info, manifest = source.info(), backup.manifest
    if info is None or (info.model, info.points) != (manifest.model, manifest.points):
        raise backup.damaged(f"it has not the {manifest.points:,} points of {manifest.model}")


@contextmanager
def _told_of(folder: Path, location: Path) -> Iterator[None]:
    """Let errors name a location in place of a private folder with a copy of it."""
    try:
        yield
    except StoreError as error:
        raise type(error)(str(error).replace(str(folder), str(location))) from error

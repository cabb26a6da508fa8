"""The models of collections: found in the working folder, and kept there while they are needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from geosim.ingest.schema import NAME_ANOTHER, REBUILD, ModelRef
from geosim.ingest.store.base import VectorStore
from geosim.ingest.store.factory import is_url
from geosim.trainer.errors import ModelError, ModelMismatchError, StoreError
from geosim.trainer.files import READ_ONLY
from geosim.trainer.kept import (
    NAME_DIGITS,
    changing,
    find_card,
    prune,
    read_card,
    set_needed,
)
from geosim.trainer.locks import NO_LOCKS
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.trainer.model import Model


def model_of(collection: ModelRef, working: Working, *, name: str, location: str) -> Model:
    """Load the model that made a collection: the current one of the working folder, or a former.

    Raises:
        ModelMismatchError: the working folder has others only.
        ModelError: it has none, or a damaged one.
    """
    from geosim.trainer.model import load_model  # all that embeds takes a moment to import

    require_model_of(collection, working, name=name, location=location)
    return load_model(working.model, collection.fingerprint)


def require_model_of(collection: ModelRef, working: Working, *, name: str, location: str) -> None:
    """Raise what `model_of` does where a working folder has no card of a collection's model."""
    if find_card(working.model, collection.fingerprint) is None:
        digits = collection.fingerprint[:NAME_DIGITS]
        try:
            card = read_card(working.model)
        except ModelError as error:
            raise ModelError(
                f"{error}, or get the collection's with `{_pull(location, digits)}`"
            ) from error
        here = ModelRef(card["fingerprint"], str(card.get("backbone", {}).get("name", "")))
        require_same_model(collection, here, working.model, name=name, location=location)


def require_same_model(
    collection: ModelRef, model: ModelRef, folder: Path, *, name: str, location: str
) -> None:
    """Raise `ModelMismatchError` if another model than ``model``, of ``folder``, made it."""
    if collection.fingerprint != model.fingerprint:
        digits = collection.fingerprint[:NAME_DIGITS]
        here = find_card(folder, collection.fingerprint) is not None
        get = f"geosim model use {digits}" if here else _pull(location, digits)
        raise ModelMismatchError(
            f"collection {name!r} was made by the model {collection}, but the model at hand is "
            f"{model}; take that one with `{get}`, {REBUILD}, or {NAME_ANOTHER} or --working"
        )


def _pull(location: str, digits: str) -> str:
    """Return the command that brings a model from where it was pushed to."""
    return f"geosim model pull {location if is_url(location) else 'TARGET'} {digits}"


@contextmanager
def kept_for(store: VectorStore, model: Model, working: Working) -> Iterator[None]:
    """Keep the models of a collection while ``model`` may take the place of the one that made it.

    At the end ``model`` alone is kept for it; the former one is removed unless another collection
    needs it.

    Raises:
        ModelError: another training replaced ``model`` meanwhile.
    """
    by, folder, wanted = _name(store, working), model.folder, [model.fingerprint]
    with suppress(StoreError):  # one that cannot be used needs none, or fails again
        if (now := store.model()) is not None:
            wanted.append(now.fingerprint)
    try:
        set_needed(folder, by, wanted)
    except OSError as error:
        if error.errno not in (*READ_ONLY, *NO_LOCKS):
            raise
        yield  # nothing is trained where nothing can be written
        return
    if find_card(folder, model.fingerprint) is None:
        raise ModelError(
            f"another training replaced the model {model.fingerprint[:12]} in {folder} meanwhile; "
            "run the same command again"
        )
    yield
    set_needed(folder, by, [model.fingerprint])
    with changing(folder):
        prune(folder)


def note_needed(store: VectorStore, fingerprint: str, working: Working) -> None:
    """Note that a collection needs a model of the working folder, which is kept therefore."""
    set_needed(working.model, _name(store, working), [fingerprint])


def _name(store: VectorStore, working: Working) -> str:
    """Return what a collection is noted as: a folder as seen from the working folder."""
    location = store.location
    if not is_url(location):
        place, root = Path(os.path.realpath(location)), Path(os.path.realpath(working.root))
        location = str(place.relative_to(root) if place.is_relative_to(root) else place)
    return f"{store.name} in {location}"

"""Checks of a collection's name, address and model."""

from __future__ import annotations

import re

from geosim.ingest.schema import NAME_ANOTHER, REBUILD, CollectionInfo, ModelRef
from geosim.trainer.errors import ModelMismatchError, StoreError


def check_name(name: str) -> str:
    """Return ``name``, or raise `StoreError` if a file could not have it on every system."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name) or name.endswith(
        (".json", ".lock")
    ):
        raise StoreError(
            f"{name!r} cannot name a collection: expected up to 128 letters, digits, '.', '_' and "
            f"'-', not starting with a dot and not ending with .json or .lock; {NAME_ANOTHER}"
        )
    return name


def require_same_model(info: CollectionInfo, model: ModelRef, *, name: str) -> None:
    """Raise `ModelMismatchError` if another model made the collection."""
    if info.model.fingerprint != model.fingerprint:
        raise ModelMismatchError(
            f"collection {name!r} was made by the model {info.model}, but the model at hand is "
            f"{model}; {REBUILD}, or {NAME_ANOTHER} or --working"
        )


def without_userinfo(url: str) -> str:
    """Return ``url`` without user name and password, even wrongly quoted ones."""
    return re.sub(r"(?<=://).*@", "", url)

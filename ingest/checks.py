"""Checks of a collection's name and address."""

from __future__ import annotations

import re

from geosim.ingest.schema import NAME_ANOTHER
from geosim.trainer.errors import StoreError


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


def without_userinfo(url: str) -> str:
    """Return ``url`` without user name and password, even wrongly quoted ones."""
    return re.sub(r"(?<=://).*@", "", url)

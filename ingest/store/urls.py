"""URLs of a Qdrant server in messages."""

from __future__ import annotations

import re


def without_userinfo(url: str) -> str:
    """Return ``url`` without user name and password, even wrongly quoted ones."""
    return re.sub(r"(?<=://).*@", "", url)

"""Addresses of a Qdrant server as users write them. Sends nothing."""

from __future__ import annotations

import re


def without_userinfo(url: str) -> str:
    """Return ``url`` without user name and password, even badly quoted ones, for messages."""
    return re.sub(r"(?<=://).*@", "", url)

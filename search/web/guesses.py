"""Counts the wrong keys that an address sends, and refuses it further ones for a while.

An address that sent too many is refused before its key is looked at, right or wrong. It is a
stranger's own: others are not locked out, nor is who shares it and is logged in, with a cookie.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.exceptions import HTTPException

MAX_WRONG = 20
"""Wrong keys of one address in `SECONDS`: a key of `access.MIN_KEY_LENGTH` characters holds out for
ever, and a person who mistypes it is not stopped."""

SECONDS = 60.0
"""Time from the first wrong key of an address to its next ones."""

MAX_ADDRESSES = 10_000
"""Addresses that are remembered: 2 MB. Beyond them the one that was wrong longest ago is let go."""


class Guesses:
    """The wrong keys of the last minute, by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # count, end of the time

    def check(self, address: str) -> None:
        """Raise an HTTPException, 429, if an address has sent too many wrong keys."""
        count, end = self._wrong.get(_network(address), (0, 0.0))
        if count >= MAX_WRONG and (left := end - self._clock()) > 0:
            seconds = math.ceil(left)
            text = f"too many wrong keys from this address; try again in {seconds} s"
            raise HTTPException(429, text, {"Retry-After": str(seconds)})

    def wrong(self, address: str) -> None:
        """Count a wrong key of an address."""
        name, now = _network(address), self._clock()
        count, end = self._wrong.pop(name, (0, 0.0))
        self._wrong[name] = (count + 1, end) if now < end else (1, now + SECONDS)
        if len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)


def _network(address: str) -> str:
    """Return an IPv4 address, or the 64 bits of an IPv6 address that one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]  # as a proxy names it
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)

"""The entries of leases in a collection's metadata, and how long they were seen unchanged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from geosim.ingest.machine import running_system
from geosim.ingest.work import Work
from geosim.trainer.locks import is_alive

EXPIRY_S = 20.0
"""Seconds after which a lease that is not renewed is taken over: less than the default of --wait,
so that a run after a killed one goes on."""

LONGEST_GAP_S = 1.0
"""Seconds between two looks that count at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A lease, or a claim of one."""

    token: str
    stored: str
    work: Work
    held: bool
    holder: str
    process: int | None  # its id, of a process of this system

    @classmethod
    def read(cls, token: str, stored: Any) -> Entry:
        """Return a stored entry; one that another version wrote counts as of the whole."""
        try:
            fields = json.loads(stored)
            work, held, pid = Work.from_dict(fields), bool(fields["held"]), int(fields["pid"])
            holder = "process {pid} on {host} ({command}, since {since})".format_map(fields)
            system = fields["system"]
        except (TypeError, ValueError, KeyError):
            return cls(token, str(stored), Work(), True, "another version of geosim", None)
        here = system != "" and system == running_system()
        return cls(token, stored, work, held, holder[:200], pid if here else None)

    @property
    def ended(self) -> bool:
        """Whether it is of a process of this system that has ended."""
        return self.process is not None and not is_alive(self.process)


class Watch:
    """How long entries were seen unchanged, by the clock of who waits."""

    def __init__(self, now: float) -> None:
        self._seen: dict[str, tuple[str, float]] = {}
        self._looked = now

    def expired(self, entries: list[Entry], now: float) -> list[Entry]:
        """Note a look at the entries, at a time in seconds; return those to remove.

        A look after a long pause counts as a short one: the server did not answer meanwhile, so
        nobody could renew.
        """
        gap, self._looked = min(now - self._looked, LONGEST_GAP_S), now
        seen = {one.token: (one.stored, 0.0) for one in entries}
        for one in entries:
            stored, seconds = self._seen.get(one.token, ("", 0.0))
            if stored == one.stored:
                seen[one.token] = stored, seconds + gap
        self._seen = seen
        return [one for one in entries if one.ended or seen[one.token][1] >= EXPIRY_S]

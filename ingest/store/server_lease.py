"""Leases on a server's collection: who works on what, so that nobody else does the same.

A lease is an entry of its own in the collection's metadata, which a server merges key by key. It
is written as a claim first. The claim becomes a lease if all entries that are read with it are of
other work; otherwise it yields to a lease, and to a claim with a smaller token. A server makes
changes one after the other, so of two claims the later is never read without the earlier, and only
one becomes a lease. The same holds for a cluster, whose nodes make all changes in one order.

A lease is renewed every `RENEW_S`. Where its process was killed, who waits for it removes it: at
once on the same system, else after having seen it unchanged for `EXPIRY_S`, counted by the clock of
who waits and only while the server answers. Clocks of two machines are never compared. A process
that was halted or cut off for long looks whether its lease is still there before it writes again.

What such a process had on its way to the server is written all the same. It is an image at most
that the next ingest of its data set puts right: a lease keeps people apart, it is no fence.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from time import sleep

from geosim.ingest.machine import running_system
from geosim.ingest.store.lease_entries import EXPIRY_S, Entry, Watch
from geosim.ingest.store.server_collection import ServerCollection
from geosim.ingest.store.server_requests import Connection
from geosim.ingest.work import Work
from geosim.trainer.console import say
from geosim.trainer.errors import StoreBusyError, StoreDeniedError, StoreError
from geosim.trainer.locks import NOTICE_SECONDS, command_name

LEASE_KEY = "geosim-lease:"
"""Start of the keys of leases in a collection's metadata; the token follows. The value is JSON as
text, in ASCII."""

RENEW_S = EXPIRY_S / 4
"""Seconds between two renewals."""

LATE_S = EXPIRY_S * 3 / 4
"""Seconds without a renewal after which a lease may have been taken over soon."""

POLL_S = 0.5
"""Seconds between two looks at a lease that is waited for."""

SETTLE_S = 5.0
"""Seconds that claims which yield have to be withdrawn."""

JOIN_S = 5.0
"""Seconds to wait at the end for a renewal that hangs."""


class Leases:
    """The leases on a collection that one store holds."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._held: list[ServerLease] = []

    @contextmanager
    def take(self, work: Work, delete: Callable[[list[str]], None]) -> Iterator[None]:
        """Hold a lease of some work during the block.

        A key that may write points but not change a collection gets a warning in place of a lease.
        ``delete`` deletes points by their ids, which tells such a key.

        Raises:
            StoreBusyError: another process does the same, also after `Connection.wait`.
            StoreDeniedError: the key may only read.
        """
        with ExitStack() as stack:
            try:
                lease = stack.enter_context(ServerLease(self._connection, self._name, work))
            except StoreDeniedError as error:
                delete([str(uuid.uuid4())])
                logging.getLogger(__name__).warning(
                    "nothing keeps others from %s at the same time: %s", work, error
                )
            else:
                self._held.append(lease)
                stack.callback(self._held.remove, lease)
            yield

    def check(self) -> None:
        """Raise `StoreBusyError` if another process took over what this one works on."""
        for lease in self._held:
            lease.check()


class ServerLease(AbstractContextManager["ServerLease"]):
    """A lease of some work on a collection, held during a ``with`` block."""

    def __init__(self, connection: Connection, name: str, work: Work) -> None:
        self._patient = ServerCollection(connection, name, {})
        self._quick = ServerCollection(connection.impatient(), name, {})
        self._place, self._wait = f"collection {name!r} at {connection.location}", connection.wait
        self._work, self._token = work, uuid.uuid4().hex
        self._since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        self._beats, self._confirmed = 0, 0.0
        self._lost: str | None = None
        self._changing, self._stop = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="geosim lease", daemon=True)

    def __enter__(self) -> ServerLease:
        """Take the lease, and renew it in the background.

        Raises:
            StoreBusyError: another process does the same, also after `Connection.wait`.
            StoreDeniedError: the key may not change a collection.
        """
        try:
            self._take(self._patient, self._wait)
            self._thread.start()
        except BaseException:
            self._withdraw()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lease."""
        self._stop.set()
        self._thread.join(JOIN_S)
        self._withdraw()

    def check(self) -> None:
        """Raise `StoreBusyError` if the lease was taken over; ask if it was not renewed for long.

        To be called before each write.
        """
        with self._changing:
            if _now() - self._confirmed > LATE_S:
                self._renew(self._patient)
            if self._lost is not None:
                raise StoreBusyError(
                    f"{self._work} of {self._place} is not this process's any more: {self._lost}; "
                    "run this again"
                )

    def _keep(self) -> None:
        """Renew until the end; a failure is tried again, or met by `check`."""
        while not self._stop.wait(RENEW_S):
            with suppress(StoreError):
                self._renew(self._quick)

    def _renew(self, collection: ServerCollection) -> None:
        with self._changing:
            if self._lost is not None:
                return
            if self._token not in self._read(collection):
                self._lost = "the collection was dropped or rebuilt, or the lease taken over"
                return
            before = self._confirmed
            self._write(collection, held=True)
            if _now() - before > LATE_S:  # another process may have removed it before
                try:
                    self._take(collection, 0.0)
                except StoreBusyError as error:
                    self._lost = str(error).partition(";")[0]

    def _take(self, collection: ServerCollection, wait: float) -> None:
        """Make the claim and wait until it is a lease."""
        started, told, claimed, caught_up = _now(), False, False, False
        watch = Watch(started)
        while True:
            entries = self._read(collection)
            mine = entries.pop(self._token, None)
            rivals = [one for one in entries.values() if one.work.excludes(self._work)]
            for one in watch.expired(rivals, _now()):
                self._remove(collection, one.token)
                rivals.remove(one)
            if mine is not None and not rivals:
                self._write(collection, held=True)
                return
            ahead = [one for one in rivals if one.held or one.token < self._token]
            ahead.sort(key=lambda one: not one.held)
            if ahead and mine is not None:
                self._remove(collection, self._token)
            elif not ahead and mine is None:
                self._write(collection, held=False)
                if not claimed:
                    claimed = True
                    continue
            waited = _now() - started
            if waited >= wait + (0.0 if ahead else SETTLE_S):
                if claimed or caught_up:
                    raise StoreBusyError(self._refusal(ahead or rivals))
                # A node of a cluster may be behind the others, until it makes a change itself.
                self._remove(collection, self._token)
                caught_up = True
                continue
            if ahead and waited >= NOTICE_SECONDS and not told:
                say(f"waiting for {ahead[0].holder} to end {ahead[0].work} ...", err=True)
                told = True
            sleep(POLL_S)

    def _refusal(self, rivals: list[Entry]) -> str:
        if not rivals:
            return f"{self._place} does not keep a lease of {self._work}; run this again"
        first, more = rivals[0], f", and {len(rivals) - 1} others do" if len(rivals) > 1 else ""
        return (
            f"{first.holder} works on {first.work} of {self._place}{more}; run this again when "
            f"that has ended, or wait for it with --wait SECONDS, {EXPIRY_S:g} or more if it was "
            "killed"
        )

    def _read(self, collection: ServerCollection) -> dict[str, Entry]:
        return {
            token: Entry.read(token, stored)
            for key, stored in collection.metadata().items()
            if stored is not None and (token := key.removeprefix(LEASE_KEY)) != key
        }

    def _write(self, collection: ServerCollection, *, held: bool) -> None:
        sent = _now()
        self._beats += 1
        fields = self._work.to_dict() | {
            "held": held,
            "beat": self._beats,
            "pid": os.getpid(),
            "host": platform.node()[:80],
            "command": command_name(),
            "since": self._since,
            "system": running_system(),
        }
        collection.change({f"{LEASE_KEY}{self._token}": json.dumps(fields)})
        self._confirmed = sent

    def _remove(self, collection: ServerCollection, token: str) -> None:
        collection.change({f"{LEASE_KEY}{token}": None})  # null removes a key

    def _withdraw(self) -> None:
        """Remove the entry, if the server answers; otherwise it expires."""
        with suppress(StoreError):
            self._remove(self._quick, self._token)


def _now() -> float:
    """Return seconds that go on while the machine sleeps, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)

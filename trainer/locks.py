"""File locks between processes: wait for a lock, and name the process that holds it."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from geosim.trainer.console import say

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NOTICE_SECONDS = 1.0
"""Waiting time after which a line on stderr names the holder."""

POLL_SECONDS = 0.05
"""Time between two attempts to take a lock."""


NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Codes of an `OSError` of a file system without locks."""


class ProcessLock:
    """A lock file that one object holds, shared by its threads.

    The holder's process id and command are in ``.<name>.holder`` beside the lock file, for messages
    only; the lock decides.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, thread_local=False)
        self._holder = path.with_name(f".{path.stem.lstrip('.')}.holder")

    def acquire(self, wait: float, purpose: str) -> None:
        """Take the lock within ``wait`` seconds, unless this object holds it; 0 tries once.

        ``purpose`` is what the holder must do, for the line on stderr.

        Raises:
            TimeoutError: another holds the lock; `holder` names it.
            OSError: the lock file cannot be written.
        """
        if not self._lock.is_locked:
            self._wait(self._try_exclusive, wait, purpose)
            self._write_holder()

    @contextmanager
    def shared(self, wait: float, purpose: str) -> Iterator[None]:
        """Keep writers out during the block without writing a file; raise what `acquire` does.

        Does nothing without a lock file, on a file system without locks, and on Windows, where a
        lock needs write access.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY) if fcntl is not None else None
        except FileNotFoundError:
            descriptor = None
        try:
            if descriptor is not None:
                self._wait(partial(_try_shared, descriptor), wait, purpose)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def release(self) -> None:
        """Release the lock; safe to call twice."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._holder.unlink(missing_ok=True)
            self._lock.release()

    def holder(self) -> str:
        """Return the holder as ``process 1234 (geosim serve)``, or ``another process``."""
        try:
            stored = json.loads(self._holder.read_bytes())
            pid, host = int(stored["pid"]), str(stored["host"])
            command = str(stored["command"])[:80]
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
        if host != platform.node():
            return f"process {pid} on {host[:80]} ({command})"
        if pid == os.getpid():
            return f"this process ({pid})"
        return f"process {pid} ({command})" if is_alive(pid) else "another process"

    def _wait(self, attempt: Callable[[], bool], wait: float, purpose: str) -> None:
        """Repeat an attempt until it succeeds; after `NOTICE_SECONDS` say on stderr why."""
        started, told = time.monotonic(), False
        while not attempt():
            waited = time.monotonic() - started
            if waited >= wait:
                raise TimeoutError
            if waited >= NOTICE_SECONDS and not told:
                say(f"waiting for {self.holder()} to {purpose} ...", err=True)
                told = True
            time.sleep(POLL_SECONDS)

    def _try_exclusive(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def _write_holder(self) -> None:
        """Name this process in the holder file; delete the file if it cannot be written."""
        stored = {"pid": os.getpid(), "host": platform.node(), "command": command_name()}
        temporary = self._holder.with_suffix(".holder-new")
        try:
            temporary.write_text(json.dumps(stored), encoding="utf-8")
            temporary.replace(self._holder)
        except OSError:
            for path in (temporary, self._holder):
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def _try_shared(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def command_name() -> str:
    """Return this process' program, and the command of geosim that it runs."""
    name = Path(sys.argv[0]).name.removesuffix(".exe")
    if name == "geosim":
        return " ".join([name, *sys.argv[1:2]])
    return name if name not in ("", "-c", "-m") else "python"


def is_alive(pid: int) -> bool:
    """Return whether a process exists; True on Windows, where signal 0 would interrupt it."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True

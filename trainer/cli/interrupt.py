"""What Ctrl-C does to a command: at any moment one line on stderr and exit status 130.

Imports nothing that is not loaded when Python starts, `signal` excepted.
"""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as in shells."""

MESSAGE = "\ninterrupted; run the same command again, what was finished is kept\n"
"""Begins a new line, after the ``^C`` of the terminal."""


def end(*_: object) -> None:
    """Print `MESSAGE` and end the process at once, as a handler of SIGINT."""
    os.write(2, MESSAGE.encode())
    os._exit(INTERRUPTED)


def end_at_interrupt() -> None:
    """Have Ctrl-C end the process at once, where a traceback would follow: during an import.

    A process that ignores SIGINT, as in the background of a shell, goes on to do so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


class Interruptible:
    """Context in which Ctrl-C raises KeyboardInterrupt, if it would `end` the process outside."""

    def __enter__(self) -> None:
        self._handler = signal.getsignal(signal.SIGINT)
        if self._handler is end:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        if self._handler is end:
            signal.signal(signal.SIGINT, end)

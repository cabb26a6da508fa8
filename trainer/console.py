"""All text that commands print: one place makes names safe to show, whatever the encoding is.

Lines go through `say`, JSON through `say_json`, CSV through `say_csv`. None prints a character that
controls a terminal or is invisible, and none fails where the encoding of the output lacks a
character.
"""

from __future__ import annotations

import codecs
import json
import logging
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

import click

from geosim.trainer.logs import as_json, log
from geosim.trainer.text import encodable, printable

LEVELS = {"Error: ": logging.ERROR, "warning: ": logging.WARNING}
"""Level of a line by its prefix."""


def say(*lines: str, err: bool = False) -> None:
    """Print each argument as one line on stdout, or on stderr if ``err``.

    What a terminal or the encoding cannot show is escaped with a backslash. Lines for stderr are
    logged instead while messages are JSON, at the level that their prefix names.
    """
    if err and as_json():
        for line in lines:
            prefix = next((one for one in LEVELS if line.startswith(one)), "")
            log.log(LEVELS.get(prefix, logging.INFO), "%s", line.removeprefix(prefix))
        return
    text = "".join(f"{printable(line)}\n" for line in lines)
    encoding = _encoding(sys.stderr if err else sys.stdout)
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    _write(shown, err=err)


def say_json(content: bytes) -> None:
    """Print JSON on stdout.

    Invisible characters, and all beyond ASCII where the encoding of stdout is not UTF-8, are JSON
    escapes.
    """
    text = content.decode()
    if _encoding(sys.stdout) != "utf-8":
        text = re.sub(r"[^\0-\x7f]", _escape, text)
    if not (text.isascii() and text.isprintable()):
        text = "\n".join(map(_escape_hidden, text.split("\n")))
    _write(f"{text}\n")


def say_csv(lines: str) -> None:
    """Print lines of `geosim.search.spreadsheet` on stdout, byte for byte.

    On a terminal they are lines like any other, without a byte order mark.
    """
    if sys.stdout.isatty():
        say(*lines.removeprefix("\ufeff").splitlines())
    else:
        _write(lines.encode())


def to_json(value: Any, *, indent: bool = False) -> bytes:
    """Return a value as JSON; paths with bytes that are not valid UTF-8 as `encodable`."""
    import orjson

    option = orjson.OPT_INDENT_2 if indent else None
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(_spelled(value), option=option)


def _write(text: str | bytes, *, err: bool = False) -> None:
    try:
        with _whole():
            click.echo(text, err=err, nl=False)  # noqa: TID251
    except OSError as error:  # it names no file
        error.filename = "/dev/stderr" if err else "/dev/stdout"
        raise


@contextmanager
def _whole() -> Iterator[None]:
    """Put Ctrl-C off, so that no line is cut where a pipe is full."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _encoding(stream: Any) -> str:
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _escape_hidden(line: str) -> str:
    return re.sub(r"[^ -~]", lambda m: m[0] if printable(m[0]) == m[0] else _escape(m), line)


def _spelled(value: Any) -> Any:
    """Return a value with valid UTF-8 in all strings."""
    if isinstance(value, str):
        return encodable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _spelled(asdict(value))
    if isinstance(value, Mapping):
        return {_spelled(key): _spelled(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(one) for one in value]
    return value

"""The base classes of all commands: turn errors and Ctrl-C into a message and an exit status.

Imports nothing heavy, to keep ``--help`` fast.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from geosim.trainer.cli.interrupt import INTERRUPTED, MESSAGE, Interruptible
from geosim.trainer.errors import GeosimError
from geosim.trainer.text import printable


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Make the messages of click's errors safe to show; they repeat arguments."""
    try:
        yield
    except getattr(click.exceptions, "NoArgsIsHelpError", ()):  # its message is the help
        raise
    except click.ClickException as error:
        vars(error)["message"] = printable(error.message)  # final for type checkers only
        raise


class Group(click.Group):
    """A group of commands."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _printable_errors():
            return super().invoke(ctx)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Parse the arguments before the command."""
        with _printable_errors():
            return super().make_context(*args, **options)


class Command(click.Command):
    """A command that prints known errors as one line on stderr and exits with status 1."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Parse the arguments."""
        with _printable_errors():
            return super().make_context(*args, **options)

    @_printable_errors()
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and translate its errors."""
        try:
            with Interruptible(), warnings.catch_warnings():
                # Pillow warns of pictures that are decoded all the same.
                warnings.filterwarnings("ignore", module=r"PIL\.")
                return super().invoke(ctx)
        except GeosimError as error:
            raise click.ClickException(str(error).strip()) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise click.ClickException(_explain(error)) from error
        except KeyboardInterrupt:
            click.echo(MESSAGE, err=True, nl=False)  # noqa: TID251 - has no name in it
            ctx.exit(INTERRUPTED)


def _explain(error: OSError) -> str:
    """Return an error of the system as one line, with what to do about a disk."""
    from geosim.trainer.disk import explain

    if not isinstance(error.filename, str | bytes):
        return explain(error, Path.cwd())
    path = Path(os.fsdecode(error.filename))
    return f"cannot use {path}: {explain(error, path)}"

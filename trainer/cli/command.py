"""The base class of all commands: turns errors and Ctrl-C into a message and an exit status.

Imports nothing heavy, to keep ``--help`` fast.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import click

from geosim.trainer.cli.interrupt import INTERRUPTED, MESSAGE, Interruptible
from geosim.trainer.errors import GeosimError


class Command(click.Command):
    """A command that prints known errors as one line on stderr and exits with status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and translate its errors."""
        try:
            with Interruptible(), warnings.catch_warnings():
                # Pillow warns of pictures that are decoded all the same.
                warnings.filterwarnings("ignore", module=r"PIL\.")
                return super().invoke(ctx)
        except GeosimError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise click.ClickException(_explain(error)) from error
        except KeyboardInterrupt:
            click.echo(MESSAGE, err=True, nl=False)
            ctx.exit(INTERRUPTED)


def _explain(error: OSError) -> str:
    """Return an error of the system as one line, with what to do about a disk."""
    from geosim.trainer.disk import explain

    if not isinstance(error.filename, str | bytes):
        return explain(error, Path.cwd())
    path = Path(os.fsdecode(error.filename))
    return f"cannot use {path}: {explain(error, path)}"

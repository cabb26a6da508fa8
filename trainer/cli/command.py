"""The base class of all commands: turns errors and Ctrl-C into a message and an exit status.

Imports nothing heavy, to keep ``--help`` fast.
"""

from __future__ import annotations

import warnings
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
            where = f" ({error.filename})" if error.filename else ""
            raise click.ClickException(f"{error.strerror or error}{where}") from error
        except KeyboardInterrupt:
            click.echo(MESSAGE, err=True, nl=False)
            ctx.exit(INTERRUPTED)

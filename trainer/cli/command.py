"""The base of all commands: how errors and Ctrl-C end a command.

Imports nothing heavy, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from geosim.trainer.errors import GeosimError

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


class Command(click.Command):
    """A command whose known errors are one line on stderr and exit status 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and translate what it raises."""
        try:
            return super().invoke(ctx)
        except GeosimError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise click.ClickException(f"{error.strerror or error}{where}") from error
        except KeyboardInterrupt:
            told = "interrupted; run the same command again, what was finished is kept"
            click.echo(f"\n{told}", err=True)
            ctx.exit(INTERRUPTED)

"""The base classes of all commands: turn errors and Ctrl-C into a message and an exit status.

Every command has ``--log-format``.

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
from geosim.trainer.logs import as_json, json_logs, log
from geosim.trainer.text import printable

LOG_FORMAT = "--log-format"


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Make the messages of click's errors safe to show; they repeat arguments.

    While messages are JSON they are logged, and the command exits.
    """
    try:
        yield
    except getattr(click.exceptions, "NoArgsIsHelpError", ()):  # its message is the help
        raise
    except click.ClickException as error:
        if as_json():
            log.error("%s", error.format_message())
            raise click.exceptions.Exit(error.exit_code) from error
        vars(error)["message"] = printable(error.message)  # final for type checkers only
        raise


def _log_format(args: list[str]) -> str | None:
    """Return the log format that is asked for, before the arguments are parsed: they may be bad."""
    given = os.environ.get("GEOSIM_LOG_FORMAT")
    for one, following in zip(args, [*args, ""][1:], strict=True):
        name, equals, value = one.partition("=")
        if name == LOG_FORMAT:
            given = value if equals else following
    return given


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

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        logs = click.Option(
            [LOG_FORMAT],
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            envvar="GEOSIM_LOG_FORMAT",
            show_envvar=True,
            expose_value=False,
            help="How messages and progress are written on stderr: json is one object a line.",
        )
        self.params.append(logs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        if _log_format(args) == "json":
            ctx.with_resource(json_logs(str(self.name)))
        try:
            with _printable_errors():
                return super().parse_args(ctx, args)
        except BaseException:
            ctx.close()  # click closes that of a command that runs
            raise

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
            if as_json():
                log.warning("%s", MESSAGE.strip())
            else:
                click.echo(MESSAGE, err=True, nl=False)  # noqa: TID251 - has no name in it
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception:
            if not as_json():
                raise
            log.exception("stopped by an unexpected error")
            ctx.exit(1)


def _explain(error: OSError) -> str:
    """Return an error of the system as one line, with what to do about a disk."""
    from geosim.trainer.disk import explain

    if not isinstance(error.filename, str | bytes):
        return explain(error, Path.cwd())
    path = Path(os.fsdecode(error.filename))
    return f"cannot use {path}: {explain(error, path)}"

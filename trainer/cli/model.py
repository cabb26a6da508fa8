"""``geosim model``: share trained models, and choose the one that an ingest uses."""

from __future__ import annotations

import click

from geosim.trainer.cli.command import Command, Group
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

target_argument = click.argument("target", metavar="TARGET")


@click.group(cls=Group)
def model() -> None:
    """Share trained models, and choose the one that an ingest uses.

    A collection is searched with the model that made it, which must be in the working folder.

    \b
    Examples:
      geosim model push /shared/models
      geosim model pull /shared/models
      geosim model pull s3://bucket/models 3f2a9c
      geosim model use 3f2a9c
    """  # noqa: D301


@model.command(cls=Command)
@target_argument
@working_option
def push(target: str, working: Working) -> None:
    """Copy the model in WORKING to TARGET, a folder or a URL.

    A URL such as s3://bucket/models is opened by fsspec: pip install 'geosim[fsspec]' and what
    fsspec needs for it.
    """
    from geosim.trainer.model import load_model
    from geosim.trainer.sharing import push as share
    from geosim.trainer.targets import open_target

    found, place = load_model(working.model), open_target(target)
    if not share(found, place):
        say(f"{place} has this model already", err=True)
    say(found.fingerprint)


@model.command(cls=Command)
@target_argument
@click.argument("fingerprint", required=False)
@working_option
def pull(target: str, fingerprint: str | None, working: Working) -> None:
    """Bring a model from TARGET into WORKING, beside the one that is there.

    FINGERPRINT, or its first digits, may be left out where TARGET has one model. Every file is
    compared with its SHA-256.
    """
    from geosim.trainer.kept import read_card
    from geosim.trainer.sharing import pull as bring
    from geosim.trainer.targets import open_target

    found = bring(open_target(target), fingerprint, working.model)
    if (current := read_card(working.model)["fingerprint"]) != found.fingerprint:
        say(
            f"searches use it where it made the collection; an ingest still uses {current[:12]}, "
            f"until `geosim model use {found.fingerprint[:12]}`",
            err=True,
        )
    say(found.fingerprint)


@model.command(cls=Command)
@click.argument("fingerprint")
@working_option
def use(fingerprint: str, working: Working) -> None:
    """Make a model in WORKING the one that an ingest uses; the one before stays beside it.

    FINGERPRINT, or its first digits, is told by an error that asks for this, and by pull.
    """
    from geosim.trainer.sharing import use as choose

    say(choose(working.model, fingerprint).fingerprint)

"""``geosim model``: share trained models, and choose the one that an ingest uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from geosim.ingest.cli.options import open_from_options, store_options
from geosim.ingest.store.factory import is_url
from geosim.trainer.cli.command import Command, Group
from geosim.trainer.cli.options import working_option
from geosim.trainer.console import say
from geosim.trainer.working import Working

if TYPE_CHECKING:
    from geosim.ingest.schema import ModelRef
    from geosim.trainer.targets import Target

target_argument = click.argument("target", metavar="[TARGET]", required=False)


@click.group(cls=Group)
def model() -> None:
    """Share trained models, and choose the one that an ingest uses.

    A collection is searched with the model that made it, which must be in the working folder.

    \b
    Examples:
      geosim model push --qdrant http://localhost:6333
      geosim model pull --qdrant http://localhost:6333
      geosim model push /shared/models
      geosim model pull s3://bucket/models 3f2a9c
      geosim model use 3f2a9c
    """  # noqa: D301


@model.command(cls=Command)
@target_argument
@store_options
@working_option
def push(target: str | None, working: Working, **store: Any) -> None:
    """Copy the model in WORKING to TARGET: a folder, a Qdrant server or another URL.

    Without TARGET, the model that made the collection is kept on its server, for all who search
    there. A URL such as s3://bucket/models is opened by fsspec: pip install 'geosim[fsspec]' and
    what fsspec needs for it.
    """
    from geosim.ingest.models import model_of
    from geosim.trainer.model import load_model
    from geosim.trainer.sharing import push as share

    with _opened(target, working, store) as (place, made_by):
        if made_by is None:
            found = load_model(working.model)
        else:
            found = model_of(made_by, working, name=store["collection"], location=place.text)
        if not share(found, place):
            say(f"{place} has this model already", err=True)
    say(found.fingerprint)


@model.command(cls=Command)
@target_argument
@click.argument("fingerprint", required=False)
@store_options
@working_option
def pull(target: str | None, fingerprint: str | None, working: Working, **store: Any) -> None:
    """Bring a model from TARGET into WORKING, beside the one that is there.

    TARGET is what a model was pushed to. Without it, the model that made the collection is brought
    from its server. FINGERPRINT, or its first digits, may be left out where TARGET has one model.
    Every file is compared with its SHA-256.
    """
    from geosim.trainer.sharing import pull as bring

    with _opened(target, working, store) as (place, made_by):
        wanted = fingerprint if made_by is None else made_by.fingerprint
        found = bring(place, wanted, working.model)
    say_current(working, found.fingerprint)
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


def say_current(working: Working, fingerprint: str) -> None:
    """Tell which model an ingest uses, if it is another one than that which was brought."""
    from geosim.trainer.kept import read_card

    if (current := read_card(working.model)["fingerprint"]) != fingerprint:
        say(
            f"searches use it where it made the collection; an ingest still uses {current[:12]}, "
            f"until `geosim model use {fingerprint[:12]}`",
            err=True,
        )


@contextmanager
def _opened(
    target: str | None, working: Working, store: dict[str, Any]
) -> Iterator[tuple[Target, ModelRef | None]]:
    """Yield the place to share models in; without a target, with the collection's model if any."""
    if target is not None and not is_url(target):
        from geosim.trainer.targets import open_target

        yield open_target(target), None
        return
    url = target or store["qdrant"]
    if url is None or not is_url(url):
        raise click.UsageError("Name TARGET, or the collection's server with --qdrant URL.")
    from geosim.ingest.store.server_models import connect_models

    made_by = None
    if target is None:
        with open_from_options(working=working, **store) as opened:
            made_by = opened.model()
    key = os.environ.get("GEOSIM_QDRANT_API_KEY")
    with closing(connect_models(url, key, wait=store["wait"])) as place:
        yield place, made_by

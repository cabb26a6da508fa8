"""The installed scripts: a command each, imported when Ctrl-C is handled."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from geosim.trainer.cli.interrupt import end_at_interrupt


def _script(module: str, command: str) -> Callable[[], None]:
    def run() -> None:
        end_at_interrupt()
        getattr(import_module(f"geosim.{module}"), command)()

    return run


geosim = _script("search.cli.main", "geosim")
train = _script("trainer.cli.train", "train")
ingest = _script("ingest.cli.ingest", "ingest")
search = _script("search.cli.search", "search")
export = _script("search.cli.export", "export")

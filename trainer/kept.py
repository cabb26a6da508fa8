"""The cards of the models in one folder, and who needs them.

    model.json            card of the current model, the one that an ingest uses
    model-<digits>.json   card of a former one, by the first digits of its fingerprint
    needed.json           fingerprints by what needs them: collections, and places to pull from

A collection is searched with the model that made it, so a former model is kept while it is needed.
The other files are named after their content, which models with the same backbone share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from geosim.trainer.errors import ModelError
from geosim.trainer.files import replacing
from geosim.trainer.locks import ProcessLock
from geosim.trainer.temporary import delete_abandoned

CARD = "model.json"
NEEDED = "needed.json"

NAME_DIGITS = 12
"""Digits of a fingerprint in the names of files."""

EARLIER = "collections of earlier versions"
"""What needs the model of a folder without `NEEDED`: nothing tells its collections."""

WAIT_SECONDS = 30.0
"""Time to wait for another process that changes the folder; it takes about a second."""

PATTERNS = ("head-*.npz", "backbone-*", ".*-head-*", ".*-backbone-*")
"""Names of the files of models. Earlier versions wrote hidden files first."""

REMEDY = "train one with `geosim train DATA`, or try `geosim demo`"
"""What to do without a sound model."""


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the models in a folder during the block.

    Raises:
        ModelError: another process takes longer than `WAIT_SECONDS`.
        OSError: the folder cannot be written.
    """
    lock = ProcessLock(folder / ".lock")
    try:
        lock.acquire(WAIT_SECONDS, f"write {folder}")
    except TimeoutError as error:
        raise ModelError(
            f"{lock.holder()} writes models in {folder}; wait until it ends, and run this again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def load_card(path: Path) -> dict[str, Any]:
    """Read a card; raise OSError or ValueError if it is missing or damaged."""
    card = orjson.loads(path.read_bytes())
    if not isinstance(card, dict) or not isinstance(card.get("fingerprint"), str):
        raise ValueError("no fingerprint in it")
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """Read the current model's card; raise `ModelError` if there is none, or it is damaged."""
    path = folder / CARD
    try:
        return load_card(path)
    except FileNotFoundError as error:
        raise ModelError(f"there is no model in {folder} yet; {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"the model card {path} is damaged ({error}); {REMEDY}") from error


def current_card(folder: Path) -> dict[str, Any] | None:
    """Return the card of the current model; None if it is missing or damaged."""
    return _card_or_none(folder / CARD)


def find_card(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the card of the current or a former model; None if it is not here, or damaged."""
    for _ in range(2):  # it may become the current or a former one meanwhile
        for path in (folder / CARD, former_card(folder, fingerprint)):
            card = _card_or_none(path)
            if card is not None and card["fingerprint"] == fingerprint:
                return card
    return None


def former_card(folder: Path, fingerprint: str) -> Path:
    """Return the path of the card of a former model."""
    return folder / f"model-{fingerprint[:NAME_DIGITS]}.json"


def cards(folder: Path) -> list[dict[str, Any]]:
    """Return the cards of all models in a folder, the current one first."""
    paths = [folder / CARD, *sorted(folder.glob("model-*.json"))]
    return [card for path in paths if (card := _card_or_none(path)) is not None]


def fingerprints(folder: Path) -> list[str]:
    """Return the fingerprints of all models in a folder, the current one first."""
    return list(dict.fromkeys(card["fingerprint"] for card in cards(folder)))


def set_needed(folder: Path, by: str, wanted: Iterable[str]) -> None:
    """Note the fingerprints that a collection or place needs, in place of those before."""
    with changing(folder):
        _write_needed(folder, _read_needed(folder) | {by: list(dict.fromkeys(wanted))})


def keep_current(folder: Path, *, whatever: bool = False) -> None:
    """Keep the current model as a former one too, if it is needed, or ``whatever`` needs it.

    Needs `changing`; called before another model becomes the current one.
    """
    needed = _read_needed(folder)
    _write_needed(folder, needed)  # where it is missing or damaged, nothing else would tell later
    card = current_card(folder)
    if card is not None and (whatever or card["fingerprint"] in _union(needed)):
        with replacing(former_card(folder, card["fingerprint"])) as temporary:
            temporary.write_bytes((folder / CARD).read_bytes())


def make_current(folder: Path, fingerprint: str) -> None:
    """Make a former model the current one, which is kept as a former one. Needs `changing`."""
    former = former_card(folder, fingerprint)
    content = former.read_bytes()
    keep_current(folder, whatever=True)
    with replacing(folder / CARD) as temporary:
        temporary.write_bytes(content)
    former.unlink()


def prune(folder: Path) -> None:
    """Remove former models that nothing needs, and what a killed process left. Needs `changing`."""
    delete_abandoned(folder)
    current = current_card(folder)
    if current is None:
        return
    needed, kept = _union(_read_needed(folder)) - {current["fingerprint"]}, _files_of(current)
    for path in folder.glob("model-*.json"):
        card = _card_or_none(path)
        if card is None or card["fingerprint"] not in needed:
            path.unlink()
        else:
            kept |= _files_of(card)
    for pattern in PATTERNS:
        for path in folder.glob(pattern):
            if path.name not in kept and path.is_file():
                path.unlink()


def _card_or_none(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        return load_card(path)
    return None


def _files_of(card: Mapping[str, Any]) -> set[str]:
    with suppress(KeyError, TypeError, AttributeError):
        return {str(entry["file"]) for entry in card["files"].values()}
    return set()


def _read_needed(folder: Path) -> dict[str, list[str]]:
    """Return the fingerprints by what needs them; without a sound file, the current one's."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        stored = orjson.loads((folder / NEEDED).read_bytes())
        return {str(by): [str(one) for one in wanted] for by, wanted in stored.items()}
    card = current_card(folder)
    return {} if card is None else {EARLIER: [card["fingerprint"]]}


def _write_needed(folder: Path, needed: Mapping[str, list[str]]) -> None:
    with replacing(folder / NEEDED) as temporary:
        temporary.write_bytes(orjson.dumps(needed, option=orjson.OPT_INDENT_2) + b"\n")


def _union(needed: Mapping[str, list[str]]) -> set[str]:
    return {one for wanted in needed.values() for one in wanted}

"""Keeps models where colleagues find them, and brings them from there.

    <place>/<fingerprint>/model.json   the card, written last
    <place>/<fingerprint>/...          the files that it names, with their SHA-256

What a place holds may be anybody's: files are compared with the card, the card with the head, and
nothing is unpickled.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from geosim.trainer.errors import ModelError
from geosim.trainer.kept import (
    CARD,
    NAME_DIGITS,
    changing,
    current_card,
    find_card,
    fingerprints,
    load_card,
    make_current,
    set_needed,
)
from geosim.trainer.model import Model, check_file, load_model, whole_backbone
from geosim.trainer.model_files import FILE, install
from geosim.trainer.targets import Target
from geosim.trainer.temporary import private_folder

FINGERPRINT = re.compile("[0-9a-f]{64}")


def push(model: Model, place: Target) -> bool:
    """Copy a model to a place; return whether it was not there yet.

    Raises:
        ModelError: a file of the model is damaged, or the place cannot be written.
    """
    model.check()
    name = model.fingerprint
    with private_folder(Path(tempfile.gettempdir())) as folder:
        if _is_there(place, name, folder / CARD):
            return False
        _write_card(folder / CARD, model.card)
        names = [entry["file"] for entry in model.card["files"].values()]
        files = {one: model.folder / one for one in names}
        place.write({**files, CARD: folder / CARD}, name)
    return True


def pull(place: Target, wanted: str | None, folder: Path) -> Model:
    """Bring a model into a folder, beside the others; it is the current one if there is none.

    ``wanted`` is its fingerprint or the first digits; None for the only one of the place. One that
    is in the folder already, and whole, is left as it is.

    Raises:
        ModelError: the place cannot be read, has no such model or several, or the model is not
            whole.
    """
    name = _one_of([one for one in place.names() if FINGERPRINT.fullmatch(one)], wanted, place)
    if find_card(folder, name) is not None:
        try:
            found = load_model(folder, name)
            found.check()
        except ModelError:  # damaged, and brought anew
            pass
        else:
            return found
    folder.mkdir(parents=True, exist_ok=True)
    set_needed(folder, f"models of {place}", [name])
    with private_folder(folder) as temporary:
        _bring(place, name, folder, temporary)
        return install(temporary, folder)


def use(folder: Path, wanted: str) -> Model:
    """Make a model of a folder the current one; the one before stays beside it.

    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    name = _one_of(fingerprints(folder), wanted, folder)
    model = load_model(folder, name)
    model.check()
    with changing(folder):
        current = current_card(folder)
        if current is None or current["fingerprint"] != name:
            make_current(folder, name)
    return load_model(folder, name)


def _bring(place: Target, name: str, folder: Path, temporary: Path) -> None:
    """Copy a model's files to ``temporary`` and check them.

    A backbone that ``folder`` has already is not copied.
    """

    def unusable(reason: object) -> ModelError:
        return ModelError(
            f"the model {name[:NAME_DIGITS]} in {place} is not whole, or of another version "
            f"({str(reason).partition(';')[0]}); update geosim, or delete it there and push anew"
        )

    if not place.read(f"{name}/{CARD}", temporary / CARD):
        raise unusable(f"{CARD} is missing")
    try:
        card = load_card(temporary / CARD)
        files: dict[str, dict[str, str]] = dict(card["files"])
        own = whole_backbone(folder, str(card["backbone"]["fingerprint"]))
        wrong = [one["file"] for one in files.values() if not FILE.fullmatch(one["file"])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unusable(f"its {CARD} is damaged") from error
    if wrong or card["fingerprint"] != name:
        raise unusable(f"its {CARD} is that of another model")
    for key, entry in files.items():
        if key not in own and not place.read(f"{name}/{entry['file']}", temporary / entry["file"]):
            raise unusable(f"{entry['file']} is missing")
    try:
        for key in files.keys() - own.keys():
            check_file(temporary, files[key])
        load_model(temporary)
    except (ModelError, KeyError, TypeError) as error:
        raise unusable(error) from error


def _one_of(names: list[str], wanted: str | None, where: Target | Path) -> str:
    """Return the name that begins with ``wanted``, or the only one."""
    if not names:
        raise ModelError(f"{where} has no model; push one there with `geosim model push TARGET`")
    found = [one for one in names if wanted is None or one.startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    asked = "" if wanted is None else f" that begin with {wanted!r}"
    listed = ", ".join(one[:NAME_DIGITS] for one in sorted(names)[:10])
    raise ModelError(f"{where} has {len(found)} models{asked}, expected one; name one of {listed}")


def _is_there(place: Target, name: str, temporary: Path) -> bool:
    """Return whether a place has a model; one that was not finished has no card, or half of it."""
    with suppress(OSError, ValueError):
        if place.read(f"{name}/{CARD}", temporary):
            return bool(load_card(temporary)["fingerprint"] == name)
    return False


def _write_card(path: Path, card: Mapping[str, Any]) -> None:
    path.write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
